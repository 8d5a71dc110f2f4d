"""Layer normalization as the converter knows it in integers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig.export.convertible import convertible


def operations(model, x) -> set[str]:
    function = tf.function(model).get_concrete_function(tf.constant(x))
    return {x.type for x in function.graph.get_operations()}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": False},
        {"scale": False},
        {"scale": False, "center": False},
    ],
)
def test_it_is_the_same_function_without_negation(options):
    inputs = keras.Input((5, 8))
    layer = keras.layers.LayerNormalization(**options)
    model = keras.Model(inputs, layer(inputs))
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    x = np.random.default_rng(0).normal(3, 2, (4, 5, 8)).astype("float32")
    expected = model(x)
    before = operations(model, x)
    with convertible(model):
        np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
        assert not operations(model, x) & {"Neg", "SquaredDifference"}
    assert operations(model, x) == before
    assert "call" not in vars(layer)


class Doubled(keras.layers.LayerNormalization):
    def call(self, inputs):
        return 2 * super().call(inputs)


def test_other_normalizations_are_left_alone():
    inputs = keras.Input((5, 8))
    others = (
        keras.layers.LayerNormalization(axis=(1, 2)),
        keras.layers.RMSNormalization(),
        Doubled(),
    )
    model = keras.Sequential([inputs, *others])
    x = np.random.default_rng(0).normal(size=(4, 5, 8)).astype("float32")
    expected = model(x)
    with convertible(model):
        np.testing.assert_array_equal(model(x), expected)


def test_what_fails_within_leaves_no_trace():
    layer = keras.layers.LayerNormalization()
    model = keras.Sequential([keras.Input((8,)), layer])
    with pytest.raises(RuntimeError), convertible(model):
        raise RuntimeError
    assert "call" not in vars(layer)
