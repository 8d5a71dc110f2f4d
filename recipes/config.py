"""Configuration of a recipe: a frozen dataclass, a file, `--key value`."""

import dataclasses
import difflib
import json
import pathlib
import typing
from collections.abc import Mapping
from typing import Any
from typing import ClassVar

from kbig.errors import UsageError

# As in kbig.export.FORMATS, which only loads with TensorFlow.
FORMATS = (
    "savedmodel",
    "litert-float32",
    "litert-float16",
    "litert-dynamic",
    "litert-int8",
    "litert-int8-weights",
    "onnx-float32",
    "onnx-dynamic",
    "onnx-int8",
)
# int8 is of models that are trained for it.
INT8_FORMATS = tuple(x for x in FORMATS if x.endswith("-int8"))
FLOAT_FORMATS = tuple(x for x in FORMATS if x not in INT8_FORMATS)

_OF_A_RUN = ("recipe", "kbig", "overwrite", "training")


def option(
    default: Any,
    help: str,
    choices: tuple = (),
    minimum: float | None = None,
    repeated: bool = False,
) -> Any:
    """A field of a configuration: its default, help and allowed values.

    What is `repeated` is given once a value, as a text may have commas.
    """
    metadata = {
        "help": help,
        "choices": choices,
        "minimum": minimum,
        "repeated": repeated,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandConfig:
    """What the command line asks of every command."""

    # Values that `--quick` puts in place of the defaults.
    quick_values: ClassVar[dict[str, Any]] = {}
    # The option that may be given without its name.
    unnamed: ClassVar[str] = ""
    needs_tensorflow: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeConfig(CommandConfig):
    """What every recipe with a run directory understands."""

    out: str = option("", "run directory; default runs/<recipe>-<number>")
    name: str = option("", "name of the artefacts; default from the data")
    overwrite: bool = option(
        False, "replace an earlier run in --out, not what it exported"
    )
    seed: int = option(0, "seed of weights, shuffling and masking")
    quick: bool = option(False, "a shrunken smoke run")
    dry_run: bool = option(False, "print configuration and model, then stop")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(RecipeConfig):
    """What every recipe that trains understands."""

    strategy: str = option(
        "auto",
        "how devices share the work",
        ("auto", "none", "mirrored", "multiworker"),
    )
    precision: str = option(
        "auto",
        "dtype policy, or oneDNN's bfloat16 on CPUs",
        (
            "auto",
            "float32",
            "mixed_bfloat16",
            "mixed_float16",
            "onednn_bfloat16",
        ),
    )
    xla: str = option("auto", "XLA compilation", ("auto", "on", "off"))
    limit: int = option(0, "training rows to use; 0 is all", minimum=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig(TrainConfig):
    """What every recipe that trains a BERT understands."""

    fused: str = option(
        "auto",
        "BERT's encoders as few loops and products, on a CPU",
        ("auto", "on", "off"),
    )


def field_key(field: dataclasses.Field) -> str:
    """The name of a field outside Python: `from_` is `from`."""
    return field.name.rstrip("_")


def build(
    config_class: type[CommandConfig],
    from_file: Mapping[str, Any],
    from_command: Mapping[str, Any],
) -> CommandConfig:
    """Makes a configuration: defaults, then the file, then the command.

    Args:
        config_class: the dataclass of the recipe.
        from_file: values by key.
        from_command: values by key, text is converted to the field's type.

    Returns:
        A frozen configuration with every value in force.

    Raises:
        UsageError: an unknown key (with the nearest names), a value of the
            wrong type or not among the choices.
    """
    fields = {field_key(f): f for f in dataclasses.fields(config_class)}
    values = {}
    for source in (from_file, from_command):
        for key, value in source.items():
            key = str(key).replace("-", "_")
            if value is None:
                continue
            if key not in fields:
                raise unknown_key(key, fields)
            values[fields[key].name] = _converted(fields[key], value)
    if values.get("quick"):
        values = {**config_class.quick_values, **values}
    return config_class(**values)


def read_config_file(path: str) -> dict[str, Any]:
    """Reads a YAML or JSON file of keys and values.

    Raises:
        UsageError: it cannot be read, or is not a mapping.
    """
    import yaml

    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        values = yaml.safe_load(text)  # JSON is YAML.
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"Cannot read --config {path}: {reason}") from error
    if not isinstance(values, dict):
        raise UsageError(
            f"--config {path} must hold keys and values. Received: a "
            f"{type(values).__name__}."
        )
    # A run's own config.json repeats the run when it is passed back, and
    # replaces none unless that is asked for anew.
    if "recipe" in values:
        values = {k: v for k, v in values.items() if k not in _OF_A_RUN}
    return values


def to_dict(config: RecipeConfig) -> dict[str, Any]:
    """Every value in force, ready for JSON."""
    values = {
        field_key(f): getattr(config, f.name)
        for f in dataclasses.fields(config)
    }
    return json.loads(json.dumps(values))


def unknown_key(key: str, known) -> UsageError:
    """The error for a key that no field has, with the nearest names."""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(near)}? " if near else ""
    return UsageError(
        f"Unknown option {key!r}. {hint}Known: {', '.join(sorted(known))}."
    )


def _converted(field: dataclasses.Field, value: Any) -> Any:
    kind, choices = field.type, field.metadata["choices"]
    if field.metadata["repeated"] and isinstance(value, str):
        value = [value]
    if isinstance(value, bool) and "on" in choices:
        value = "on" if value else "off"  # As YAML reads them.
    try:
        converted = _as_kind(kind, value)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Option {field_key(field)!r} takes {_kind_name(kind)}. "
            f"Received: {value!r}."
        ) from error
    _check_minimum(field, converted)
    several = converted if isinstance(converted, tuple) else (converted,)
    if choices and not set(several) <= set(choices):
        raise UsageError(
            f"Option {field_key(field)!r} takes one of "
            f"{', '.join(map(str, choices))}. Received: {value!r}."
        )
    if choices and len(set(several)) < len(several):
        raise UsageError(
            f"Option {field_key(field)!r} names one twice. Received: "
            f"{value!r}. Name each once."
        )
    return converted


def _as_kind(kind, value):
    if typing.get_origin(kind) is tuple:
        (item, _) = typing.get_args(kind)
        if isinstance(value, str):
            parts = [part.strip() for part in value.split(",")]
            value = [part for part in parts if part not in ("", "none")]
        return tuple(_as_kind(item, part) for part in value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        return ("false", "true").index(str(value).lower()) == 1
    if isinstance(value, bool) or (kind is int and isinstance(value, float)):
        raise ValueError(value)
    return kind(value)


def _check_minimum(field: dataclasses.Field, converted) -> None:
    minimum = field.metadata["minimum"]
    if minimum is not None and not converted >= minimum:
        raise UsageError(
            f"Option {field_key(field)!r} must be at least {minimum}. "
            f"Received: {converted!r}."
        )


def _kind_name(kind) -> str:
    if typing.get_origin(kind) is tuple:
        return f"{_kind_name(typing.get_args(kind)[0])}s between commas"
    names = {int: "an integer", float: "a number", bool: "true or false"}
    return names.get(kind, "a text")
