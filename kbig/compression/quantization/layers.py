"""Layers that multiply by a kernel, and tables that are looked up in."""

import math

import keras
import tensorflow as tf

from kbig.compression.quantization import activations
from kbig.compression.quantization import equations
from kbig.compression.quantization import modes
from kbig.compression.quantization.keras_masks import with_mask_of
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import register_layer
from kbig.compression.quantization.table import standard

L = keras.layers


def _last(layer):
    return (-1,)


def _one_scale(layer):
    return ()


def _channels_last(layer) -> str:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    return activations.obstacle(layer)


def _product(channels, call=standard) -> LayerSpec:
    """A layer with one kernel, into which a normalization is folded."""
    return LayerSpec(
        call,
        {"kernel": channels},
        activation=call is standard,
        normalized="kernel",
        obstacle=_channels_last,
    )


register_layer(L.Dense, _product(_last))
register_layer(L.Conv2D, _product(_last))
register_layer(L.DepthwiseConv2D, _product(lambda layer: (2, 3)))
register_layer(L.Conv2DTranspose, _product(lambda layer: (2,)))


def _convolution_1d(layer, quantize, x):
    """As a convolution of images one pixel high, bias and all.

    The converter would leave a bias behind the change of shapes, where no
    kernel folds it in.
    """
    x = quantize.inputs(x)
    padding = layer.padding
    if padding == "causal":
        before = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        x = tf.pad(x, [[0, 0], [before, 0], [0, 0]])
        padding = "valid"
    y = tf.nn.conv2d(
        x[:, None],
        tf.convert_to_tensor(layer.kernel)[None],
        strides=[1, layer.strides[0]],
        padding=padding.upper(),
        dilations=[1, layer.dilation_rate[0]],
    )
    if layer.bias is not None:
        y = tf.nn.bias_add(y, tf.cast(layer.bias, y.dtype))
    y = _activated(layer, quantize, y)
    return quantize.same(y, tf.squeeze(y, 1))


register_layer(L.Conv1D, _product(_last, _convolution_1d))


def _separable(layer, quantize, x):
    """A depthwise convolution and a pointwise one."""
    x = quantize.inputs(x)
    strides = (1, *layer.strides, 1)
    y = tf.nn.depthwise_conv2d(
        x,
        layer.depthwise_kernel,
        strides,
        layer.padding.upper(),
        dilations=layer.dilation_rate,
    )
    y = quantize("depthwise", y)
    y = tf.nn.conv2d(y, layer.pointwise_kernel, 1, "VALID")
    if layer.bias is not None:
        y = tf.nn.bias_add(y, tf.cast(layer.bias, y.dtype))
    return _activated(layer, quantize, y)


register_layer(
    L.SeparableConv2D,
    LayerSpec(
        _separable,
        {
            "depthwise_kernel": lambda layer: (2, 3),
            "pointwise_kernel": _last,
        },
        normalized="pointwise_kernel",
        obstacle=_channels_last,
    ),
)


def _einsum_dense(layer, quantize, x, training=None):
    x = quantize.inputs(x)
    form = equations.product_form(layer.equation)
    is_product = form is not None and _fits(layer, form)
    if is_product and isinstance(quantize.mode, modes.Export):
        return _matrix_product(layer, quantize, x, form)
    # XLA takes several times as long for the product of matrices.
    y = tf.einsum(layer.equation, x, layer.kernel)
    if layer.bias is not None:
        if not is_product:
            y = quantize("products", y)
        y += tf.cast(layer.bias, y.dtype)
    return _activated(layer, quantize, y)


def _activated(layer, quantize, y):
    function = vars(layer)["activation"]
    y = activations.activate(quantize, "activation", function, y)
    return quantize.output(y, fixed=activations.range_of(layer))


def _fits(layer, form) -> bool:
    """Whether bias and activation do with the new axes made one."""
    new = form.rank - form.inputs
    function = vars(layer)["activation"]
    is_softmax = function is keras.activations.softmax
    rank = 0 if layer.bias is None else len(layer.bias.shape)
    return rank <= new and not (is_softmax and new > 1)


def _matrix_product(layer, quantize, x, form):
    """The same as a product of two matrices: integer kernels know no other."""
    kernel = layer.kernel
    inputs, outputs = kernel.shape[: form.inputs], kernel.shape[form.inputs :]
    rows = x.shape.rank - form.inputs
    y = keras.ops.matmul(
        _joined(x, rows), tf.reshape(kernel, (math.prod(inputs), -1))
    )
    if layer.bias is not None:
        bias = tf.cast(layer.bias, y.dtype)
        y += tf.reshape(tf.broadcast_to(bias, outputs), [-1])
    y = _activated(layer, quantize, y)
    shape = tf.concat([tf.shape(x)[:rows], outputs], 0)
    return tf.ensure_shape(tf.reshape(y, shape), (*x.shape[:rows], *outputs))


def _joined(x, rows: int):
    """Makes one of the axes after the rows."""
    if x.shape.rank == rows + 1:
        return x
    size = math.prod(x.shape[rows:])
    joined = tf.reshape(x, tf.concat([tf.shape(x)[:rows], [size]], 0))
    return tf.ensure_shape(joined, (*x.shape[:rows], size))


def _einsum_channels(layer):
    form = equations.product_form(layer.equation)
    if form is None or not _fits(layer, form):
        return ()
    return tuple(range(form.inputs, form.rank))


register_layer(
    L.EinsumDense,
    LayerSpec(
        _einsum_dense,
        {"kernel": _einsum_channels},
        obstacle=activations.obstacle,
    ),
)


def _embedding(layer, quantize, ids):
    return quantize.entries("embeddings", layer.float_call(ids))


register_layer(L.Embedding, LayerSpec(_embedding, {"embeddings": _one_scale}))


def _reversible(layer, quantize, x, reverse=False):
    if not reverse:
        rows = layer.float_call(x)
        return with_mask_of(rows, quantize.entries("embeddings", rows))
    x = quantize.inputs(x)
    return quantize.output(layer.float_call(x, reverse=True))


def _tied_without_cap(layer) -> str:
    if layer.logit_soft_cap is not None:
        return "its soft cap on logits"
    return "" if layer.tie_weights else "its untied output weights"


register_layer(
    L.ReversibleEmbedding,
    LayerSpec(
        _reversible, {"embeddings": _one_scale}, obstacle=_tied_without_cap
    ),
)
