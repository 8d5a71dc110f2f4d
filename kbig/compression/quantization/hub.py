"""Layers of KerasHub."""

import keras
import keras_hub
import tensorflow as tf
from keras_hub.src.layers.modeling import transformer_layer_utils
from keras_hub.src.layers.modeling.cached_multi_head_attention import (
    CachedMultiHeadAttention,
)

from kbig.compression.quantization import activations
from kbig.compression.quantization import attention
from kbig.compression.quantization.keras_masks import with_mask_of
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import register_layer


def _encoder(
    layer,
    quantize,
    inputs,
    padding_mask=None,
    attention_mask=None,
    training=None,
    return_attention_scores=False,
):
    """The layer's own steps.

    Its sums are computed in float where normalizations are: in trained
    encoders a few channels of what the feed-forward layer gives are a hundred
    times larger than the others (Bondarenko et al., 2021,
    https://arxiv.org/abs/2109.12948), which one grid for all would lose.
    """
    first = layer.normalize_first
    x = quantize.island_input(inputs) if first else quantize.inputs(inputs)
    mask = transformer_layer_utils.merge_padding_and_attention_mask(
        x, padding_mask, attention_mask
    )
    scores = []

    def attend(x):
        if first:
            x = layer._self_attention_layer_norm(x)
        x = layer._self_attention_layer(
            query=x,
            value=x,
            attention_mask=mask,
            training=training,
            return_attention_scores=return_attention_scores,
        )
        if return_attention_scores:
            x, shares = x
            scores.append(shares)
        return layer._self_attention_dropout(x, training=training)

    def feed_forward(x):
        if first:
            x = layer._feedforward_layer_norm(x)
        x = layer._feedforward_intermediate_dense(x)
        x = layer._feedforward_output_dense(x)
        return layer._feedforward_dropout(x, training=training)

    def summed(name, x, y):
        if not quantize.islands:
            return quantize(name, x + y)
        with quantize.island():
            return quantize.in_float(x + quantize.by_channel(y))

    for name, block, norm in (
        ("attention_sum", attend, layer._self_attention_layer_norm),
        ("feed_forward_sum", feed_forward, layer._feedforward_layer_norm),
    ):
        x = summed(name, x, block(x))
        x = x if first else norm(x)
    return (x, *scores) if scores else x


register_layer(keras_hub.layers.TransformerEncoder, LayerSpec(_encoder))
register_layer(CachedMultiHeadAttention, attention.SPEC)


def _positions(layer, quantize, x, start_index=0, positions=None):
    rows = layer.float_call(x, start_index=start_index, positions=positions)
    return quantize.entries("position_embeddings", rows)


register_layer(
    keras_hub.layers.PositionEmbedding,
    LayerSpec(_positions, {"position_embeddings": lambda layer: ()}),
)


def _token_and_position(layer, quantize, x, start_index=0, positions=None):
    tokens = layer.token_embedding(x)
    places = layer.position_embedding(
        tokens, start_index=start_index, positions=positions
    )
    return with_mask_of(tokens, quantize.output(tokens + places))


register_layer(
    keras_hub.layers.TokenAndPositionEmbedding, LayerSpec(_token_and_position)
)


def _masked_lm(layer, quantize, inputs, mask_positions):
    """Picks the masked steps, transforms them, and compares with the table."""
    x = quantize.inputs(inputs)
    x = quantize.same(x, tf.gather(x, mask_positions, batch_dims=1))
    x = layer._intermediate_dense(x)
    x = layer._intermediate_layer_norm(x)
    if layer.token_embedding is not None:
        logits = layer.token_embedding(x, reverse=True)
    else:
        logits = quantize("products", keras.ops.matmul(x, layer._kernel))
    logits = logits + tf.cast(layer._bias, logits.dtype)
    logits = activations.activate(
        quantize, "activation", vars(layer)["activation"], logits
    )
    return quantize.output(logits, fixed=activations.range_of(layer))


register_layer(
    keras_hub.layers.MaskedLMHead,
    LayerSpec(
        _masked_lm,
        {"_kernel": lambda layer: (-1,)},
        obstacle=activations.obstacle,
    ),
)
