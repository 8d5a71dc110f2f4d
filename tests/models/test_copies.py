import keras
import numpy as np
import pytest
import tensorflow as tf

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


copies = pytest.mark.parametrize(
    "copy",
    [
        rebuilt,
        lambda model: kbig.compression.shrink(model, 1.0),
        lambda model: kbig.compression.factorize(model, rank=8),
    ],
    ids=["rebuilt", "shrink", "factorize"],
)


@copies
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


def lookup_model(lookup, rows):
    """What the first layer has learnt is not among its weights."""
    lookup.adapt(rows)
    return keras.Sequential(
        [
            keras.Input((1,), dtype=rows.dtype.name),
            lookup,
            keras.layers.Dense(16),
            keras.layers.Dense(16),
        ]
    )


@copies
@pytest.mark.parametrize("kind", ["text", "numbers"])
def test_vocabularies_are_not_lost(copy, kind):
    options = {"output_mode": "multi_hot", "pad_to_max_tokens": True}
    if kind == "text":
        rows = tf.constant([["a fox"], ["a dog"], ["the dog barks"]])
        lookup = keras.layers.TextVectorization(8, **options)
    else:
        rows = tf.constant([[7], [9], [9]], "int64")
        lookup = keras.layers.IntegerLookup(max_tokens=8, **options)
    model = lookup_model(lookup, rows)
    expected = model(rows).numpy()
    assert np.ptp(expected, axis=0).max() > 0
    np.testing.assert_allclose(copy(model)(rows), expected, atol=1e-5)


@copies
def test_what_a_model_was_compiled_with_is_not_asked_for(copy):
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1e-3

    inner = adapted_model()
    inputs = keras.Input((8,))
    model = keras.Model(inputs, keras.layers.Dense(8)(inner(inputs)))
    for each in (inner, model):
        each.compile(keras.optimizers.SGD(Own()), "mse")
    expected = model.predict(X, verbose=0)
    twin = copy(model)
    assert model.compiled and inner.compiled and not twin.compiled
    np.testing.assert_allclose(
        twin.predict(X, verbose=0), expected, rtol=1e-3, atol=1e-3
    )
