"""Operations of small models, beside what pencil and paper say."""

import keras
import pytest

from kbig import export
from kbig import models

STEPS, WIDTH, UNITS = 7, 3, 5
_CELL = WIDTH * UNITS + UNITS * UNITS


def flops(model, tmp_path, samples=None):
    export.litert(model, tmp_path / "m.tflite", samples=samples)
    return export.litert_flops(tmp_path / "m.tflite")


slow = pytest.mark.slow


@pytest.mark.parametrize(
    "block, products",
    [
        # Two convolutions of 3 x 3 on 8 x 8 pixels, then the classifier.
        pytest.param("plain", 64 * 9 * (4 + 4 * 4) + 4 * 2, marks=slow),
        # The stem, the shortcut, then two on 4 x 4 pixels.
        pytest.param(
            "residual",
            64 * 9 * 4 + 16 * (4 * 4 + 9 * 2 * 4 * 4) + 4 * 2,
            marks=slow,
        ),
        ("depthwise", 64 * 9 * 4 + 16 * (9 * 4 + 4 * 4) + 4 * 2),
    ],
)
def test_convolutions(block, products, tmp_path):
    model = models.cnn((8, 8, 1), 2, filters=(4,), block=block)
    assert flops(model, tmp_path) == 2 * products


@pytest.mark.parametrize(
    "cell, gates, directions",
    [
        ("lstm", 4, 1),
        pytest.param("gru", 3, 2, marks=slow),
        pytest.param("simple", 1, 1, marks=slow),
    ],
)
def test_a_loop_counts_as_often_as_it_runs(cell, gates, directions, tmp_path):
    model = models.rnn(
        (STEPS, WIDTH),
        2,
        cell=cell,
        units=(UNITS,),
        bidirectional=directions == 2,
    )
    products = directions * (STEPS * gates * _CELL + UNITS * 2)
    assert flops(model, tmp_path) == 2 * products


def test_attention_counts_its_scores_and_sums(tmp_path):
    model = models.transformer(
        2,
        input_shape=(STEPS, WIDTH),
        num_layers=1,
        hidden_dim=8,
        num_heads=2,
        intermediate_dim=16,
    )
    projections = STEPS * (WIDTH * 8 + 4 * 8 * 8 + 2 * 8 * 16)
    attention = 2 * STEPS * STEPS * 8
    products = projections + attention + 8 * 2
    assert flops(model, tmp_path) == 2 * products


@pytest.mark.slow
def test_a_transposed_convolution(tmp_path):
    inputs = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2DTranspose(5, 2, strides=2)
    model = keras.Model(inputs, layer(inputs))
    assert flops(model, tmp_path) == 2 * 4 * 4 * 3 * 5 * 2 * 2


def test_a_convolution_of_volumes(tmp_path):
    inputs = keras.Input((4, 8, 8, 2))
    model = keras.Model(inputs, keras.layers.Conv3D(5, (2, 3, 3))(inputs))
    assert flops(model, tmp_path) == 2 * 3 * 6 * 6 * 5 * 2 * 3 * 3 * 2
