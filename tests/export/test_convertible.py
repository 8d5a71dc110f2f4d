"""Layers in forms that the converter knows in integers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import models
from kbig.export.convertible import convertible
from kbig.export.litert import write_litert
from tests.contracts import as_trained


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


def lstm():
    """Of these weights the converter once left a split in float."""
    keras.utils.set_random_seed(7)
    model = models.rnn((6, 3), 3, "lstm", (32,), bidirectional=True)
    x = np.random.default_rng(0).normal(size=(32, 6, 3)).astype("float32")
    return as_trained(model), x


def test_a_lstm_is_the_same_function_in_slices():
    model, x = lstm()
    expected = model(x)
    before = operations(model, x)
    with convertible(model):
        np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-5)
        assert not operations(model, x) & {"Split", "SplitV", "While"}
    assert operations(model, x) == before


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"dropout": 0.5}, 1e-6),
        ({"recurrent_dropout": 0.5}, 1e-6),
        ({"use_bias": False, "activation": "relu"}, 1e-6),
        ({"implementation": 1, "go_backwards": True}, 1e-6),
        # Numbers of 11 bits, and of 8.
        ({"dtype": "mixed_float16"}, 2e-3),
        ({"dtype": "mixed_bfloat16"}, 2e-2),
    ],
    ids=str,
)
def test_slices_are_what_any_cell_computes(options, allowed):
    inputs = keras.Input((5, 3))
    outputs = keras.layers.LSTM(8, seed=0, **options)(inputs)
    model = as_trained(keras.Model(inputs, outputs))
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    expected = model(x)
    with convertible(model):
        found = model(x)
        assert not operations(model, x) & {"Split", "SplitV"}
    assert found.dtype == expected.dtype
    difference = np.subtract(found, expected, dtype="float32")
    assert np.abs(difference).max() <= allowed


def test_a_lstm_that_always_drops_out_goes_on_doing_so():
    inputs = keras.Input((5, 3))
    layer = keras.layers.LSTM(8, dropout=0.5)
    model = keras.Model(inputs, layer(inputs, training=True))
    x = np.ones((1, 5, 3), "float32")
    with convertible(model):
        assert not np.array_equal(model(x), model(x))


def test_a_cell_with_a_call_of_its_own_is_left_alone():
    class Doubled(keras.layers.LSTMCell):
        def call(self, inputs, states, training=False):
            return super().call(2 * inputs, states, training)

    inputs = keras.Input((5, 3))
    model = keras.Model(inputs, keras.layers.RNN(Doubled(4))(inputs))
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    expected = model(x)
    with convertible(model):
        np.testing.assert_allclose(model(x), expected, atol=1e-6)
        assert "call" not in vars(model.layers[1].cell)


def test_all_of_a_lstm_is_in_integers_whatever_its_weights(tmp_path):
    model, x = lstm()
    samples = {model.inputs[0].name: x}
    # It raises when some of it is not.
    write_litert(model, tmp_path / "m.tflite", "int8", samples, samples)
