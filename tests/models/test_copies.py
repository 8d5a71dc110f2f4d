import keras
import numpy as np
import pytest

import kbig
from kbig.models.copies import rebuilt

X = np.random.default_rng(0).normal(3, 5, (20, 8)).astype("float32")


def adapted_model():
    """It computes with what it made of its weights, not with them."""
    normalization = keras.layers.Normalization()
    normalization.adapt(X)
    layers = [normalization, keras.layers.Dense(16, "relu")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.add(keras.layers.Dense(8))
    return model


@pytest.mark.parametrize(
    "copy",
    [
        rebuilt,
        lambda model: kbig.compression.shrink(model, 1.0),
        lambda model: kbig.compression.factorize(model, rank=8),
    ],
    ids=["rebuilt", "shrink", "factorize"],
)
def test_adapted_layers_keep_what_they_learnt(copy):
    model = adapted_model()
    expected = model.predict(X, verbose=0)
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(
        copy(model).predict(X, verbose=0), expected, rtol=1e-4, atol=1e-4
    )


def test_the_float32_twin_of_one_does():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = adapted_model()
    finally:
        keras.config.set_dtype_policy(previous)
    twin = kbig.export.float32_twin(mixed)
    plain = adapted_model()
    plain.set_weights(mixed.get_weights())
    np.testing.assert_allclose(
        twin.predict(X, verbose=0), plain.predict(X, verbose=0), rtol=1e-4
    )
