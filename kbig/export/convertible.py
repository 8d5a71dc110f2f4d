"""Forms of layers of which the converter makes integers."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from kbig.models.layers import calling
from kbig.models.layers import unrolled


@contextlib.contextmanager
def convertible(model: keras.Model) -> Iterator[None]:
    """Lets a float model be traced so that all of it can be in integers.

    Loops are traced step by step, and layer normalizations without the
    negation of Keras's form, of which the converter has no integer kernel.

    Args:
        model: built, in float32; it is as before afterwards.

    Returns:
        A context manager.

    Example:
    ```python
    with convertible(model):
        ...  # trace it
    ```
    """
    normalizations = [
        x
        for x in model._flatten_layers()
        # One with a call of its own computes something else.
        if type(x).call is keras.layers.LayerNormalization.call
        and x.axis in (-1, [-1])
        and not x.rms_scaling
    ]
    with calling(normalizations, _normalized), unrolled(model):
        yield


def _normalized(layer, inputs):
    centered = inputs - tf.reduce_mean(inputs, -1, keepdims=True)
    variance = tf.reduce_mean(centered * centered, -1, keepdims=True)
    y = centered * tf.math.rsqrt(variance + layer.epsilon)
    y = y if layer.gamma is None else y * layer.gamma
    return y if layer.beta is None else y + layer.beta
