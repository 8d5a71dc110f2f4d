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

    Loops are traced step by step, layer normalizations without the negation
    of Keras's form, of which the converter has no integer kernel, and cells of
    LSTMs with a slice for each gate. Of a split the converter leaves all in
    float when it found no range for a part: in the first step, where there is
    nothing to forget, that gate's part goes nowhere.

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
    layers = model._flatten_layers()
    # One with a call of its own computes something else.
    cells = [x for x in layers if type(x).call is keras.layers.LSTMCell.call]
    normalizations = [
        x
        for x in layers
        if type(x).call is keras.layers.LayerNormalization.call
        and x.axis in (-1, [-1])
        and not x.rms_scaling
    ]
    with (
        calling(normalizations, _normalized),
        calling(cells, _in_slices),
        unrolled(model),
    ):
        yield


def _normalized(layer, inputs):
    centered = inputs - tf.reduce_mean(inputs, -1, keepdims=True)
    variance = tf.reduce_mean(centered * centered, -1, keepdims=True)
    y = centered * tf.math.rsqrt(variance + layer.epsilon)
    y = y if layer.gamma is None else y * layer.gamma
    return y if layer.beta is None else y + layer.beta


def _in_slices(cell, inputs, states, training=False):
    if training:
        # One that drops numbers out wherever it runs.
        return type(cell).call(cell, inputs, states, training)
    state, carry = states
    sums = tf.matmul(inputs, cell.kernel)
    sums += tf.matmul(state, cell.recurrent_kernel)
    sums = sums + cell.bias if cell.use_bias else sums
    size = cell.units
    parts = [sums[:, i : i + size] for i in range(0, 4 * size, size)]
    carry, output = cell._compute_carry_and_output_fused(parts, carry)
    state = output * cell.activation(carry)
    return state, [state, carry]
