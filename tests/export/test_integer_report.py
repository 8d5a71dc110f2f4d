"""Which layer of an int8 file is off, and by how much."""

import json

import keras
import numpy as np
import pytest

from kbig import compression
from kbig import export
from kbig.compression.quantization.ranges import Range
from kbig.errors import GateError
from kbig.export import integer_details
from kbig.export import integer_worker
from kbig.export.integer_details import layer_of
from kbig.export.integer_details import worst_by_layer


def linear_model():
    """Three products, of which each layer's range can be told."""
    inputs = keras.Input((8,), name="x")
    x = keras.layers.Dense(8, name="first")(inputs)
    x = keras.layers.Dense(8, name="narrow")(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="logits")(x))


def range_of(quantized, layer):
    layers = quantized.get_layer(layer)._flatten_layers()
    (held,) = (x for x in layers if isinstance(x, Range))
    return held


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model whose middle layer has a quarter of the range it needs."""
    keras.utils.set_random_seed(0)
    rows = np.random.default_rng(0).normal(size=(32, 8)).astype("float32")
    model = linear_model()
    quantized = compression.quantize_aware(model, rows)
    held = range_of(quantized, "narrow")
    held.low.assign(held.low / 4)
    held.high.assign(held.high / 4)
    path = tmp_path_factory.mktemp("m") / "m.tflite"
    report = export.litert(quantized, path, "int8", samples=rows, latency=True)
    return model, quantized, held, rows, path, report


@pytest.mark.ci
def test_the_layer_that_is_off_is_the_first_in_the_list(made):
    model, _, held, rows, _, report = made
    first, *others = report.integers.layers
    assert first.layer == "narrow"
    assert {x.layer for x in others} == {"first"}
    # What lies outside of the range is cut off; rounding adds little.
    inner = keras.Model(model.input, model.get_layer("narrow").output)
    exact = inner(rows).numpy().astype("float64")
    cut = np.clip(exact, float(held.low), float(held.high))
    relative = np.sqrt(np.square(cut - exact).sum() / np.square(exact).sum())
    assert first.relative == pytest.approx(relative, rel=0.02)
    step = (float(held.high) - float(held.low)) / 255
    assert first.step == pytest.approx(step, rel=1e-4)
    largest = np.abs(cut - exact).max() / step
    assert first.largest == pytest.approx(largest, abs=3)
    assert others[0].relative < 0.02 < 0.2 < first.relative


def test_outputs_are_beside_the_model_that_rounds(made):
    _, quantized, *_, report = made
    (output,) = report.integers.outputs
    assert output.name == "logits"
    held = range_of(quantized, "logits")
    step = (float(held.high) - float(held.low)) / 255
    assert output.step == pytest.approx(step, rel=1e-4)
    assert output.largest <= 2
    assert output.mean <= output.largest
    assert report.integers.rows == 32


def test_operations_sizes_and_latencies_are_told(made):
    *_, path, report = made
    found = report.integers
    dtypes = {x.name: (x.dtypes, x.count) for x in found.operations}
    assert dtypes["FULLY_CONNECTED"][1] == 3
    assert dtypes["FULLY_CONNECTED"][0].startswith("int8")
    assert dtypes["QUANTIZE"] == ("float32 → int8", 1)
    assert found.bytes == report.bytes == path.stat().st_size
    assert found.gzip_bytes == report.gzip_bytes
    assert found.reference_gzip_bytes < found.reference_bytes
    assert set(found.latencies) == {"float32", "dynamic int8"}
    assert all(x.ratio > 0 for x in found.latencies.values())
    assert found.compared >= 2
    printed = str(report)
    for title in ("Outputs in steps", "Largest errors by layer", "beside dyn"):
        assert title in printed
    json.dumps(report.to_dict(), allow_nan=False)


def test_a_file_with_nothing_to_compare_it_with_is_still_there(
    made, monkeypatch
):
    def refuse(*arguments):
        raise GateError("no reference today")

    monkeypatch.setattr(integer_details, "write_reference", refuse)
    _, quantized, _, rows, path, _ = made
    found = integer_details.integer_report(quantized, path, {"x": rows})
    assert found.layers == ()
    assert found.outputs[0].largest <= 2
    assert "no reference today" in str(found)


@pytest.mark.parametrize(
    "tensor, layers, expected",
    [
        ("cnn_1/stem_1/convolution", {"stem"}, "stem"),
        ("m/dense_1/MatMul", {"dense", "dense_1"}, "dense"),
        ("m/stage_1/Relu", {"stage_1"}, "stage_1"),
        ("m_1/block_1/dense_1_1/MatMul", {"block", "dense_1"}, "block/dense_1"),
        ("StatefulPartitionedCall", {"dense"}, "StatefulPartitionedCall"),
    ],
)
def test_layers_are_found_in_names(tensor, layers, expected):
    assert layer_of(tensor, layers) == expected


def test_a_layer_has_its_worst_tensor():
    def tensor(name, relative):
        return {
            "tensor": name,
            "step": 0.5,
            "largest": 1.0,
            "mean": 0.25,
            "relative": relative,
        }

    found = [tensor("m/a/x", 0.1), tensor("m/b/x", 0.2), tensor("m/a/y", 0.3)]
    worst, other = worst_by_layer(found, {"a", "b"})
    assert (worst.layer, worst.tensor) == ("a", "m/a/y")
    assert (worst.largest, worst.mean) == (2.0, 0.5)
    assert other.layer == "b"


def test_differences_add_up_over_rows():
    difference = integer_worker.Difference()
    difference.add(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    difference.add(np.array([0.0, 3.0]), np.array([1.0, 3.0]))
    result = difference.result(0.5)
    assert (result["largest"], result["mean"]) == (2.0, 0.75)
    # Squares of the differences: 4 + 1, of the numbers: 1 + 16 + 1 + 9.
    assert result["relative"] == pytest.approx((5 / 27) ** 0.5)


def test_names_are_told_without_those_of_rounding():
    rounding = "m/a/FakeQuantWithMinMaxVars"
    assert integer_worker.common_name(f"{rounding};m/a/Relu;;m/b") == "m/a/Relu"
    assert integer_worker.common_name(f"{rounding};{rounding}/min") == ""
