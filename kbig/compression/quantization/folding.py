"""Batch normalization as the scale and bias of the product before it."""

import numpy as np
import tensorflow as tf


def scale_and_shift(normalization) -> tuple[np.ndarray, np.ndarray]:
    """What inference multiplies each channel by, and what it adds.

    Args:
        normalization: a `keras.layers.BatchNormalization`.

    Returns:
        Both float32, `(channels,)`.
    """
    with tf.init_scope():  # Values, while a graph is traced, too.
        variance = np.asarray(normalization.moving_variance)
        scale = 1 / np.sqrt(variance + np.float32(normalization.epsilon))
        if normalization.scale:
            scale *= np.asarray(normalization.gamma)
        shift = -np.asarray(normalization.moving_mean) * scale
        if normalization.center:
            shift += np.asarray(normalization.beta)
    return scale, shift


def weight(layer, name: str, value: np.ndarray) -> np.ndarray:
    """Multiplies a kernel by the scale of what is folded into its layer.

    Each channel has a grid of its own, so a kernel on its grid stays on one.

    Args:
        layer: quantized.
        name: of the weight.
        value: of it.
    """
    normalization = layer.quantization.normalization
    if normalization is None or name != layer.quantization_spec.normalized:
        return value
    scale, _ = scale_and_shift(normalization)
    channels = layer.quantization_spec.weights[name](layer)
    kept = {axis % value.ndim for axis in channels}
    shape = [n if a in kept else 1 for a, n in enumerate(value.shape)]
    return value * scale.reshape(shape)


def bias(layer, value):
    """Joins a bias with the shift of what is folded into its layer.

    Args:
        layer: quantized.
        value: its bias, or None.
    """
    normalization = layer.quantization.normalization
    if normalization is None:
        return value
    scale, shift = scale_and_shift(normalization)
    with tf.init_scope():
        own = 0 if value is None else np.asarray(value)
    return scale * own + shift
