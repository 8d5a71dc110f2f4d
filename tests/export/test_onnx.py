"""ONNX exports as users start them, and what they are refused for."""

import json
import logging
import pathlib

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import kbig
from kbig import export
from kbig import models
from kbig.errors import GateError
from kbig.errors import UsageError
from tests.export.onnx_files import counts
from tests.export.onnx_files import largest_difference
from tests.export.onnx_files import onnx_file
from tests.models.test_contract import BERT_INPUTS
from tests.models.test_contract import LABELS
from tests.models.test_contract import tiny_bert


@pytest.fixture(scope="module")
def exported(tmp_path_factory, own_processes):
    """By real processes."""
    keras.utils.set_random_seed(0)
    model = models.bert_classifier(tiny_bert(), 2)
    directory = tmp_path_factory.mktemp("topics")
    report = export.artefacts(
        model,
        directory,
        ["onnx-float32", "onnx-dynamic"],
        name="topics",
        samples=BERT_INPUTS,
        labels=LABELS,
    )
    return model, directory, report


@pytest.mark.ci
def test_files_are_there_and_the_report_has_what_was_measured(exported):
    _, directory, report = exported
    names = {path.name for path in directory.iterdir()}
    assert names == {"topics-float32.onnx", "topics-dynamic.onnx"}
    floats, dynamic = report.artefacts
    assert (floats.format, floats.weights) == ("ONNX", "float32")
    assert floats.runtime.startswith("onnxruntime ")
    assert floats.largest_difference <= floats.tolerance < 1.1e-5
    assert floats.top1_agreement == 1.0
    assert floats.metric == report.keras_metric
    assert dynamic.weights == "int8"
    assert dynamic.bytes == (directory / "topics-dynamic.onnx").stat().st_size
    assert all(x.latency_ratio > 0 for x in report.artefacts)
    json.dumps(report.to_dict())


def test_names_are_those_of_the_model(exported):
    model, directory, _ = exported
    graph = onnx.load(directory / "topics-float32.onnx").graph
    assert {x.name for x in graph.input} == {x.name for x in model.inputs}
    assert [x.name for x in graph.output] == ["logits"]


@pytest.mark.ci
def test_a_file_that_differs_from_the_model_is_found(exported):
    model, directory, _ = exported
    other = keras.models.clone_model(model)
    *body, kernel, bias = model.get_weights()
    other.set_weights([*body, -kernel, -bias])
    file = directory / "topics-float32.onnx"
    report = export.verify(other, [file], BERT_INPUTS)
    assert "allowed" in report.artefacts[0].faults[0]
    assert export.verify(model, [file], BERT_INPUTS).passed


def test_a_file_cut_short_is_found(exported, tmp_path):
    model, directory, _ = exported
    content = (directory / "topics-float32.onnx").read_bytes()
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(content[: len(content) // 2])
    with pytest.raises(GateError, match="broken.onnx"):
        export.verify(model, [broken], BERT_INPUTS)


def test_an_attention_has_the_operators_of_onnxruntime(exported):
    _, directory, _ = exported
    found = counts(directory / "topics-float32.onnx")
    assert found["LayerNormalization"] == 3
    # Six of the encoder's layers, pooler, logits, and two between the heads.
    assert found["MatMul"] == 10
    assert not {"Gemm", "GlobalAveragePool", "ReduceMean"} & set(found)
    # Negative ids of two tables; none is left of the masks.
    assert found["Where"] == 2
    dynamic = counts(directory / "topics-dynamic.onnx")
    assert (dynamic["MatMulInteger"], dynamic["MatMul"]) == (8, 2)


@pytest.mark.parametrize("opset", [17, 18])
@pytest.mark.parametrize("approximate", [False, True])
def test_opsets_and_gelus(opset, approximate, tmp_path, monkeypatch):
    x = keras.Input((5, 4), name="x")
    y = keras.layers.Dense(6, name="first")(x)
    y = keras.ops.gelu(y, approximate)
    y = keras.layers.LayerNormalization(name="norm")(y)
    model = keras.Model(x, keras.layers.Dense(3, name="y")(y))
    for weight in model.trainable_weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    rows = np.random.default_rng(0).normal(size=(7, 5, 4)).astype("float32")
    file = onnx_file(model, rows, tmp_path, monkeypatch, opset=opset)
    assert largest_difference(file, model, rows) <= 1e-5
    assert counts(file)["LayerNormalization"] == 1
    versions = {x.domain: x.version for x in onnx.load(file).opset_import}
    assert versions[""] == opset


@pytest.mark.slow
def test_mixed_precision_is_exported_in_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.mlp((4,), 3)
    finally:
        keras.config.set_dtype_policy("float32")
    report = export.onnx(model, tmp_path / "m.onnx")
    assert report.passed and report.largest_difference <= 1e-5
    types = {
        x.data_type
        for x in onnx.load(tmp_path / "m.onnx").graph.initializer
        if x.dims
    }
    assert types == {onnx.TensorProto.FLOAT}


def test_an_int8_file_is_verified_and_callers_log_as_before(tmp_path):
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    model = kbig.compression.quantize_aware(models.mlp((4,), 3), x)
    level = logging.getLogger().level
    path = tmp_path / "m-int8.onnx"
    report = export.onnx(model, path, "int8", samples=x)
    assert report.weights == "integers" and report.passed
    assert report.path == str(path)
    assert logging.getLogger().level == level
    with pytest.raises(UsageError, match="written in mode int8"):
        export.onnx(model, tmp_path / "m.onnx", "dynamic", samples=x)


@pytest.mark.slow
def test_a_failed_gate_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(export.compare.TOLERANCES, "int8", 1e-9)
    path = tmp_path / "m.onnx"
    path.write_text("what was there before")
    with pytest.raises(GateError, match="m.onnx"):
        export.onnx(models.mlp((4,), 3), path, "dynamic")
    assert path.read_text() == "what was there before"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_an_operator_without_a_form_is_named(tmp_path, monkeypatch):
    class Bessel(keras.layers.Layer):
        def call(self, x):
            return tf.math.bessel_i0e(x)

    x = keras.Input((4,), name="x")
    model = keras.Model(x, Bessel(name="y")(x))
    with pytest.raises(GateError, match="BesselI0e.* Replace the layers"):
        export.onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path, mode, options, message",
    [
        ("m.tflite", "float32", {}, "ends in .onnx"),
        ("m.onnx", "float16", {}, "float32, dynamic, int8"),
        ("m.onnx", "float32", {"opset": 21}, "17, 18.*opset=21"),
        ("m.onnx", "int8", {}, "quantize_aware"),
        ("m.onnx", "float32", {"samples": np.ones((2, 5))}, "shape"),
    ],
)
def test_mistakes_are_named(path, mode, options, message, tmp_path):
    folder = tmp_path / "none"
    with pytest.raises(UsageError, match=message):
        export.onnx(models.mlp((4,), 3), folder / path, mode, **options)
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match="Cannot write into"):
        export.onnx(models.mlp((4,), 3), file / "m.onnx")


def test_what_is_no_artefact_is_refused(tmp_path):
    other = pathlib.Path(tmp_path / "m.pt")
    other.touch()
    with pytest.raises(UsageError, match=".tflite or .onnx. Received"):
        export.verify(models.mlp((4,), 3), [other], np.ones((2, 4)))
