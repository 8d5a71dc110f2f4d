"""Normalizations: of batches, folded or alone, and of layers."""

import keras
import numpy as np
import tensorflow as tf

from kbig.compression.quantization import activations
from kbig.compression.quantization import folding
from kbig.compression.quantization import modes
from kbig.compression.quantization.table import LayerSpec
from kbig.compression.quantization.table import register_layer


def _is_folded(layer, source) -> bool:
    spec = getattr(source, "quantization_spec", None)
    is_product = spec is not None and bool(spec.normalized)
    return is_product and activations.is_linear(source)


def _batch_normalization(layer, quantize, x, training=None, mask=None):
    x = quantize.inputs(x)
    if not isinstance(quantize.mode, modes.Export):
        y = layer.float_call(x, training=training, mask=mask)
        return quantize.output(y)
    if layer.quantization.is_folded:
        return quantize.output(x)
    return quantize.output(_by_channel(x, *folding.scale_and_shift(layer)))


def _by_channel(x, scale, shift):
    """As a depthwise convolution: one kernel, a grid for every channel."""
    size = len(scale)
    images = tf.reshape(x, (tf.shape(x)[0], -1, 1, size))
    kernel = tf.constant(scale.reshape(1, 1, size, 1))
    y = tf.nn.depthwise_conv2d(images, kernel, (1, 1, 1, 1), "VALID")
    y = tf.nn.bias_add(y, tf.constant(shift))
    return tf.ensure_shape(tf.reshape(y, tf.shape(x)), x.shape)


def _of_last_axis(layer) -> str:
    if layer.axis not in (-1, layer.input_spec.ndim - 1):
        return "its axis is not the last one"
    return ""


register_layer(
    keras.layers.BatchNormalization,
    LayerSpec(_batch_normalization, folds=_is_folded, obstacle=_of_last_axis),
)


def _normalization(layer, quantize, x):
    x = quantize.inputs(tf.cast(x, layer.compute_dtype))
    if not isinstance(quantize.mode, modes.Export):
        return quantize.output(layer.float_call(x))
    return quantize.output(_by_channel(x, *_adapted(layer, x.shape[-1])))


def _adapted(layer, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of what a data set has taught."""
    with tf.init_scope():
        mean, variance = (
            np.broadcast_to(np.asarray(value, np.float32).ravel(), channels)
            for value in (layer.mean, layer.variance)
        )
    deviation = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    return (
        (deviation, mean)
        if layer.invert
        else (1 / deviation, -mean / deviation)
    )


def _of_last_axis_or_all(layer) -> str:
    if tuple(layer._keep_axis) not in ((), (len(layer._broadcast_shape) - 1,)):
        return "its axis is not the last one"
    return ""


register_layer(
    keras.layers.Normalization,
    LayerSpec(_normalization, obstacle=_of_last_axis_or_all),
)


def _layer_normalization(layer, quantize, x):
    if not quantize.islands:
        x = quantize.inputs(x)
        return quantize.output(_in_integers(layer, quantize, x))
    x = quantize.island_input(x)
    with quantize.island():
        # Half of it: where the mean has the range of the input, the
        # converter computes it in integers.
        half = 0.5 * tf.cast(x, tf.float32)
        mean = tf.reduce_mean(half, -1, keepdims=True)
        centered = half - mean
        square = tf.reduce_mean(centered * centered, -1, keepdims=True)
        y = centered * tf.math.rsqrt(square + 0.25 * layer.epsilon)
        if layer.gamma is not None:
            y *= tf.cast(layer.gamma, y.dtype)
        if layer.beta is not None:
            y += tf.cast(layer.beta, y.dtype)
    return quantize.output(tf.cast(y, x.dtype))


def _in_integers(layer, quantize, x):
    """Step by step, each one an integer kernel."""
    mean = quantize("mean", tf.reduce_mean(x, -1, keepdims=True))
    centered = quantize("centered", x - mean)
    square = quantize("square", centered * centered)
    variance = tf.reduce_mean(square, -1, keepdims=True)
    variance = quantize("variance", variance)
    # A variance below a step is 0 in integers, whose root has no inverse.
    step = tf.cast(quantize.step("variance", variance), x.dtype)
    variance = quantize("positive", variance + tf.maximum(step, layer.epsilon))
    inverse = quantize("inverse", tf.math.rsqrt(variance))
    y = centered * inverse
    if layer.gamma is None and layer.beta is None:
        return y
    y = quantize("normalized", y)
    if isinstance(quantize.mode, modes.Export):
        # A product with ones or a sum with zeros would vanish, and leave two
        # ranges in a row, which nearly equal ones must not be.
        return _by_channel(y, *_scale_and_shift(layer, x.shape[-1]))
    if layer.gamma is not None:
        y = y * tf.cast(layer.gamma, y.dtype)
    if layer.beta is not None:
        y = y + tf.cast(layer.beta, y.dtype)
    return y


def _scale_and_shift(layer, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Of a layer normalization: values, while a graph is traced, too."""
    with tf.init_scope():
        return tuple(
            np.full(channels, default, np.float32)
            if weight is None
            else np.asarray(weight)
            for weight, default in ((layer.gamma, 1.0), (layer.beta, 0.0))
        )


def _plain(layer) -> str:
    if layer.rms_scaling or layer.axis not in (-1, [-1]):
        return "its axes or its scaling"
    return ""


register_layer(
    keras.layers.LayerNormalization,
    LayerSpec(_layer_normalization, obstacle=_plain),
)
