"""Encoders with channels a hundred times larger than the others."""

import keras
import keras_hub
import numpy as np
import pytest

import kbig
from kbig.compression.quantization.discovery import Discovery
from kbig.errors import UsageError
from kbig.export.integers import operations
from tests.compression.quantization.int8 import check_equal

WIDTH = 16


@pytest.fixture(params=[False, True], ids=["post-norm", "pre-norm"])
def encoder(request):
    """Two layers, whose feed-forward output has one channel far outside.

    The weights of the normalization make little of it, as in real encoders.
    """
    keras.utils.set_random_seed(0)
    x = keras.Input((6, WIDTH))
    y = x
    for _ in range(2):
        layer = keras_hub.layers.TransformerEncoder(
            2 * WIDTH, 2, normalize_first=request.param
        )
        y = layer(y)
        dense = layer._feedforward_output_dense
        kernel = dense.kernel.numpy()
        kernel[:, 3] *= 100
        dense.kernel.assign(kernel)
        gamma = np.ones(WIDTH, "float32")
        gamma[3] = 0.01
        layer._feedforward_layer_norm.gamma.assign(gamma)
    y = keras.layers.LayerNormalization()(y)
    return keras.Model(x, keras.layers.Dense(4)(y))


@pytest.fixture
def rows():
    return np.random.default_rng(0).normal(size=(40, 6, WIDTH)).astype("f4")


def named(model, name):
    tensors = kbig.compression.quantization_report(model).tensors
    return [x for x in tensors if x.layer.endswith(name)]


def error(quantized, encoder, rows) -> float:
    expected = encoder.predict(rows, verbose=0)
    return np.abs(quantized.predict(rows, verbose=0) - expected).mean()


@pytest.mark.ci
def test_the_other_channels_keep_their_steps(
    encoder, rows, tmp_path, monkeypatch
):
    quantized = kbig.compression.quantize_aware(encoder, rows)
    grids = named(quantized, "feedforward_output_dense")
    assert [x.grids for x in grids] == [WIDTH, WIDTH]
    file = check_equal(quantized, rows, tmp_path)
    dense = [
        x for x in operations(file.read_bytes()) if x.name == "FULLY_CONNECTED"
    ]
    assert not any(x.is_float for x in dense)
    monkeypatch.setattr(Discovery, "by_channel", lambda self, x: x)
    of_one_grid = kbig.compression.quantize_aware(encoder, rows)
    both = [error(q, encoder, rows) for q in (quantized, of_one_grid)]
    assert both[0] < 0.5 * both[1]


def test_what_a_second_layer_reads_has_one_grid(rows):
    x = keras.Input((6, WIDTH))
    layer = keras_hub.layers.TransformerEncoder(2 * WIDTH, 2)
    model = keras.Model(x, layer(layer(x)))
    quantized = kbig.compression.quantize_aware(model, rows)
    # Called twice, its kernel cannot be divided by two vectors of scales.
    grids = named(quantized, "feedforward_output_dense")
    assert len(grids) == 2
    assert [x.grids for x in grids] == [1, 1]


@pytest.mark.ci
def test_the_report_compares_like_with_like(encoder, rows, tmp_path):
    quantized = kbig.compression.quantize_aware(encoder, rows)
    file = tmp_path / "model.tflite"
    found = kbig.export.litert(quantized, file, "int8", samples=rows).integers
    errors = {
        x.layer: x.relative
        for x in found.layers
        if x.layer.endswith("feedforward_output_dense")
    }
    assert errors and max(errors.values()) < 0.1


@pytest.mark.ci
def test_a_saved_model_has_the_grids(encoder, rows, tmp_path):
    quantized = kbig.compression.quantize_aware(encoder, rows)
    quantized.save(tmp_path / "quantized.keras")
    loaded = keras.models.load_model(tmp_path / "quantized.keras")
    np.testing.assert_array_equal(
        quantized.predict(rows, verbose=0), loaded.predict(rows, verbose=0)
    )


def test_what_is_skipped_is_not_rounded_on_its_way(encoder, rows):
    quantized = kbig.compression.quantize_aware(
        encoder, rows, skip=["*feedforward_output_dense"]
    )
    # A dropout between two parts in float has nothing to round.
    assert not named(quantized, "feedforward_dropout")
    assert not named(quantized, "feedforward_output_dense")


def test_a_plan_of_another_version_is_refused(encoder, rows):
    quantized = kbig.compression.quantize_aware(encoder, rows)
    config = quantized.get_config()
    config["plan"] = {**config["plan"], "version": 1}
    with pytest.raises(UsageError, match="version 1.*Quantize the float model"):
        type(quantized).from_config(config)


@pytest.mark.ci
def test_integers_are_not_given_where_the_model_ends_in_float(rows, tmp_path):
    x = keras.Input((6, WIDTH))
    layer = keras_hub.layers.TransformerEncoder(8, 2, normalize_first=True)
    model = kbig.compression.quantize_aware(keras.Model(x, layer(x)), rows)
    file = tmp_path / "model.tflite"
    with pytest.raises(UsageError, match="ends in float"):
        kbig.export.litert(model, file, "int8", samples=rows, integer_io=True)
    check_equal(model, rows, tmp_path)
