"""Several texts in one row of a BERT, none of which sees another."""

from __future__ import annotations

import keras
from keras import ops

from kbig.errors import UsageError

_EMBEDDINGS = (
    "token_embedding",
    "position_embedding",
    "segment_embedding",
    "embeddings_add",
    "embeddings_layer_norm",
    "embeddings_dropout",
)


def packed(model: keras.Model) -> keras.Model:
    """Lets a model read rows in which several texts are packed.

    Attention stays within a text, so that each gives what it would give
    alone. Train the packed model and save the plain one: they share their
    layers.

    Args:
        model: from `bert_masked_lm` without next sentences, or from
            `bert_token_classifier`. Heads that read one token of a row, as
            `bert_classifier` does, have no place for several texts.

    Returns:
        A `keras.Model` with the inputs of `model` and two more, int32
        `(batch, steps)`: `text_ids`, 0 for padding and 1, 2, ... for the
        texts of the row, and `position_ids`, the place in the text, from 0.
        Its output is that of `model`. A row may be longer than the position
        embedding; a text may not.

    Raises:
        UsageError: when the model has another head, or another backbone.

    Example:
    ```python
    model = bert_masked_lm(bert("tiny"))
    packed(model).compile("adam", "sparse_categorical_crossentropy")
    ```

    Reference:
     - [Krell et al., 2021](https://arxiv.org/abs/2107.02027)
    """
    layers = {layer.name: layer for layer in model.layers}
    head = _head(model, layers)
    inputs = {
        **{x.name: x for x in model.inputs},
        "text_ids": keras.Input((None,), dtype="int32", name="text_ids"),
        "position_ids": keras.Input(
            (None,), dtype="int32", name="position_ids"
        ),
    }
    outputs = head(_states(layers, inputs), inputs, layers)
    return keras.Model(inputs, outputs, name=f"packed_{model.name}")


def _states(layers, inputs):
    import keras_hub

    tokens, positions, segments, add, norm, dropout = (
        layers[name] for name in _EMBEDDINGS
    )
    x = tokens(inputs["token_ids"])
    x = (
        x,
        positions(x, positions=inputs["position_ids"]),
        segments(inputs["segment_ids"]),
    )
    x = dropout(norm(add(x)))
    texts = inputs["text_ids"]
    same = ops.equal(ops.expand_dims(texts, 2), ops.expand_dims(texts, 1))
    real = ops.expand_dims(ops.cast(inputs["padding_mask"], "bool"), 1)
    mask = ops.logical_and(same, real)
    for layer in layers.values():
        if isinstance(layer, keras_hub.layers.TransformerEncoder):
            x = layer(x, attention_mask=mask)
    return x


def _masked_lm(states, inputs, layers):
    return layers["masked_lm"](states, inputs["mask_positions"])


def _token_logits(states, inputs, layers):
    return layers["logits"](layers["dropout"](states))


def _head(model, layers):
    """Which head it is, by what the model calls its layers."""
    output = model.output
    is_tensor = not isinstance(output, dict | list | tuple)
    if is_tensor and len(output.shape) == 3 and {*_EMBEDDINGS} <= {*layers}:
        for name, head in (
            ("masked_lm", _masked_lm),
            ("logits", _token_logits),
        ):
            if name in layers:
                return head
    raise UsageError(
        "`model` cannot read packed rows: only a head that reads every token "
        "by itself can. Received: "
        f"model={model.name!r}. Pass one from `bert_masked_lm` without "
        "`next_sentence`, or from `bert_token_classifier`."
    )
