"""Images and sequences of `.npz` files."""

import pathlib
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from kbig.data.dataset import SPLITS
from kbig.data.dataset import Dataset
from kbig.data.dataset import from_columns
from kbig.data.labels import encode_labels
from kbig.data.splits import assign_splits
from kbig.errors import DataError
from kbig.errors import UsageError

_UNREADABLE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)


def read_arrays(
    path: pathlib.Path,
    *,
    kind: str | None = None,
    class_names: Sequence[str] | None = None,
) -> Dataset:
    """Reads labelled images or sequences from NumPy arrays.

    The file holds `x_train`, `y_train` and, if they are given, `x_test`,
    `y_test`, `x_validation`, `y_validation`. Images are `(n, height, width)`
    or `(n, height, width, channels)`: whole numbers in [0, 255], or floats
    in [0, 1], which are scaled by 255 and rounded to uint8. Sequences are
    `(n, steps, channels)` and become float32. Labels are `(n,)` or `(n, 1)`:
    integers, or strings, which name the classes.

    Args:
        path: the `.npz` file; pickled objects in it are refused.
        kind: `"image"` or `"sequence"`; `None` takes float arrays of rank 3
            for sequences and all else for images.
        class_names: names of the classes, in the order of the sorted labels;
            `None` names each class by its label.

    Returns:
        A `Dataset` of kind `"image"` or `"sequence"`.

    Raises:
        DataError: naming the array, and the row counted from 0.

    Example:
    ```python
    data = kbig.data.load("digits.npz")
    ```
    """
    arrays = _load(path)
    present = [split for split in SPLITS if f"x_{split}" in arrays]
    given = np.repeat(present, [len(arrays[f"x_{s}"]) for s in present])
    first = np.concatenate([np.arange(np.sum(given == s)) for s in present])
    x = np.concatenate(_same_shapes(path, arrays, present))
    labels = [y for s in present for y in _labels(path, arrays, s)]

    def where(row):
        return f"{path}, y_{given[row]}[{first[row]}]"

    kind = kind or _kind_of(x)
    x = _images(path, x) if kind == "image" else _sequences(path, x)
    contents = [row.tobytes() for row in x]
    splits, rule = assign_splits(contents, given, labels, source=str(path))
    numbers, names = encode_labels(labels, splits, where)
    return from_columns(
        (x, numbers),
        splits,
        name=str(path),
        kind=kind,
        class_names=_named(names, class_names),
        licence="unknown",
        source=str(path),
        split=rule,
    )


def _load(path):
    try:
        # `np.load` also takes an `.npy` file, whatever its name.
        with np.lib.npyio.NpzFile(path) as file:
            # What is no array in the archive comes as bytes.
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except _UNREADABLE as error:
        raise DataError(
            f"{path} could not be read as .npz without pickles. Received: "
            f"{error}. Write it by `np.savez_compressed` from number arrays."
        ) from error
    wanted = ["x_train", "y_train"]
    for split in ("validation", "test"):
        if f"x_{split}" in arrays or f"y_{split}" in arrays:
            wanted += [f"x_{split}", f"y_{split}"]
    for name in wanted:
        if name not in arrays:
            raise DataError(
                f"{path} has no array {name!r}. Received: "
                f"{', '.join(arrays) or 'no arrays'}"
            )
        if not arrays[name].size:
            raise DataError(f"{path}: {name} is empty.")
        if not arrays[name].ndim:
            raise DataError(
                f"{path}: {name} must hold one example a row. Received: a "
                "single value"
            )
    return arrays


def _same_shapes(path, arrays, present):
    for split in present:
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype.kind not in "iuf":
            raise DataError(
                f"{path}: x_{split} must hold numbers. Received: "
                f"dtype={x.dtype}"
            )
        if x.shape[1:] != arrays["x_train"].shape[1:]:
            raise DataError(
                f"{path}: x_{split} must have the shape of x_train but for "
                f"the first axis. Received: {x.shape} and "
                f"{arrays['x_train'].shape}"
            )
        if y.shape not in ((len(x),), (len(x), 1)):
            raise DataError(
                f"{path}: y_{split} must have one label for each of the "
                f"{len(x)} rows of x_{split}. Received: shape {y.shape}"
            )
        rows = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        if len(rows):
            raise DataError(
                f"{path}: x_{split}[{rows[0]}] holds NaN or infinity; every "
                "value must be finite."
            )
    return [arrays[f"x_{split}"] for split in present]


def _labels(path, arrays, split):
    labels = arrays[f"y_{split}"]
    if labels.dtype.kind not in "iuU":
        raise DataError(
            f"{path}: y_{split} must hold integers or strings. Received: "
            f"dtype={labels.dtype}"
        )
    names = [str(label).strip() for label in labels.reshape(-1)]
    if "" in names:
        raise DataError(
            f"{path}: y_{split}[{names.index('')}] is an empty string; every "
            "label must name a class."
        )
    return names


def _kind_of(x):
    return "sequence" if x.ndim == 3 and x.dtype.kind == "f" else "image"


def _images(path, x):
    x = x[..., np.newaxis] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[-1] not in (1, 3, 4):
        raise DataError(
            f"{path}: images must be (n, height, width) or (n, height, width, "
            f"channels) with 1, 3 or 4 channels. Received: shape {x.shape}. "
            "Give `kind='sequence'` if these are sequences."
        )
    if x.dtype.kind == "f" and x.min() >= 0 and x.max() <= 1:
        return np.rint(x * 255).astype(np.uint8)
    if x.min() < 0 or x.max() > 255 or np.any(x != np.rint(x)):
        raise DataError(
            f"{path}: images must be whole numbers in [0, 255] or floats in "
            f"[0, 1]. Received: dtype={x.dtype}, minimum {x.min()}, maximum "
            f"{x.max()}. Save the pixels as they were before normalization."
        )
    return x.astype(np.uint8)


def _sequences(path, x):
    if x.ndim != 3:
        raise DataError(
            f"{path}: sequences must be (n, steps, channels). Received: "
            f"shape {x.shape}"
        )
    return x.astype(np.float32)


def _named(names, class_names):
    if class_names is None:
        return names
    if len(class_names) != len(names):
        raise UsageError(
            f"`class_names` must name the {len(names)} classes "
            f"{', '.join(names)}. Received: class_names={tuple(class_names)}"
        )
    return tuple(class_names)
