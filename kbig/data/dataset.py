"""What every loader returns: three splits and what is known about them."""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.errors import UsageError

SPLITS = ("train", "validation", "test")
# What labels mean where only the kind of the data says it.
_TASKS = {"corpus": "", "series": "", "tags": "tags"}


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What is known about a data set; prints as a table.

    Args:
        name: its name in the catalogue, or the path that it was read from.
        kind: `"image"`, `"text"`, `"tags"`, `"sequence"`, `"series"` or
            `"corpus"`.
        shapes: shape of `x` and, where there is one, of `y` of one example;
            `None` stands for a size that varies.
        class_names: one name a class, at the index of its label; empty when
            there are no classes.
        sizes: number of examples of each split; `-1` when not known.
        licence: licence of the data, `"unknown"` for the caller's own.
        source: where the data come from.
        split: one sentence that says how the splits were made.
        task: what the labels mean: `"classification"`, `"multilabel"`,
            `"regression"` or `"tags"`; empty for a series or a corpus.
    """

    name: str
    kind: str
    shapes: dict[str, tuple[int | None, ...]]
    class_names: tuple[str, ...]
    sizes: dict[str, int]
    licence: str
    source: str
    split: str
    task: str = "classification"

    def to_dict(self) -> dict:
        """Returns the fields as values that `json.dumps` accepts."""
        return dataclasses.asdict(self) | {
            "shapes": {key: list(shape) for key, shape in self.shapes.items()},
            "class_names": list(self.class_names),
        }

    def __str__(self) -> str:
        rows = self.to_dict() | {
            "shapes": _join(self.shapes),
            "class_names": ", ".join(self.class_names) or "none",
            "sizes": _join(self.sizes),
            "task": self.task or "none",
        }
        width = max(map(len, rows))
        return "\n".join(f"{key:<{width}}  {rows[key]}" for key in rows)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Three unbatched splits and their description.

    Elements by kind: image `(uint8 (height, width, channels), int32)`; text
    `(string, int32)`, where the string may be a pair `(2,)` and the label
    float32 `(classes,)` of 0 and 1 for the task multilabel, or float32 for
    regression; tags `(string (words,), int32 (words,))`; sequence
    `(float32 (steps, channels), int32)`; series
    `(float32 (steps, channels), float32 (horizon,))`; corpus one string a
    document, its paragraphs joined by newlines.

    Args:
        train: examples to fit on.
        validation: examples to choose by; never empty.
        test: examples to report on; never empty.
        info: what is known about the data.

    Example:
    ```python
    data = kbig.data.load("fashion-mnist-small")
    print(data.info)
    images, labels = data.arrays("test")
    ```
    """

    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    info: DatasetInfo

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads a whole split into memory.

        Args:
            split: `"train"`, `"validation"` or `"test"`.

        Returns:
            `(x, y)`: arrays of all examples in order. Strings come as an
            object array of `str`. `y` is `None` for a corpus. Of tagged
            sentences `x` is an object array of tuples of `str`, and `y` an
            object array of int32 arrays.

        Raises:
            UsageError: for any other split.
        """
        if split not in SPLITS:
            raise UsageError(
                f"`split` must be one of {SPLITS}. Received: split={split!r}"
            )
        if self.info.kind == "tags":
            return _sentences(getattr(self, split))
        chunks = list(getattr(self, split).batch(256).as_numpy_iterator())
        if self.info.kind == "corpus":
            return _decoded(np.concatenate(chunks)), None
        x, y = (np.concatenate(column) for column in zip(*chunks))
        return (_decoded(x) if self.info.kind == "text" else x), y


def from_columns(
    columns: Sequence[np.ndarray],
    splits: np.ndarray,
    *,
    element: Callable | None = None,
    **info,
) -> Dataset:
    """Makes a `Dataset` of arrays and of the split that each row belongs to.

    Args:
        columns: one array a component, with the examples along axis 0.
        splits: string array, the split name of every example.
        element: maps the components of one example to the element, within
            the graph; `None` leaves them as they are.
        **info: the fields of `DatasetInfo` but `shapes` and `sizes`.

    Returns:
        A `Dataset`, in the order of the rows.
    """
    parts = {}
    for split in SPLITS:
        rows = splits == split
        part = tuple(column[rows] for column in columns)
        part = part if len(part) > 1 else part[0]
        parts[split] = tf.data.Dataset.from_tensor_slices(part)
        if element is not None:
            parts[split] = parts[split].map(
                element, num_parallel_calls=tf.data.AUTOTUNE
            )
    return from_parts(parts, **info)


def from_parts(parts: dict[str, tf.data.Dataset], **info) -> Dataset:
    """Makes a `Dataset` of three `tf.data.Dataset`s.

    Args:
        parts: the unbatched data set of each split.
        **info: the fields of `DatasetInfo` but `shapes` and `sizes`; the
            task may be left to the kind.

    Returns:
        A `Dataset` whose shapes and sizes are those of `parts`.
    """
    info.setdefault("task", _TASKS.get(info["kind"], "classification"))
    spec = parts["train"].element_spec
    spec = spec if isinstance(spec, tuple) else (spec,)
    info = DatasetInfo(
        shapes={key: tuple(part.shape) for key, part in zip("xy", spec)},
        sizes={
            split: max(-1, int(part.cardinality()))
            for split, part in parts.items()
        },
        **info,
    )
    return Dataset(**parts, info=info)


def _decoded(strings):
    texts = [text.decode() for text in strings.reshape(-1)]
    return np.array(texts, dtype=object).reshape(strings.shape)


def _sentences(dataset):
    elements = list(dataset.as_numpy_iterator())
    x, y = (np.empty(len(elements), dtype=object) for _ in range(2))
    for row, (words, tags) in enumerate(elements):
        x[row], y[row] = tuple(word.decode() for word in words), tags
    return x, y


def _join(values):
    return ", ".join(f"{key} {value}" for key, value in values.items())
