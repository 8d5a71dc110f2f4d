"""The command `kbig`: lists recipes, reads their options, runs them."""

import argparse
import dataclasses
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import recipes.config as configs
from kbig.errors import GateError
from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.writing import writing

# Command -> (module, what it does). A new recipe is one line here.
RECIPES = {
    "demo": (
        "recipes.demo",
        "text in, a BERT trained, exported, verified and reported",
    ),
    "train-image": (
        "recipes.train_image",
        "train a CNN or MLP on images",
    ),
    "train-sequence": (
        "recipes.train_sequence",
        "train an RNN: forecasting, or classification of texts and sequences",
    ),
    "pretrain-mlm": (
        "recipes.pretrain_mlm",
        "pretrain a BERT on a corpus by masked language modelling",
    ),
    "finetune": (
        "recipes.finetune",
        "train a BERT for classes, values or tags, on from any start",
    ),
    "distill": (
        "recipes.distill",
        "train a small BERT text classifier to do what a large one does",
    ),
    "prune": (
        "recipes.prune",
        "make most weights of a run's model zero, and train it on",
    ),
    "shrink": (
        "recipes.shrink",
        "take channels, units, heads or layers out of a run's model",
    ),
    "factorize": (
        "recipes.factorize",
        "make a run's matrices products of thin ones",
    ),
    "quantize": (
        "recipes.quantize",
        "train a run's model for int8, and see what the file computes",
    ),
    "export-model": (
        "recipes.export_model",
        "export a run for servers and phones, and verify every artefact",
    ),
    "inspect": (
        "recipes.inspect_file",
        "list what a model's file holds, without running it",
    ),
    "serve": (
        "recipes.serve",
        "write what Docker and Kubernetes need to serve a SavedModel",
    ),
    "predict": (
        "recipes.predict",
        "ask a served model, over REST or gRPC",
    ),
}


class _Parser(argparse.ArgumentParser):
    """Mistakes become a UsageError: one line, exit status 2."""

    def error(self, message):
        raise UsageError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: without the program's name; `sys.argv` by default.

    Returns:
        The exit status: 0 done, 1 it ran and a gate or a server failed, 2
        the caller's mistake.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        with writing("a file that the system does not name"):
            return _dispatch(arguments)
    except (UsageError, GateError, ServingError) as error:
        # Here, as `kbig --help` can do without. Errors quote files and servers.
        from kbig.reporting.cells import one_line
        from kbig.reporting.cells import printable

        if debug:
            print(printable(traceback.format_exc()), file=sys.stderr)
        print(f"kbig: {one_line(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    command, *rest = arguments
    if command == "--version":
        import kbig

        print(kbig.__version__)
        return 0
    if command == "list":
        print(_recipe_list())
        return 0
    if command not in RECIPES:
        raise configs.unknown_key(command, RECIPES)
    module = importlib.import_module(RECIPES[command][0])
    config = _parse(command, module, rest)
    if config.needs_tensorflow:
        _load_quietly()
    module.run(config)
    return 0


def _load_quietly() -> None:
    """Loads TensorFlow without its start-up notes, which no user can mend.

    They come from C++ before logging is set up, so only the file descriptor
    stops them.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import keras_hub  # noqa: F401 (and with it TensorFlow and Keras)
        import tensorflow as tf

        tf.config.list_physical_devices()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _help() -> str:
    return (
        "usage: kbig <recipe> [--config FILE] [--key value ...] [--out DIR]\n"
        "       kbig inspect FILE_OR_DIR\n"
        "       kbig <recipe> --help\n"
        "       kbig list\n\n"
        f"recipes:\n{_recipe_list()}\n\n"
        "options of every recipe: --dry-run, --quick, --overwrite, --debug;\n"
        "inspect, serve and predict have their own"
    )


def _recipe_list() -> str:
    return "\n".join(
        f"  {name:<15} {purpose}" for name, (_, purpose) in RECIPES.items()
    )


def _parse(command: str, module, arguments: list[str]):
    parser = _Parser(
        prog=f"kbig {command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="YAML or JSON file of these options")
    fields = dataclasses.fields(module.Config)
    for field in fields:
        _add_option(parser, field)
    given, unknown = parser.parse_known_args(arguments)
    unnamed = module.Config.unnamed
    plain = [x for x in unknown if not x.startswith("-")]
    if unnamed and plain and getattr(given, unnamed) is None:
        setattr(given, unnamed, plain[0])
        unknown.remove(plain[0])
    if unknown:
        known = {configs.field_key(f).replace("_", "-") for f in fields}
        raise configs.unknown_key(unknown[0].lstrip("-"), known)
    values = {
        key: value
        for key, value in vars(given).items()
        if value is not None and key != "config"
    }
    from_file = configs.read_config_file(given.config) if given.config else {}
    return configs.build(module.Config, from_file, values)


def _add_option(parser, field: dataclasses.Field) -> None:
    key = configs.field_key(field)
    flag = "--" + key.replace("_", "-")
    about = field.metadata["help"].replace("%", "%%")
    if isinstance(field.default, bool):
        action = "store_true"
        if field.default:
            action = argparse.BooleanOptionalAction
        parser.add_argument(
            flag, dest=key, help=about, default=None, action=action
        )
        return
    if field.metadata["repeated"]:
        about += " (may be repeated)"
        parser.add_argument(
            flag, dest=key, help=about, metavar=key.upper(), action="append"
        )
        return
    default, metavar = field.default, "|".join(field.metadata["choices"])
    if isinstance(default, tuple):
        default = ",".join(map(str, default)) or "none"
        metavar = metavar.replace("|", ",") or f"{key.upper()},..."
    if default not in ("", None):
        about += f" (default {default})"
    metavar = metavar or key.upper()
    parser.add_argument(flag, dest=key, help=about, metavar=metavar)


if __name__ == "__main__":
    sys.exit(main())
