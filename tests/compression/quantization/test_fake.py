"""Rounding against an oracle, in value and gradient."""

import numpy as np
import pytest
import tensorflow as tf

from kbig.compression.quantization import fake


def test_values_and_gradient_of_a_tensor():
    x = tf.Variable([-2.0, -0.004, 0.501, 0.9, 3.0])
    with tf.GradientTape() as tape:
        y = fake.fake_quantize(x, -1.0, 1.55)
    np.testing.assert_allclose(y, [-1.0, 0.0, 0.5, 0.9, 1.55], atol=1e-6)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 1, 0])


@pytest.mark.parametrize("channels", [(), (0,), (-1,), (0, 2)])
@pytest.mark.parametrize("bits", [4, 8])
def test_weights_are_the_nearest_on_the_grid_of_their_channel(channels, bits):
    weight = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    weight[1] *= 100
    got = np.asarray(fake.fake_quantize_weight(weight, channels, bits))
    axes = tuple(a for a in range(3) if a not in {c % 3 for c in channels})
    steps = 2 ** (bits - 1) - 1
    scale = np.abs(weight.astype("float64")).max(axes, keepdims=True) / steps
    expected = np.round(weight / scale) * scale
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    levels = np.round(got / scale)
    assert np.abs(levels).max() == steps
    np.testing.assert_allclose(got / scale, levels, atol=1e-3)


def test_every_channel_of_a_tensor_has_its_own_grid():
    x = np.random.default_rng(0).normal(size=(50, 4)).astype("float32")
    x *= [1, 100, 0.01, 1]
    largest = np.abs(x).max(0) * 0.9
    x = tf.Variable(x)
    with tf.GradientTape() as tape:
        got = fake.fake_quantize_channels(x, largest)
    expected = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        x, -largest * 128 / 127, largest
    )
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    inside = (x <= largest) & (x >= -largest * 128 / 127)
    np.testing.assert_array_equal(
        tape.gradient(got, x), tf.cast(inside, tf.float32)
    )


def test_one_channel_is_what_tensorflow_gives():
    weight = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    largest = np.abs(weight).max(0)
    expected = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        weight, -largest, largest, num_bits=8, narrow_range=True
    )
    got = fake.fake_quantize_weight(weight, (1,))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_a_convolution_has_the_grid_that_tfmot_asks_for():
    weight = np.random.default_rng(1).normal(size=(3, 3, 2, 4))
    weight = weight.astype("float32")
    largest = np.abs(weight).max((0, 1, 2))
    # What Default8BitConvWeightsQuantizer calls: symmetric, a range a channel.
    expected = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        weight, -largest, largest, num_bits=8, narrow_range=True
    )
    got = fake.fake_quantize_weight(weight, (-1,))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_gradient_passes_weights_unchanged():
    weight = tf.Variable([[0.1, -3.0], [2.0, 0.7]])
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(fake.fake_quantize_weight(weight, (1,)) * 5.0)
    np.testing.assert_array_equal(tape.gradient(y, weight), np.full((2, 2), 5))


def test_zeros_stay_zeros():
    weight = tf.zeros((3, 2))
    np.testing.assert_array_equal(fake.fake_quantize_weight(weight, (1,)), 0)
    sparse = tf.constant([[0.0, 5.0], [0.3, 0.0]])
    got = np.asarray(fake.fake_quantize_weight(sparse))
    assert got[0, 0] == got[1, 1] == 0
