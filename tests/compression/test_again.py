"""Layers with code of their own, in the models that compression builds."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from kbig import compression
from kbig.compression.again import built_again
from kbig.compression.again import serialized
from tests.contracts import check_usage_error

X = np.random.default_rng(0).normal(size=(3, 20)).astype("float32")
# Nothing is removed, but the model is built again.
COPIES = {
    "shrink": lambda model: compression.shrink(model, keep=1.0),
    "factorize": lambda model: compression.factorize(
        model, energy=1.0, layers="last"
    ),
}


def sequential(*inner):
    return keras.Sequential(
        [keras.Input((20,)), *inner, layers.Dense(20, name="last")]
    )


def check_copies(model, copy):
    expected = np.array(model(X))
    np.testing.assert_allclose(COPIES[copy](model)(X), expected, atol=1e-5)


def scales():
    """Two classes of one name."""

    def scale(factor):
        class Scale(layers.Layer):
            def call(self, inputs):
                return inputs * factor

        return Scale

    return scale(2.0)(), scale(10.0)()


def by_a_local_function():
    def curved(x):
        return ops.tanh(x)

    return [layers.Dense(20, activation=curved, name="curved")]


OWN = {
    "lambda": lambda: [layers.Lambda(lambda x: ops.tanh(x))],
    "lambda-shape": lambda: [
        layers.Lambda(lambda x: ops.tanh(x), output_shape=lambda shape: shape)
    ],
    "classes": scales,
    "function": by_a_local_function,
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("case", OWN)
def test_a_layer_keeps_its_own_code(case, copy):
    check_copies(sequential(*OWN[case]()), copy)


@pytest.mark.parametrize("copy", COPIES)
def test_in_a_model_in_a_model(copy):
    first, second = scales()
    inner = keras.Sequential([keras.Input((20,)), second], name="inner")
    check_copies(sequential(first, inner), copy)


def test_what_is_replaced_keeps_its_activation_once():
    (curved,) = by_a_local_function()
    model = sequential(curved)
    left, right = np.ones((20, 1)), np.linspace(-1, 1, 20)[None]
    for name in ("curved", "last"):
        model.get_layer(name).kernel.assign(left @ right)
    smaller = compression.factorize(model, rank=1)
    assert smaller.get_layer("curved_in").activation is keras.activations.linear
    assert smaller.get_layer("curved").activation is curved.activation
    np.testing.assert_allclose(smaller(X), model(X), atol=1e-5)


@pytest.mark.parametrize("copy", COPIES)
def test_an_activation_that_keras_cannot_name_is_refused(copy):
    layer = layers.Dense(20, activation=lambda x: ops.tanh(x), name="curved")
    check_usage_error(
        lambda: COPIES[copy](sequential(layer)), "curved", "functions names"
    )


def test_two_classes_of_one_name_in_one_layer_are_refused():
    first, second = scales()
    holder = layers.TimeDistributed(first)
    holder.second = second
    check_usage_error(
        lambda: built_again(holder, serialized(holder)), "are named Scale"
    )
