"""Quantized models as ONNX: the numbers that they were trained with."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import kbig
from kbig.export.signatures import call_by_name
from tests.compression.quantization.tiny import FAMILIES
from tests.export.onnx_files import counts
from tests.export.onnx_files import float_weights
from tests.export.onnx_files import onnx_file
from tests.export.onnx_files import opened
from tests.export.onnx_files import run

# The others take their turn among the slow tests.
QUICK = ("mlp", "bert")


def output_step(file) -> float:
    """The distance of neighbours in what a file gives."""
    graph = onnx.load(file).graph
    (last,) = (x for x in graph.node if x.output[0] == graph.output[0].name)
    if last.op_type != "DequantizeLinear":
        return 0.0
    (scale,) = (x for x in graph.initializer if x.name == last.input[1])
    return float(numpy_helper.to_array(scale))


def numbers_of_a_byte(file) -> int:
    """How many weights are stored as int8, or of tables as uint8."""
    return sum(
        int(np.prod(x.dims))
        for x in onnx.load(file).graph.initializer
        if x.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        and len(x.dims) > 1
    )


def check_equal(file, model, x, steps=3):
    (got,) = run(file, model, x).values()
    rows = x if isinstance(x, dict) else {model.inputs[0].name: x}
    (expected,) = map(np.asarray, call_by_name(model, rows).values())
    step = output_step(file) or np.ptp(expected) / 255
    assert np.ptp(expected) > 20 * step  # There is something to tell.
    assert np.abs(got - expected).max() <= steps * step + 1e-6
    assert (got.argmax(-1) == expected.argmax(-1)).mean() >= 0.99


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "family",
    [
        pytest.param(x, marks=() if x in QUICK else pytest.mark.slow)
        for x in FAMILIES
    ],
)
def test_file_computes_what_was_trained(family, tmp_path, monkeypatch):
    model, x, _ = FAMILIES[family]()
    quantized = kbig.compression.quantize_aware(model, x)
    file = onnx_file(quantized, x, tmp_path, monkeypatch, "int8")
    check_equal(file, quantized, x)
    assert not float_weights(file)
    kernels = sum(
        w.shape.num_elements()
        for w in model.trainable_weights
        if w.name in ("kernel", "recurrent_kernel", "embeddings")
    )
    assert numbers_of_a_byte(file) >= kernels


@pytest.mark.ci
def test_a_cnn_runs_in_integers_from_end_to_end(tmp_path, monkeypatch):
    model, x, _ = FAMILIES["residual"]()
    quantized = kbig.compression.quantize_aware(model, x)
    file = onnx_file(quantized, x, tmp_path, monkeypatch, "int8")
    check_equal(file, quantized, x)
    optimized = tmp_path / "optimized.onnx"
    opened(file, optimized)
    found = counts(optimized)
    assert found["QLinearConv"] == counts(file)["Conv"] == 7
    assert (found["QLinearAdd"], found["QGemm"]) == (2, 1)
    assert not {"Conv", "Gemm", "MatMul", "Add"} & set(found)
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)


@pytest.mark.ci
def test_skipped_layers_and_four_bits(tmp_path, monkeypatch):
    model, x, _ = FAMILIES["mlp"]()
    quantized = kbig.compression.quantize_aware(
        model, x, bits=4, skip=["logits"]
    )
    file = onnx_file(quantized, x, tmp_path, monkeypatch, "int8")
    check_equal(file, quantized, x)
    assert len(float_weights(file)) == 1
    integers = [
        numpy_helper.to_array(x)
        for x in onnx.load(file).graph.initializer
        if x.data_type == onnx.TensorProto.INT8 and len(x.dims) > 1
    ]
    assert [abs(x).max() for x in integers] == [7, 7]
