"""What an int8 file is compared with computes what the float model does."""

import numpy as np
import pytest

import kbig
from kbig.export.signatures import call_by_name

ROWS = 6
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(size=(ROWS, 8, 8, 1)).astype("float32")
SERIES = GENERATOR.normal(size=(ROWS, 5, 2)).astype("float32")
TOKENS = {
    "token_ids": GENERATOR.integers(1, 30, (ROWS, 8)).astype("int32"),
    "segment_ids": GENERATOR.integers(0, 2, (ROWS, 8)).astype("int32"),
    "padding_mask": np.tile([1] * 5 + [0] * 3, (ROWS, 1)).astype("int32"),
}
SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}


def classifier():
    return kbig.models.bert_classifier(kbig.models.bert(SIZE, 30), 3)


def cnn():
    return kbig.models.cnn((8, 8, 1), 3, filters=(4, 8), block="residual")


def lstm():
    return kbig.models.rnn((5, 2), 3, units=(6,))


@pytest.mark.parametrize(
    "make, rows", [(classifier, TOKENS), (cnn, IMAGES), (lstm, SERIES)]
)
def test_without_rounding_it_is_the_float_model(make, rows):
    model = make()
    quantized = kbig.compression.quantize_aware(model, rows)
    given = rows if isinstance(rows, dict) else {model.inputs[0].name: rows}
    (expected,) = call_by_name(model, given).values()
    with quantized.as_floats():
        (floats,) = call_by_name(quantized, given).values()
    with quantized.as_integers():
        (integers,) = call_by_name(quantized, given).values()
    np.testing.assert_allclose(floats, expected, atol=1e-5)
    # It is the mode that makes the difference.
    assert np.abs(np.subtract(integers, expected)).max() > 1e-4
    (rounded,) = call_by_name(quantized, given).values()
    np.testing.assert_allclose(rounded, integers, atol=1e-3)
