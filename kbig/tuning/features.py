"""Features computed once, so that a head alone can be trained on them."""

from collections.abc import Iterable

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.tuning.structure import roles


def head_on_features(
    model: keras.Model,
) -> tuple[keras.Model, keras.Model]:
    """Splits a classifier where its head begins.

    Both parts share their layers with `model`: once the head is trained,
    `model` has it.

    Args:
        model: from `bert_classifier`.

    Returns:
        The encoder, from the inputs of `model` to what the head sees, and the
        head, from that, float32 `(batch, hidden_dim)`, to the outputs of
        `model`. Neither is compiled; in the head all is trainable.

    Raises:
        UsageError: the head is not a chain of layers on one vector a row.

    Example:
    ```python
    encoder, head = head_on_features(model)
    x, y = features(encoder, batches)
    head.compile("adam", loss)
    head.fit(x, y)
    ```
    """
    seen, chain = _head_chain(model)
    encoder = keras.Model(model.input, seen, name="encoder")
    inputs = keras.Input(seen.shape[1:], dtype="float32", name="features")
    outputs = inputs
    for layer in chain:
        layer.trainable = True
        outputs = layer(outputs)
    return encoder, keras.Model(inputs, outputs, name="head")


def features(
    encoder: keras.Model, batches: Iterable[tuple], verbose: int = 0
) -> tuple[np.ndarray, ...]:
    """Computes what a head sees of every row, without dropout.

    Args:
        encoder: the first that `head_on_features` returns.
        batches: tuples `(inputs, labels)` or `(inputs, labels, weights)`,
            gone through once, so they may come shuffled.
        verbose: 1 draws a progress bar, 0 does not.

    Returns:
        Arrays of all rows: float32 features, labels, and weights if there
        are any, ready for `fit`.

    Raises:
        UsageError: there are no batches.

    Example:
    ```python
    x, y = features(encoder, bucketed_batches(texts, labels, 64, ...))
    ```
    """
    progress = keras.utils.Progbar(_length(batches), verbose=verbose)
    parts = []
    for number, (inputs, *rest) in enumerate(batches, start=1):
        seen = encoder.predict_on_batch(inputs)
        parts.append((np.asarray(seen, "float32"), *map(np.asarray, rest)))
        if verbose:
            progress.update(number)
    if not parts:
        raise UsageError(
            "There must be something to compute features of. Received: no "
            "batches. Pass rows; a dataset may have been used up."
        )
    return tuple(np.concatenate(column) for column in zip(*parts))


def _length(batches):
    try:
        return len(batches)
    except TypeError:
        return None


def _head_chain(model):
    """The tensor that the head sees, and the head's layers in order."""
    head, chain, seen = roles(model).head, [], model.output
    while isinstance(seen, keras.KerasTensor):
        # A layer may be part of other models too: the node is this one's.
        layer, node, _ = seen._keras_history
        if layer not in head and not _belongs(layer, head, chain):
            break
        chain.insert(0, layer)
        inputs = layer._inbound_nodes[node].input_tensors
        seen = inputs[0] if len(inputs) == 1 else None
    is_vector = isinstance(seen, keras.KerasTensor) and len(seen.shape) == 2
    if not is_vector or set(map(id, head)) - set(map(id, chain)):
        raise UsageError(
            "The head must be a chain of layers that sees a vector a row. "
            f"Received: head layers {[layer.name for layer in head]} of "
            f"model={model.name!r}. Train it with `prepare(model, 'frozen')` "
            "alone."
        )
    return seen, chain


def _belongs(layer, head, chain):
    """Tells a layer without weights that is within the head, or on top."""
    if getattr(layer, "weights", ()):
        return False
    is_above = any(x not in chain for x in head)
    return is_above or isinstance(layer, keras.layers.Dropout)
