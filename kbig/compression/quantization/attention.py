"""Attention between heads."""

import keras
import tensorflow as tf

from kbig.compression.quantization import activations
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import register_layer

# Below the smallest score seen: e**-8 is less than a step of a probability.
_MARGIN = 8.0
_FAR_BELOW = -1e9


def attention(
    layer,
    quantize,
    query,
    key,
    value,
    attention_mask=None,
    training=None,
    return_attention_scores=False,
    use_causal_mask=False,
):
    """In place of what `MultiHeadAttention` does between its projections."""
    query = _by_head(quantize("query", query))
    # XNNPACK multiplies two tensors in integers only if zero lies in the
    # middle of the second one's range; LiteRT's own kernel is far slower.
    key, value = (
        _by_head(quantize(name, x, symmetric=True))
        for name, x in (("key", key), ("value", value))
    )
    softmax = _softmax_in_float if quantize.islands else _softmax
    scale = layer._inverse_sqrt_key_dim
    shares = softmax(quantize, query, key, scale, attention_mask)
    shares = quantize("shares", shares, fixed=activations.UNIT_RANGE)
    kept = shares
    if layer._dropout > 0.0:
        kept = layer._dropout_layer(shares, training=training)
    outputs = quantize("attended", tf.matmul(kept, value))
    return quantize.same(outputs, _by_step(outputs)), shares


def _softmax_in_float(quantize, query, key, scale, mask):
    products = query
    if query.dtype == tf.float16:  # It does not hold sums of so many products.
        products, key = tf.cast(query, tf.float32), tf.cast(key, tf.float32)
    products = tf.matmul(products, key, transpose_b=True)
    scores = quantize("scores", products)
    with quantize.island():
        scores = tf.cast(scores, tf.float32) * scale
        if mask is not None:
            kept = tf.cast(_for_heads(mask, scores.shape.rank), tf.float32)
            scores += (1 - kept) * _FAR_BELOW
        return tf.cast(tf.nn.softmax(scores), query.dtype)


def _softmax(quantize, query, key, scale, mask):
    """What is masked has the lowest score that the range holds."""
    query = quantize("scaled_query", query * tf.cast(scale, query.dtype))
    scores = tf.matmul(query, key, transpose_b=True)
    if mask is None:
        return tf.nn.softmax(quantize("scores", scores))
    scores = quantize("scores", scores, margin=_MARGIN)
    lowest = tf.cast(quantize.low("scores", scores), scores.dtype)
    mask = _for_heads(mask, scores.shape.rank)
    masked = tf.where(mask, scores, lowest)
    return tf.nn.softmax(quantize.same(scores, masked))


def _by_head(x):
    return tf.transpose(x, (0, 2, 1, 3))


_by_step = _by_head


def _for_heads(mask, rank: int):
    while mask.shape.rank < rank:
        mask = tf.expand_dims(mask, -3)
    return tf.cast(mask, tf.bool)


def obstacle(layer) -> str:
    """Why an attention cannot be quantized."""
    if layer._attention_axes not in (None, (1,), [1], 1):
        return "its attention axes"
    return "its gate" if getattr(layer, "_use_gate", False) else ""


SPEC = LayerSpec(
    call=None,
    methods={"_compute_attention": attention},
    obstacle=obstacle,
    inside=("_softmax",),
)
register_layer(keras.layers.MultiHeadAttention, SPEC)
