"""Exports a run for servers and phones, and verifies every artefact.

kbig export-model --from runs/topics --formats savedmodel,litert-dynamic

Artefacts go to saved_models/<name>/, or to DIR/artefacts with --out DIR:
the SavedModel as the next version <version>/, LiteRT files as
<name>-<mode>.tflite, ONNX files as <name>-<mode>.onnx. Each is run outside
Keras on test rows that the run kept, and nothing is written when one differs
from the model. Then nothing that was exported there before is touched, also
with --overwrite: versions count on, and a file is replaced by one of its name.
"""

import dataclasses
import pathlib

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes.config import FORMATS
from recipes.config import RecipeConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RecipeConfig):
    """Options of `kbig export-model`."""

    from_: str = option("", "run directory to export")
    to: str = option("", "where artefacts go; default as above")
    formats: tuple[str, ...] = option(
        ("savedmodel", "litert-float32", "litert-dynamic"),
        "what to export",
        FORMATS,
    )
    tokenizer_ops: str = option(
        "text",
        "ops of the tokenizer in a SavedModel: of tensorflow-text, or "
        "TensorFlow's own, for any server",
        ("text", "core"),
    )
    free: tuple[str, ...] = option(
        (),
        "what LiteRT files leave free; short texts then take less time",
        ("batch", "length"),
    )
    lengths: tuple[int, ...] = option(
        (), "further signatures of LiteRT files, for rows of so many tokens"
    )
    pixels: bool = option(
        False, "artefacts take bytes of pixels where the model takes floats"
    )
    latencies: bool = option(
        False, "also measure 1 and 2 threads, and 1 and 32 rows in a call"
    )


def run(config: Config) -> common.Outcome:
    """Exports, verifies and reports."""
    if not config.from_:
        raise UsageError("Pass the run to export: --from DIR.")
    source = kbig.runs.Run.open(config.from_)
    source.load_samples()  # Or there is nothing to verify with.
    config = dataclasses.replace(
        config, name=config.name or source.config["name"] or source.recipe
    )
    if config.dry_run:
        return common.show_plan(config, source.load_model())
    run = common.start(config, "export-model")
    sections = [
        kbig.sections.details({"Configuration": common.config_text(config)})
    ]
    return common.finish(
        run,
        config.name,
        {},
        sections,
        lambda _: source.export(
            config.formats,
            _root(config, run),
            config.name,
            tokenizer_ops=config.tokenizer_ops,
            free=config.free,
            lengths=config.lengths,
            pixels=config.pixels,
            latencies=config.latencies,
        ),
    )


def _root(config: Config, run) -> pathlib.Path:
    if config.to:
        return pathlib.Path(config.to)
    if config.out:
        return run.directory / "artefacts"
    return pathlib.Path("saved_models") / config.name
