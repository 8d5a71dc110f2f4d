"""Activations as layers, sums, and what only moves values about."""

import keras
import numpy as np
import tensorflow as tf
from keras.src.ops import core
from keras.src.ops import numpy as arrays

from kbig.compression.quantization import activations
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import identical
from kbig.compression.quantization.table import passing
from kbig.compression.quantization.table import register_layer
from kbig.compression.quantization.table import standard

L = keras.layers

# Kernels of LiteRT end in one of these without rounding in between.
_ENDS_IN_RELU = (
    L.Dense,
    L.Conv1D,
    L.Conv2D,
    L.DepthwiseConv2D,
    L.SeparableConv2D,
    L.BatchNormalization,
    L.Add,
    arrays.Add,
)


def _is_folded(layer, source) -> bool:
    return (
        isinstance(source, _ENDS_IN_RELU)
        and activations.is_linear(source)
        and _is_plain_relu(layer)
    )


def _is_plain_relu(layer) -> bool:
    if isinstance(layer, L.Activation):
        return activations.found(vars(layer)["activation"]).folded
    return (
        layer.max_value in (None, 6.0)
        and not layer.negative_slope
        and not layer.threshold
    )


def _relu_obstacle(layer) -> str:
    leaks = layer.negative_slope and layer.max_value is None
    if layer.threshold or not (leaks or _is_plain_relu(layer)):
        return "its threshold, slope or largest value"
    return ""


def _activation(layer, quantize, x):
    x = quantize.inputs(x)
    function = vars(layer)["activation"]
    y = activations.activate(quantize, "activation", function, x)
    return quantize.output(y, fixed=activations.range_of(layer))


def _softmax(layer, quantize, x, mask=None):
    x = quantize.inputs(x)
    if mask is None:
        y = layer.float_call(x)
    else:
        with quantize.island():
            y = layer.float_call(quantize.released(x), mask=mask)
    return quantize.output(y, fixed=activations.UNIT_RANGE)


def _softmax_obstacle(layer) -> str:
    return "" if layer.axis in (-1, [-1], (-1,)) else "its axis is not the last"


register_layer(
    L.Activation,
    LayerSpec(_activation, folds=_is_folded, obstacle=activations.obstacle),
)
register_layer(L.ReLU, LayerSpec(folds=_is_folded, obstacle=_relu_obstacle))
register_layer(L.LeakyReLU, LayerSpec())
register_layer(L.Softmax, LayerSpec(_softmax, obstacle=_softmax_obstacle))


def _pairwise(function):
    def call(layer, quantize, inputs):
        first, *others = _of_one_rank(quantize.inputs(inputs))
        for i, x in enumerate(others, start=1):
            first = function(first, x)
            if i < len(others):
                first = quantize(f"partial_{i}", first)
        return quantize.output(first)

    return LayerSpec(call)


def _of_one_rank(tensors) -> list:
    """Keras adds axes behind the batch, and not before it."""
    rank = max(x.shape.rank for x in tensors)
    found = []
    for x in tensors:
        while x.shape.rank < rank:
            x = tf.expand_dims(x, 1)
        found.append(x)
    return found


def _operands(layer, quantize, *operands):
    """An operation of `keras.ops` on tensors and numbers."""
    return quantize.output(layer.float_call(*quantize.inputs(operands)))


for merge, function in (
    (L.Add, tf.add),
    (L.Subtract, tf.subtract),
    (L.Multiply, tf.multiply),
):
    register_layer(merge, _pairwise(function))
register_layer(L.Concatenate, LayerSpec())
for operation in (arrays.Add, arrays.Subtract, arrays.Multiply):
    register_layer(operation, LayerSpec(_operands))

register_layer(L.GlobalAveragePooling2D, LayerSpec())


for layer_class in (
    L.InputLayer,
    L.Identity,
    L.Dropout,
    L.SpatialDropout1D,
    L.SpatialDropout2D,
    L.GaussianNoise,
):
    register_layer(layer_class, LayerSpec(identical))
for layer_class in (
    L.Flatten,
    L.Reshape,
    L.Permute,
    L.RepeatVector,
    L.MaxPooling1D,
    L.MaxPooling2D,
    L.AveragePooling1D,
    L.AveragePooling2D,
    L.GlobalMaxPooling1D,
    L.GlobalMaxPooling2D,
    L.ZeroPadding1D,
    L.ZeroPadding2D,
    L.Cropping1D,
    L.Cropping2D,
    L.UpSampling1D,
    L.UpSampling2D,
    arrays.GetItem,
    arrays.Reshape,
    arrays.Squeeze,
    arrays.ExpandDims,
    arrays.Transpose,
):
    register_layer(layer_class, LayerSpec(passing))


def in_float(layer, quantize, *args, **kwargs):
    """No integer kernel divides, or counts exactly: an island."""
    quantize.read((args, kwargs))
    with quantize.island():
        args, kwargs = keras.tree.map_structure(
            quantize.released, (args, kwargs)
        )
        outputs = layer.float_call(*args, **kwargs)
    return keras.tree.map_structure(quantize.in_float, outputs)


def _average(layer, quantize, x, mask=None):
    """Of steps that are not masked: their number divides in float."""
    if mask is None:
        return standard(layer, quantize, x)
    return quantize.output(in_float(layer, quantize, x, mask=mask))


register_layer(L.GlobalAveragePooling1D, LayerSpec(_average))
for operation in (
    arrays.Sum,
    arrays.Maximum,
    arrays.Minimum,
    arrays.TrueDivide,
    arrays.Divide,
):
    register_layer(operation, LayerSpec(in_float))
register_layer(arrays.Mean, LayerSpec())


def _cast(layer, quantize, x):
    """Whole numbers become floats, and those a grid."""
    with quantize.island():
        y = layer.float_call(x)
    return quantize.output(y)


def _rescaling(layer, quantize, x):
    if not x.dtype.is_floating:
        with quantize.island():
            x = tf.cast(x, layer.compute_dtype)
    x = quantize.inputs(tf.cast(x, layer.compute_dtype))
    scale, offset = (
        tf.cast(value, x.dtype) for value in (layer.scale, layer.offset)
    )
    # Multiplied by one it would be rounded twice, to nearly the same grid.
    if np.any(np.not_equal(layer.scale, 1)):
        y = x * scale
        if not np.any(layer.offset):
            return quantize.output(y)
        x = quantize("scaled", y)
    if not np.any(layer.offset):
        return quantize.same(x, tf.identity(x))
    return quantize.output(x + offset)


register_layer(L.Rescaling, LayerSpec(_rescaling))


def _without_ranges(layer, quantize, *args, **kwargs):
    return layer.float_call(*args, **kwargs)


register_layer(core.Cast, LayerSpec(_cast))
# Of whole numbers and truths.
for operation in (arrays.NotEqual, arrays.Equal):
    register_layer(operation, LayerSpec(_without_ranges))
