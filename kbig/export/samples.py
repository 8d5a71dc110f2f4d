"""What artefacts are verified with: arrays by input name."""

from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kbig import data
from kbig.errors import UsageError

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
        UsageError: an input is missing, or the numbers of rows differ.
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
    arrays = {name: np.asarray(value) for name, value in samples.items()}
    missing = [name for name in names if name not in arrays]
    rows = {name: len(array) for name, array in arrays.items()}
    if missing or len(set(rows.values())) != 1 or 0 in rows.values():
        raise UsageError(
            f"Samples need the inputs {names}, each with the same number of "
            f"rows, at least one. Received: rows={rows}."
        )
    for x in model.inputs:
        _check_shape(x, arrays[x.name])
        arrays[x.name] = arrays[x.name].astype(x.dtype)
    return arrays


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
