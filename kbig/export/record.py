"""`kbig.json` in a SavedModel: what it is, and what it was made with."""

import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import tensorflow as tf

import kbig
from kbig import data
from kbig.export.signature import Signature
from kbig.export.worker import has_other_ops
from kbig.reporting.files import write_text
from kbig.reporting.report import plain

RECORD = "assets.extra/kbig.json"


def write_record(
    signatures: Sequence[Signature],
    folder: pathlib.Path,
    *,
    name: str,
    class_names: Sequence[str],
    task: str | None,
    about: Mapping,
) -> None:
    """Writes `assets.extra/kbig.json` into a SavedModel.

    Args:
        signatures: of the SavedModel.
        folder: of the SavedModel.
        name: of the model.
        class_names: of a classifier.
        task: what the first output means.
        about: what else is known: of a run its recipe, configuration, data,
            licence of the data and metrics.
    """
    record = {
        "name": name,
        "task": task,
        "class_names": list(class_names),
        "signatures": {s.name: _described(s) for s in signatures},
        "versions": _versions(folder),
        "fingerprint": _fingerprint(folder),
        **about,
    }
    text = json.dumps(plain(record), indent=2, ensure_ascii=False)
    write_text(folder / RECORD, text + "\n")


def write_assets(
    aside: pathlib.Path, vocabulary: Sequence[str], class_names: Sequence[str]
) -> list[pathlib.Path]:
    """Writes what a client may want to look up, to become assets.

    Args:
        aside: an existing folder.
        vocabulary: of a model that takes text.
        class_names: of a classifier.

    Returns:
        `vocabulary.txt` and `class_names.json`, as a run directory has them,
        where there are any.
    """
    files = []
    if vocabulary:
        files.append(data.save_vocabulary(vocabulary, aside / "vocabulary.txt"))
    if class_names:
        text = json.dumps(list(class_names), ensure_ascii=False)
        files.append(write_text(aside / "class_names.json", text + "\n"))
    return files


def _versions(folder: pathlib.Path) -> dict[str, str]:
    """Of what made a SavedModel, and of what must be there to run it."""
    packages = ["keras-hub"]
    if has_other_ops(str(folder)):
        packages.append("tensorflow-text")
    return {
        "kbig": kbig.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }


def _fingerprint(folder: pathlib.Path) -> dict[str, str]:
    """As text: many readers of JSON round what takes more than 53 bits."""
    found = tf.saved_model.experimental.read_fingerprint(str(folder))
    return {name: str(number) for name, number in vars(found).items()}


def _described(signature: Signature) -> dict:
    return {
        "method": signature.method,
        "inputs": {
            name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
            for name, spec in signature.inputs.items()
        },
    }
