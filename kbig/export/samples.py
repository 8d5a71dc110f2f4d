"""What artefacts are verified with: arrays by input name."""

from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kbig import data
from kbig.errors import UsageError
from kbig.export.input_checks import vocabulary_sizes
from kbig.export.signatures import call_by_name

_SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "",
    "naïve café, 12.5 %: ÜBER-long " + "word " * 600,
    "東京 is not in Ελλάδα 🙂",
)


def named_samples(
    model: keras.Model, samples: Mapping | np.ndarray
) -> dict[str, np.ndarray]:
    """Checks samples and names them: one array is the only input.

    Raises:
        UsageError: an input is missing, the numbers of rows differ, or values
            are none that the input can have.
    """
    names = [x.name for x in model.inputs]
    if not isinstance(samples, Mapping):
        if len(names) > 1:
            raise UsageError(
                f"The model has {len(names)} inputs, so samples must be a "
                f"dict with the keys {names}. Received: an object of type "
                f"{type(samples).__name__}."
            )
        samples = {names[0]: samples}
    arrays = {name: _array(name, value) for name, value in samples.items()}
    missing = [name for name in names if name not in arrays]
    rows = {name: len(x) if x.ndim else 0 for name, x in arrays.items()}
    if missing or len(set(rows.values())) != 1 or 0 in rows.values():
        raise UsageError(
            f"Samples need the inputs {names}, each with the same number of "
            f"rows, at least one. Received: rows={rows}."
        )
    for x in model.inputs:
        _check_shape(x, arrays[x.name])
        arrays[x.name] = _converted(x, arrays[x.name])
    for name, size in vocabulary_sizes(model).items():
        _check_ids(name, arrays[name], size)
    if has_nan(arrays):
        _check_nan(model, arrays)
    return arrays


def has_nan(samples: Mapping[str, np.ndarray]) -> bool:
    """Tells whether there is a NaN among samples."""
    floats = [x for x in samples.values() if x.dtype.kind == "f"]
    return any(np.isnan(x).any() for x in floats)


def _check_nan(model: keras.Model, arrays) -> None:
    """NaN is for models that take it for a missing value."""
    # Not compiled: the kernels of a graph may make 0 of NaN.
    inputs = {x.name: tf.constant(arrays[x.name]) for x in model.inputs}
    outputs = call_by_name(model, inputs).values()
    if any(np.isnan(y).any() for y in outputs):
        raise UsageError(
            "Samples with NaN are for models that answer them. Received: "
            "rows for which the model gives NaN. Leave them out."
        )


def _array(name: str, value) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise UsageError(
            f"Samples for {name!r} must be rows of one shape. Received: "
            f"{error}."
        ) from error


def _converted(x: keras.KerasTensor, array: np.ndarray) -> np.ndarray:
    """In the dtype of the input, where integers stay what they are."""
    if array.dtype.kind in "OSUMmc":
        raise UsageError(
            f"Samples for the input {x.name!r} must be numbers. Received: "
            f"dtype={array.dtype}."
        )
    with np.errstate(invalid="ignore"):
        converted = array.astype(x.dtype)
    changed = converted != array
    if converted.dtype.kind in "iub" and changed.any():
        raise UsageError(
            f"Samples for the input {x.name!r} must be of {x.dtype}. "
            f"Received: {array[changed][0]}."
        )
    return converted


def _check_ids(name: str, ids: np.ndarray, size: int) -> None:
    # NaN is neither.
    outside = ids[~((ids >= 0) & (ids < size))]
    if outside.size:
        raise UsageError(
            f"Samples for the input {name!r} must be ids from 0 to "
            f"{size - 1}. Received: {outside[0]}."
        )


def checked_labels(labels, rows: int) -> np.ndarray | None:
    """Returns labels as an array, None when there are none.

    Raises:
        UsageError: there is not one label a sample.
    """
    if labels is None:
        return None
    labels = np.asarray(labels)
    if len(labels) != rows:
        raise UsageError(
            "There must be one label a sample. Received: "
            f"{len(labels)} labels and {rows} samples."
        )
    return labels


def _check_shape(x: keras.KerasTensor, array: np.ndarray) -> None:
    expected = tuple(x.shape[1:])
    fits = array.ndim == len(x.shape) and all(
        side in (None, size) for side, size in zip(expected, array.shape[1:])
    )
    if not fits:
        raise UsageError(
            f"Samples for the input {x.name!r} must have the shape (rows, "
            f"{', '.join(map(str, expected))}). Received: {array.shape}."
        )


def synthetic_samples(
    model: keras.Model, rows: int = 8, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random inputs for a model whose caller gave none.

    Floats are normal, integers are 0 or 1: valid as an id, a position, a
    segment or a mask in any model.

    Args:
        model: a built model without free dimensions but the batch.
        rows: how many.
        seed: of the generator.

    Returns:
        `{input name: array (rows, ...)}`.

    Raises:
        UsageError: an input has another free dimension.
    """
    generator = np.random.default_rng(seed)
    samples = {}
    for x in model.inputs:
        shape = tuple(x.shape[1:])
        if None in shape:
            raise UsageError(
                f"Input {x.name!r} has free dimensions, so random samples "
                f"cannot be made. Received: shape={tuple(x.shape)}. Pass "
                "samples= of the shape to export."
            )
        if np.issubdtype(np.dtype(x.dtype), np.floating):
            values = generator.normal(size=(rows, *shape))
        else:
            values = generator.integers(0, 2, size=(rows, *shape))
        samples[x.name] = values.astype(x.dtype)
    return samples


def text_samples(
    model: keras.Model,
    texts: Sequence[str] | Mapping | None,
    tokenizer,
    sequence_length: int | None,
) -> dict[str, np.ndarray]:
    """Texts beside their tokens, so that every signature can be fed.

    Args:
        model: the model that takes the tokens.
        texts: strings `(rows,)`, pairs of them `(rows, 2)`,
            `{"text": strings}`, or None for a few sentences that are awkward
            on purpose.
        tokenizer: a KerasHub tokenizer.
        sequence_length: length of the rows.

    Returns:
        `text`, of pairs `text_pair` too, and every input of the model,
        `(rows, ...)` each.

    Raises:
        UsageError: no length, or tokens were passed where texts belong.
    """
    if sequence_length is None:
        raise UsageError(
            "A tokenizer needs the length of the rows that it fills. "
            f"Received: sequence_length={sequence_length}. Pass the length "
            "that the model was trained with."
        )
    if isinstance(texts, Mapping):
        if "text" not in texts:
            raise UsageError(
                "With a tokenizer, samples are texts. Received: a dict with "
                f"the keys {sorted(texts)}. Pass strings."
            )
        texts = texts["text"]
    texts = np.asarray(_SENTENCES if texts is None else texts, dtype=object)
    encoded = data.encode(tf.constant(texts), tokenizer, sequence_length)
    tokens = {x.name: encoded[x.name].numpy() for x in model.inputs}
    if texts.ndim == 1:
        return {"text": texts, **tokens}
    return {"text": texts[:, 0], "text_pair": texts[:, 1], **tokens}
