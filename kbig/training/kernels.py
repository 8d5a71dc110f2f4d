"""What stands between the matrix products of a Transformer, a loop each.

A chain of elementwise operations costs TensorFlow a pass over memory for
every one of them, forward and backward. Here XLA compiles each chain to one
loop, with a gradient of its own that computes again what is cheaper to compute
than to keep: what was dropped follows from a hash of the place and a seed.

All compute in float32 and give the dtype of what a matrix product gave. The
softmax of attention is oneDNN's, between two such loops.
"""

import functools
import math

import tensorflow as tf

from kbig.training.devices import sums_in_float32

compiled = functools.partial(tf.function, jit_compile=True, autograph=False)


def _gelu(x):
    return 0.5 * x * (1 + tf.math.erf(x * math.sqrt(0.5)))


def _gelu_slope(x):
    density = tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + tf.math.erf(x * math.sqrt(0.5))) + x * density


_TANH_SCALE, _CUBIC = math.sqrt(2 / math.pi), 0.044715


def _gelu_approximate(x):
    return 0.5 * x * (1 + tf.tanh(_TANH_SCALE * (x + _CUBIC * x * x * x)))


def _gelu_approximate_slope(x):
    tanh = tf.tanh(_TANH_SCALE * (x + _CUBIC * x * x * x))
    inner = _TANH_SCALE * (1 + 3 * _CUBIC * x * x)
    return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * inner


# By the name of Keras's function: what it computes, and its derivative.
ACTIVATIONS = {
    "gelu": (_gelu, _gelu_slope),
    "gelu_approximate": (_gelu_approximate, _gelu_approximate_slope),
    "relu": (tf.nn.relu, lambda x: tf.cast(x > 0, x.dtype)),
    "linear": (tf.identity, tf.ones_like),
}


def bias_activation(product, bias, activation: str) -> tf.Tensor:
    """Adds a bias and activates.

    Args:
        product: `(rows, width)`, a matrix product.
        bias: `(width,)`, float32.
        activation: a key of `ACTIVATIONS`.

    Returns:
        `(rows, width)` in the dtype of `product`.

    Example:
    ```python
    bias_activation(tf.constant([[-1.0, 1.0]]), tf.zeros(2), "relu")  # [[0, 1]]
    ```
    """

    @tf.custom_gradient
    def activated(product, bias):
        def gradient(upstream):
            return _activation_gradient(product, bias, upstream, activation)

        return _activation(product, bias, activation), gradient

    return activated(product, bias)


def residual_norm(
    product, bias, residual, gamma, beta, epsilon: float, rate, seed
) -> tf.Tensor:
    """Adds a bias, drops, adds the residual and normalizes each row.

    Args:
        product: `(rows, width)`, a matrix product.
        bias: `(width,)`, float32.
        residual: `(rows, width)` in the dtype of `product`.
        gamma: `(width,)`, float32, as of a layer normalization.
        beta: likewise.
        epsilon: likewise.
        rate: share to drop, a number.
        seed: `(2,)` integers, of what is dropped.

    Returns:
        `(rows, width)` in the dtype of `product`.

    Example:
    ```python
    x, zeros, ones = tf.ones((1, 2)), tf.zeros(2), tf.ones(2)
    residual_norm(x, zeros, x, ones, zeros, 1e-12, 0.0, [0, 0])  # zeros
    ```
    """

    @tf.custom_gradient
    def normalized(product, bias, residual, gamma, beta):
        inputs = product, bias, residual, gamma
        y, *moments = _norm(*inputs, beta, seed, rate, epsilon)

        def gradient(upstream):
            return _norm_gradient(*inputs, *moments, upstream, seed, rate)

        return y, gradient

    return normalized(product, bias, residual, gamma, beta)


def attention_weights(scores, mask, is_strict: bool, rate, seed) -> tf.Tensor:
    """Masks, normalizes and drops the scores of attention.

    Args:
        scores: `(batch, heads, steps, steps)`.
        mask: bool `(batch, 1, steps or 1, steps)`, false where not to look;
            None looks everywhere.
        is_strict: whether a row that is all false weighs nothing; otherwise
            it weighs all the same.
        rate: share to drop, a number.
        seed: `(2,)` integers, of what is dropped.

    Returns:
        A tensor of the shape and dtype of `scores`.

    Example:
    ```python
    scores = tf.zeros((1, 1, 1, 2))
    attention_weights(scores, None, True, 0.0, [0, 0])  # halves
    ```
    """
    if mask is None:
        mask = tf.ones((1, 1, 1, 1), "bool")

    @tf.custom_gradient
    def weighed(scores):
        is_exact = scores.dtype == tf.bfloat16 and sums_in_float32()
        dtype = scores.dtype if is_exact else tf.float32
        # oneDNN's passes over a row find it in the cache, XLA's do not.
        weights = tf.nn.softmax(_masked(scores, mask, dtype))
        weights = tf.cast(weights, scores.dtype)

        def gradient(upstream):
            return _softmax_gradient(weights, mask, upstream, seed, rate)

        def given():
            return _given(weights, mask, seed, rate, is_strict)

        if rate:
            return given(), gradient
        if not is_strict:
            return weights, gradient
        all_look = tf.reduce_all(tf.reduce_any(mask, -1))
        return tf.cond(all_look, lambda: weights, given), gradient

    return weighed(scores)


