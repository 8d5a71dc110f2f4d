"""The compiled loops against the same in plain TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig.training import kernels

ROWS, WIDTH = 6, 10
SEED = tf.constant([1234, 5], "int64")


def numbers(*shape, seed=0):
    return tf.constant(
        np.random.default_rng(seed).normal(size=shape), "float32"
    )


def vjp(function, *inputs):
    """What a function gives, and the gradients of it times random numbers."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = function(*inputs)
        total = tf.reduce_sum(tf.cast(y, "float32") * numbers(*y.shape, seed=9))
    return y, *tape.gradient(total, inputs)


def check_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def factors(shape, rate, seed=SEED):
    return tf.function(kernels.keep_factors, jit_compile=True)(
        shape, rate, seed
    )


PLAIN = {
    "gelu": lambda x: tf.nn.gelu(x, approximate=False),
    "gelu_approximate": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
    "linear": tf.identity,
}


@pytest.mark.parametrize("name", kernels.ACTIVATIONS)
def test_activations(name):
    inputs = 3 * numbers(ROWS, WIDTH), numbers(WIDTH, seed=1)
    check_equal(
        vjp(lambda x, b: kernels.bias_activation(x, b, name), *inputs),
        vjp(lambda x, b: PLAIN[name](x + b), *inputs),
    )


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_residual_norm(rate):
    inputs = (
        numbers(ROWS, WIDTH),
        numbers(WIDTH, seed=1),
        numbers(ROWS, WIDTH, seed=2),
        numbers(WIDTH, seed=3),
        numbers(WIDTH, seed=4),
    )
    kept = factors((ROWS, WIDTH), rate)

    def plain(product, bias, residual, gamma, beta):
        x = (product + bias) * kept + residual
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-3) * gamma + beta

    check_equal(
        vjp(lambda *x: kernels.residual_norm(*x, 1e-3, rate, SEED), *inputs),
        vjp(plain, *inputs),
    )


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("steps", [None, 1, 5])
def test_attention_weights(rate, steps):
    scores = numbers(2, 3, 5, 5)
    mask = None
    if steps:
        mask = np.random.default_rng(3).random((2, 1, steps, 5)) < 0.6
        mask[..., 0] = True
    kept = factors(scores.shape, rate)

    def plain(scores):
        hidden = 0.0 if mask is None else tf.where(mask, 0.0, -1e9)
        return tf.nn.softmax(scores + hidden) * kept

    check_equal(
        vjp(
            lambda x: kernels.attention_weights(x, mask, True, rate, SEED),
            scores,
        ),
        vjp(plain, scores),
    )


@pytest.mark.parametrize("has_onednn", [True, False])
def test_attention_in_bfloat16_is_summed_in_float32(has_onednn, monkeypatch):
    """Without oneDNN, as on other processors, TensorFlow sums in bfloat16."""
    monkeypatch.setattr(kernels, "sums_in_float32", lambda: has_onednn)
    scores = tf.cast(3 * numbers(1, 2, 4, 500), "bfloat16")
    weights = kernels.attention_weights(scores, None, True, 0.0, SEED)
    assert weights.dtype == tf.bfloat16
    exact = tf.nn.softmax(tf.cast(scores, "float64")).numpy()
    np.testing.assert_allclose(tf.cast(weights, "float64"), exact, rtol=0.005)


def evenly(scores, mask):
    weights = keras.layers.Softmax()(scores, mask)
    return np.where(mask.any(-1, keepdims=True), weights, 0.25)


@pytest.mark.parametrize(
    "is_strict, expected", [(True, keras.layers.Softmax()), (False, evenly)]
)
def test_a_row_without_anywhere_to_look(is_strict, expected):
    """As in Keras's Softmax, or as in its `dot_product_attention`."""
    mask = np.array([[[[False] * 4, [True] * 4, [True] * 4, [False] * 4]]])
    scores = numbers(1, 1, 4, 4)
    weights, gradient = vjp(
        lambda x: kernels.attention_weights(x, mask, is_strict, 0.0, SEED),
        scores,
    )
    np.testing.assert_allclose(weights, expected(scores, mask), rtol=1e-6)
    assert np.isfinite(gradient).all()
    assert not gradient[0, 0, 0].numpy().any()


def test_products_of_bfloat16_are_summed_in_float32():
    product = tf.cast(numbers(4096, 3), "bfloat16")
    y, to_product, to_bias = vjp(
        lambda x, b: kernels.bias_activation(x, b, "relu"),
        product,
        tf.zeros(3),
    )
    assert (y.dtype, to_product.dtype, to_bias.dtype) == (
        tf.bfloat16,
        tf.bfloat16,
        tf.float32,
    )
    weights = np.where(product > 0, numbers(4096, 3, seed=9), 0)
    # The upstream gradient itself is rounded to bfloat16.
    np.testing.assert_allclose(to_bias, weights.sum(0), rtol=0.02, atol=0.1)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_share_of_what_is_dropped(rate):
    kept = factors((1000, 1000), rate).numpy()
    assert set(np.unique(kept)) == {0.0, np.float32(1 / (1 - rate))}
    deviation = np.sqrt(rate * (1 - rate) / kept.size)
    assert abs((kept == 0).mean() - rate) < 4 * deviation
    # Of each row and each column likewise.
    for axis in (0, 1):
        shares = (kept == 0).mean(axis)
        spread = shares.std() / np.sqrt(rate * (1 - rate) / 1000)
        assert 0.9 < spread < 1.1


def test_places_are_independent():
    dropped = factors((1 << 20,), 0.5).numpy() == 0
    for lag in (1, 2, 3, 64, 128, 384, 1536, 4096):
        same = (dropped[lag:] == dropped[:-lag]).mean()
        assert abs(same - 0.5) < 4 * 0.5 / np.sqrt(len(dropped) - lag)
    # Runs of eight places: 256 patterns, equally often.
    patterns = np.bincount(np.packbits(dropped), minlength=256)
    expected = patterns.sum() / 256
    statistic = ((patterns - expected) ** 2 / expected).sum()
    assert abs(statistic - 255) < 4 * np.sqrt(2 * 255)


def test_seeds_are_independent():
    """As Keras counts: the same first number, the next second one."""
    masks = np.stack(
        [
            factors((1 << 16,), 0.5, tf.constant(seed, "int64")).numpy() == 0
            for seed in ((7, 0), (7, 1), (7, 2), (8, 0), (8, 1), (0, 0), (0, 1))
        ]
    )
    signs = 2.0 * masks - 1
    for one, other in zip(*np.triu_indices(len(masks), 1)):
        # At no distance does one repeat the other.
        spectrum = np.fft.rfft(signs[one]) * np.fft.rfft(signs[other]).conj()
        shifted = np.fft.irfft(spectrum) / masks.shape[1]
        assert np.abs(shifted).max() < 6 / np.sqrt(masks.shape[1])


def test_the_same_seed_drops_the_same():
    np.testing.assert_array_equal(factors((50, 7), 0.4), factors((50, 7), 0.4))
    assert (
        (factors((50, 7), 0.4) != factors((50, 7), 0.4, SEED + 1)).numpy().any()
    )
