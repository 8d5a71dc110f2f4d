"""Rounding to a grid of integers, with a gradient: pure functions."""

import tensorflow as tf

# A range narrower than this has no grid in float32.
SMALLEST_RANGE = 1e-6
# Bounds of 8 bits around zero with 1 on the grid.
UNIT = -128 / 127, 1.0


def fake_quantize(x: tf.Tensor, low, high, bits: int = 8) -> tf.Tensor:
    """Rounds to the nearest of `2**bits` values between two bounds.

    The bounds are moved so that zero is on the grid. Gradients pass where `x`
    lies between them and are zero elsewhere.

    Args:
        x: any shape, float.
        low: at most 0.
        high: at least 0, above `low`.
        bits: of the integers, 2 to 8.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:
    ```python
    fake_quantize(tf.constant([-2.0, 0.501, 3.0]), -1.0, 1.55)
    # [-1.0, 0.5, 1.55]
    ```

    Reference:
     - [Jacob et al., 2018](https://arxiv.org/abs/1712.05877)
    """
    rounded = tf.quantization.fake_quant_with_min_max_vars(
        tf.cast(x, tf.float32), low, high, num_bits=bits
    )
    return tf.cast(rounded, x.dtype)


def fake_quantize_channels(x: tf.Tensor, largest) -> tf.Tensor:
    """Rounds to 256 values around zero, each channel to its own.

    Args:
        x: `(..., channels)`, float.
        largest: `(channels,)`, above 0: the largest value of each grid.

    Returns:
        A tensor of the shape and dtype of `x`.

    Example:
    ```python
    fake_quantize_channels(tf.constant([[0.5, 99.9]]), [127.0, 127.0])
    # [[0.0, 100.0]]
    ```
    """
    exact = tf.cast(x, tf.float32)
    return tf.cast(fake_quantize(exact / largest, *UNIT) * largest, x.dtype)


def fake_quantize_weight(
    weight: tf.Tensor, channels: tuple[int, ...] = (), bits: int = 8
) -> tf.Tensor:
    """Rounds a weight to a grid that is symmetric around zero.

    The largest magnitude is on the grid, so nothing is cut off and the
    gradient passes unchanged.

    Args:
        weight: any shape, float.
        channels: axes whose entries each have a scale of their own; none is
            one scale for all.
        bits: of the integers: from `-(2**(bits - 1) - 1)` to its opposite.

    Returns:
        A tensor of the shape and dtype of `weight`.

    Example:
    ```python
    kernel = tf.constant([[0.5, -127.0], [127.0, 3.2]])
    fake_quantize_weight(kernel, channels=(1,))  # [[0, -127], [127, 3]]
    ```
    """
    weight = tf.convert_to_tensor(weight)
    exact = tf.cast(weight, tf.float32)
    rounded = _rounded(exact, weight_scale(exact, channels, bits))
    return tf.cast(rounded, weight.dtype)


def weight_scale(
    weight: tf.Tensor, channels: tuple[int, ...], bits: int
) -> tf.Tensor:
    """The step of a weight's grid, broadcastable to the weight.

    Args:
        weight: any shape, float32.
        channels: as of `fake_quantize_weight`.
        bits: likewise.

    Returns:
        float32, of size 1 along the axes that share a step.

    Example:
    ```python
    weight_scale(tf.constant([[254.0], [-127.0]]), (0,), 8)  # [[2], [1]]
    ```
    """
    rank = weight.shape.rank
    others = [a for a in range(rank) if a not in {c % rank for c in channels}]
    largest = tf.reduce_max(tf.abs(weight), axis=others, keepdims=True)
    steps = 2 ** (bits - 1) - 1
    # All zero is on every grid.
    return tf.where(largest > 0, largest, tf.ones_like(largest)) / steps


@tf.custom_gradient
def _rounded(weight, scale):
    return tf.round(weight / scale) * scale, lambda upstream: (upstream, None)
