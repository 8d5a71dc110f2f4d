"""Rows as tf.Example, what Classify and Regress take."""

from collections.abc import Iterator
from collections.abc import Mapping

import numpy as np

from kbig.errors import UsageError


def rows_of(columns: Mapping) -> Iterator[dict]:
    """Turns columns into rows.

    Args:
        columns: arrays or lists by name, `(rows, ...)`.

    Returns:
        An iterator of `{name: value}`, one a row.

    Example:
    ```python
    list(rows_of({"a": [1, 2]}))  # [{"a": 1}, {"a": 2}]
    ```
    """
    for values in zip(*columns.values()):
        yield dict(zip(columns, values))


def example_of(row: Mapping):
    """Makes a tf.Example of one row.

    Args:
        row: texts, bytes, numbers or arrays of them by name. Arrays are
            flattened, as a feature is a list.

    Returns:
        A `tf.train.Example`.

    Example:
    ```python
    example_of({"text": "a cat"}).SerializeToString()
    ```
    """
    import tensorflow as tf

    features = {name: _feature(value) for name, value in row.items()}
    return tf.train.Example(features=tf.train.Features(feature=features))


def _feature(value):
    import tensorflow as tf

    flat = flat_feature(value)
    if flat.dtype.kind == "f":
        return tf.train.Feature(float_list=tf.train.FloatList(value=flat))
    if flat.dtype.kind in "iub":
        integers = flat.astype("int64")
        return tf.train.Feature(int64_list=tf.train.Int64List(value=integers))
    texts = [as_bytes(text) for text in flat]
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))


def flat_feature(value) -> np.ndarray:
    """Makes one list of a value, as a feature of a tf.Example is one.

    Args:
        value: a text, bytes, a number, or an array or nested lists of them.

    Returns:
        An array `(values,)`; texts and bytes as objects.

    Example:
    ```python
    flat_feature([[1, 2], [3, 4]])  # [1, 2, 3, 4]
    ```
    """
    return array_of(value).ravel()


def array_of(value) -> np.ndarray:
    """Makes an array, of texts one of objects.

    NumPy's own arrays of texts drop zeros at their ends.

    Args:
        value: an array, a value, or nested lists; of texts `str` and `bytes`
            may be mixed.

    Returns:
        An array.

    Raises:
        ValueError: lists of different lengths.

    Example:
    ```python
    array_of(["a", b"b"]).dtype  # object
    ```
    """
    try:
        array = np.asarray(value)
    except UnicodeDecodeError:
        return np.array(value, dtype=object)
    if array.dtype.kind in "OSU":
        return np.array(value, dtype=object)
    return array


def as_bytes(text: str | bytes) -> bytes:
    """Encodes a text as UTF-8; bytes stay what they are.

    Args:
        text: lone surrogates, as the command line makes of bytes that are no
            UTF-8, become those bytes again.

    Returns:
        The bytes.

    Raises:
        UsageError: it is neither, or holds half of a surrogate pair.

    Example:
    ```python
    as_bytes("é")  # b"\\xc3\\xa9"
    ```
    """
    if isinstance(text, bytes):
        return text
    try:
        return text.encode("utf-8", "surrogateescape")
    except (AttributeError, UnicodeEncodeError) as error:
        raise UsageError(
            "A text is a str that UTF-8 can express, or bytes. Received: "
            f"{text!r:.80}"
        ) from error