def keep_factors(shape, rate: float, seed) -> tf.Tensor:
    """What dropout multiplies with: 0, or what keeps the mean.

    Murmur3's finalizer of each place, multiplied and shifted by what the same
    finalizer makes of the seed. Compile it; not all of it runs otherwise.

    Args:
        shape: of the result.
        rate: share of zeros.
        seed: `(2,)` integers.

    Returns:
        float32.

    Example:
    ```python
    tf.function(keep_factors, jit_compile=True)((2, 3), 0.5, [1, 0])  # 0 or 2
    ```

    Reference:
     - [MurmurHash3](https://github.com/aappleby/smhasher/wiki/MurmurHash3)
    """
    first, second = tf.unstack(tf.cast(seed, tf.uint32))
    golden = tf.constant(0x9E3779B9, tf.uint32)
    offset = _mixed(first ^ _mixed(second + golden))
    # Odd, so that no two places meet.
    factor = _mixed(offset + second) | tf.constant(1, tf.uint32)
    places = tf.range(tf.reduce_prod(shape))
    places = tf.cast(tf.reshape(places, shape), tf.uint32)
    # 24 bits are as fine as float32 tells shares apart.
    bits = _shifted(_mixed((places ^ offset) * factor), 8)
    dropped = tf.constant(round(rate * 2**24), tf.uint32)
    return tf.where(bits < dropped, 0.0, 1.0 / (1.0 - rate))


def _mixed(x):
    x = (x ^ _shifted(x, 16)) * tf.constant(0x85EBCA6B, tf.uint32)
    x = (x ^ _shifted(x, 13)) * tf.constant(0xC2B2AE35, tf.uint32)
    return x ^ _shifted(x, 16)


def _shifted(x, bits: int):
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint32))


def _dropped(x, rate: float, seed):
    return x * keep_factors(tf.shape(x), rate, seed) if rate else x


@compiled
def _activation(product, bias, activation):
    function, _ = ACTIVATIONS[activation]
    y = function(tf.cast(product, tf.float32) + bias)
    return tf.cast(y, product.dtype)


@compiled
def _activation_gradient(product, bias, upstream, activation):
    _, slope = ACTIVATIONS[activation]
    slopes = slope(tf.cast(product, tf.float32) + bias)
    gradient = slopes * tf.cast(upstream, tf.float32)
    return tf.cast(gradient, product.dtype), tf.reduce_sum(gradient, 0)


def _summed(product, bias, residual, seed, rate):
    x = _dropped(tf.cast(product, tf.float32) + bias, rate, seed)
    return x + tf.cast(residual, tf.float32)


@compiled
def _norm(product, bias, residual, gamma, beta, seed, rate, epsilon):
    x = _summed(product, bias, residual, seed, rate)
    mean = tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(x - mean), -1, keepdims=True)
    inverse = tf.math.rsqrt(variance + epsilon)
    y = (x - mean) * inverse * gamma + beta
    return tf.cast(y, product.dtype), mean, inverse


@compiled
def _norm_gradient(
    product, bias, residual, gamma, mean, inverse, upstream, seed, rate
):
    x = _summed(product, bias, residual, seed, rate)
    normal = (x - mean) * inverse
    upstream = tf.cast(upstream, tf.float32)
    scaled = upstream * gamma
    along = tf.reduce_mean(scaled * normal, -1, keepdims=True)
    level = tf.reduce_mean(scaled, -1, keepdims=True)
    to_sum = inverse * (scaled - level - normal * along)
    to_product = _dropped(to_sum, rate, seed)
    return (
        tf.cast(to_product, product.dtype),
        tf.reduce_sum(to_product, 0),
        tf.cast(to_sum, residual.dtype),
        tf.reduce_sum(upstream * normal, 0),
        tf.reduce_sum(upstream, 0),
    )


@compiled
def _masked(scores, mask, dtype):
    exact = tf.cast(scores, tf.float32)
    return tf.cast(tf.where(mask, exact, exact - 1e9), dtype)


@compiled
def _given(weights, mask, seed, rate, is_strict):
    given = tf.cast(weights, tf.float32)
    # A row that is all false is weighed evenly.
    given = tf.where(mask, given, 0.0) if is_strict else given
    return tf.cast(_dropped(given, rate, seed), weights.dtype)


@compiled
def _softmax_gradient(weights, mask, upstream, seed, rate):
    # A row that is all false has no gradient.
    exact = tf.where(mask, tf.cast(weights, tf.float32), 0.0)
    to_weights = _dropped(tf.cast(upstream, tf.float32), rate, seed)
    along = tf.reduce_sum(exact * to_weights, -1, keepdims=True)
    return tf.cast(exact * (to_weights - along), weights.dtype)
