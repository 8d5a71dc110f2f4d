"""What lies in a Hugging Face directory: JSON and safetensors, no pickles."""

import contextlib
import dataclasses
import json
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from kbig.errors import DataError

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLED = "pytorch_model.bin"
_SHOWN = 4
# Names changed over the years, and with the class that saved.
_RENAMED = (
    (r"^bert\.", ""),
    (r"\.gamma$", ".weight"),
    (r"\.beta$", ".bias"),
    (r"^cls\.predictions\.decoder\.bias$", "cls.predictions.bias"),
)


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor in a file, not read yet.

    Args:
        path: of the file.
        name: in it.
        shape: of the tensor.
        dtype: as safetensors calls it, "F32" or "BF16" among others.
    """

    path: pathlib.Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def value(self) -> np.ndarray:
        """Reads it."""
        with _opened(self.path) as file:
            return file.get_tensor(self.name)


def stored_tensors(directory: pathlib.Path) -> dict[str, Stored]:
    """Lists every tensor from the headers of the files.

    Args:
        directory: with `model.safetensors`, or its parts and their index.

    Returns:
        The tensors by name, as the bare encoder is saved today: without
        "bert.", and with "weight" and "bias" for "gamma" and "beta".

    Raises:
        DataError: when files are missing or broken.
    """
    found = {}
    for path in _weight_files(directory):
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                part = file.get_slice(name)
                shape = tuple(part.get_shape())
                present = _present_name(name)
                found[present] = Stored(path, name, shape, part.get_dtype())
    return found


def _present_name(name: str) -> str:
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _weight_files(directory: pathlib.Path) -> list[pathlib.Path]:
    if (directory / _WEIGHTS).is_file():
        return [directory / _WEIGHTS]
    if (directory / _INDEX).is_file():
        parts = read_json(directory / _INDEX).get("weight_map", {})
        files = [directory / name for name in sorted({*parts.values()})]
        absent = [path.name for path in files if not path.is_file()]
        if absent or not files:
            raise DataError(
                f"{directory / _INDEX} names files that are not there: "
                f"{some(absent) or 'none at all'}. Copy the whole checkpoint."
            )
        return files
    remedy = "Copy the whole checkpoint."
    if (directory / _PICKLED).is_file():
        remedy = (
            f"{_PICKLED} is a pickle, which can run code, and is not read: "
            "save it again with transformers, "
            "`model.save_pretrained(directory, safe_serialization=True)`."
        )
    raise DataError(f"{directory} has no {_WEIGHTS}. {remedy}")


@contextlib.contextmanager
def _opened(path: pathlib.Path):
    import ml_dtypes  # noqa: F401 (gives NumPy its bfloat16)
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        raise DataError(
            f"{path} is not a whole safetensors file: {error}. Copy it again."
        ) from error


def read_json(path: pathlib.Path) -> dict:
    """Reads a JSON object.

    Args:
        path: of the file.

    Returns:
        The object.

    Raises:
        DataError: when there is no file, or something else in it.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object.")
    return value


def some(items: Sequence[str]) -> str:
    """Names the first few of a list, and says how many more there are.

    Args:
        items: what to name.

    Returns:
        Text for the middle of a sentence.
    """
    shown = ", ".join(items[:_SHOWN])
    more = len(items) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
