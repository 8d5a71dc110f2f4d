"""Trained for integers for ten steps, every family is what it was."""

import keras
import numpy as np
import pytest

import kbig
from kbig.export.integers import operations
from tests.compression.quantization.int8 import check_equal
from tests.compression.quantization.tiny import FAMILIES

# Those that keep steps in float have a second life without them.
WITH_ISLANDS = ("transformer", "pre_norm", "bert")


LOOPS = ("lstm", "gru", "simple", "bidirectional", "masked")
# The others take their turn among the slow tests.
QUICK = ("mlp", "residual", "bert")


def slow_unless_quick(families):
    return [
        pytest.param(x, marks=() if x in QUICK else pytest.mark.slow)
        for x in families
    ]


def ten_steps(model, x, y):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    model.fit(x, y, batch_size=32, epochs=3, verbose=0)


def accuracy(model, x, y) -> float:
    logits = model.predict(x, batch_size=32, verbose=0)
    return float((logits.argmax(-1) == y).mean())


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("family", slow_unless_quick(FAMILIES))
def test_int8_file_computes_what_was_trained(family, tmp_path):
    model, x, y = FAMILIES[family]()
    before = accuracy(model, x, y)
    quantized = kbig.compression.quantize_aware(model, x)
    ten_steps(quantized, x, y)
    assert before > 0.6  # It was trained.
    assert accuracy(quantized, x, y) > before - 0.05
    outliers = 0.01 if family in LOOPS else 0.0
    file = check_equal(quantized, x, tmp_path, outliers=outliers)
    kinds = {x.name for x in operations(file.read_bytes()) if x.is_float}
    assert bool(kinds) == (family in (*WITH_ISLANDS, "bert_mean"))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["pre_norm", "bert"])
def test_nothing_is_left_in_float_without_islands(family, tmp_path):
    model, x, y = FAMILIES[family]()
    before = accuracy(model, x, y)
    quantized = kbig.compression.quantize_aware(model, x, islands=False)
    ten_steps(quantized, x, y)
    assert accuracy(quantized, x, y) > before - 0.1
    # A normalization of eight steps in integers rounds eight times.
    file = check_equal(quantized, x, tmp_path, steps=6, agreement=0.97)
    assert not any(x.is_float for x in operations(file.read_bytes()))


@pytest.mark.ci
def test_original_is_untouched():
    model, x, _ = FAMILIES["residual"]()
    weights, outputs = model.get_weights(), model.predict(x, verbose=0)
    classes = [type(layer) for layer in model._flatten_layers()]
    kbig.compression.quantize_aware(model, x)
    assert classes == [type(layer) for layer in model._flatten_layers()]
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(outputs, model.predict(x, verbose=0))
