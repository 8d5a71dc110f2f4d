"""Encoder layers that are counted along one chain, or not at all."""

import keras
import keras_hub
import pytest
from keras import layers

from kbig import compression
from tests.contracts import check_usage_error


def encoder(name):
    return keras_hub.layers.TransformerEncoder(6, 2, name=name)


def towers(x):
    left, right = x, x
    for number in range(2):
        left = encoder(f"left_{number}")(left)
        right = encoder(f"right_{number}")(right)
    return layers.Concatenate()([left, right])


def fork(x):
    first = encoder("first")(x)
    return encoder("second")(first) + encoder("third")(first)


def nested_towers(x):
    inner = keras.Input(x.shape[1:])
    return keras.Model(inner, towers(inner), name="inner")(x)


def chain(x):
    """One encoder alone, two in a model, and a way around them."""
    first = encoder("layer_0")(x)
    inner = keras.Input(x.shape[1:])
    two = encoder("layer_2")(encoder("layer_1")(inner))
    y = keras.Model(inner, two, name="inner")(first)
    return encoder("layer_3")(y + first)


def model_of(build):
    x = keras.Input((3, 4))
    return keras.Model(x, layers.Dense(2)(build(x)))


@pytest.mark.parametrize("build", [towers, fork, nested_towers])
def test_encoders_beside_each_other_are_not_counted(build):
    check_usage_error(
        lambda: compression.plan_shrink(model_of(build), encoder_layers=2),
        "encoder_layers=2",
        "does not read",
    )


def test_a_chain_may_go_through_models_and_past_them():
    plan = compression.plan_shrink(model_of(chain), encoder_layers=2)
    assert plan.encoder_layers == ("layer_0", "layer_3")
    names = [x.name for x in plan.apply()._flatten_layers()]
    assert "layer_1" in names and "layer_2" not in names
