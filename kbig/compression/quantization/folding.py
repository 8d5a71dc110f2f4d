"""Scales of channels, multiplied into the product that they follow.

They are those of a batch normalization, or of a range that is of channels.
"""

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
    """Multiplies a kernel by the scales of what is folded into its layer.

    Each channel has a grid of its own, so a kernel on its grid stays on one.

    Args:
        layer: quantized.
        name: of the weight.
        value: of it.
    """
    if name != layer.quantization_spec.normalized:
        return value
    scale, _ = _folded(layer)
    if scale is None:
        return value
    channels = layer.quantization_spec.weights[name](layer)
    kept = {axis % value.ndim for axis in channels}
    shape = [n if a in kept else 1 for a, n in enumerate(value.shape)]
    return value * scale.reshape(shape)


def bias(layer, value):
    """Joins a bias with what is folded into its layer.

    Args:
        layer: quantized.
        value: its bias, or None.
    """
    scale, shift = _folded(layer)
    if scale is None or (value is None and shift is None):
        return value
    with tf.init_scope():
        own = 0 if value is None else np.asarray(value)
    return scale * own + (0 if shift is None else shift)


def _folded(layer) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What each channel is multiplied by, and what is added to it."""
    normalization = layer.quantization.normalization
    if normalization is not None:
        return scale_and_shift(normalization)
    largest = largest_of_channels(layer)
    return (None if largest is None else 1 / largest), None


def largest_of_channels(layer) -> np.ndarray | None:
    """The magnitudes that the grids of a layer's channels end in.

    Args:
        layer: quantized.

    Returns:
        `(channels,)`, None where the channels of its output share a grid.
    """
    output = layer.quantization.ranges.get("output")
    if output is None or not output.spec.channels:
        return None
    with tf.init_scope():
        return np.asarray(output.bounds()[1])
