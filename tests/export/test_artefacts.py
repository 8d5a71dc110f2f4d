"""Real exports: each runs the converter and the runtimes in processes."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import compression
from kbig import data
from kbig import export
from kbig import models
from kbig import sections
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.reporting.page import page
from tests import text_models
from tests.text_models import CLASSES
from tests.text_models import LENGTH
from tests.text_models import TEXTS
from tests.text_models import text_classifier


@pytest.fixture(scope="module")
def text_model():
    model, _, tokenizer = text_classifier()
    return model, tokenizer


@pytest.fixture(scope="module")
def exported(text_model, tmp_path_factory, own_processes):
    model, tokenizer = text_model
    directory = tmp_path_factory.mktemp("topics")
    report = text_models.exported(
        model,
        tokenizer,
        directory,
        ["savedmodel", "litert-float16", "litert-dynamic"],
        labels=np.array([0, 1, 2]),
    )
    return directory, report


@pytest.mark.ci
def test_every_artefact_is_there_and_nothing_else(exported):
    directory, report = exported
    names = {path.name for path in directory.iterdir()}
    assert names == {"1", "topics-float16.tflite", "topics-dynamic.tflite"}
    assert [pathlib.Path(a.path).name for a in report.artefacts] == [
        "1",
        "topics-float16.tflite",
        "topics-dynamic.tflite",
    ]


def test_the_report_has_what_was_measured(exported):
    directory, report = exported
    saved, half, dynamic = report.artefacts
    assert saved.largest_difference <= 1e-5
    everything = {"serving_default", "ids", "classify", "embed"}
    assert set(saved.signatures) == everything
    assert [a.weights for a in report.artefacts] == [
        "float32",
        "float16",
        "int8",
    ]
    assert half.bytes == (directory / "topics-float16.tflite").stat().st_size
    assert dynamic.bytes < half.bytes < saved.bytes
    assert saved.metric == report.keras_metric
    assert report.metric_name == "accuracy"
    assert saved.top1_agreement == 1.0
    assert all(a.latency_ratio > 0 for a in report.artefacts)
    assert saved.xnnpack is None
    json.dumps(report.to_dict())


def test_the_report_says_what_xnnpack_leaves(exported, tmp_path):
    directory, report = exported
    for artefact in report.artefacts[1:]:
        shown = export.inspect(artefact.path).operations
        left = [x for x in shown if not x.xnnpack]
        found = artefact.xnnpack
        assert found.operations == sum(x.count for x in shown)
        assert sum(found.left.values()) == sum(x.count for x in left)
        assert found.taken + sum(found.left.values()) == found.operations
        # Tokens are looked up; products of weights are all XNNPACK's.
        assert "GATHER" in found.left and "FULLY_CONNECTED" not in found.left
    (table,) = (x for x in report.tables() if x.title == "XNNPACK")
    assert [row[0] for row in table.rows] == [
        "topics-float16.tflite",
        "topics-dynamic.tflite",
    ]
    assert "GATHER" in page("Run", [sections.artefacts(report)])
    stored = json.loads(report.save(tmp_path / "r.json").read_text())
    assert stored["artefacts"][1]["xnnpack"]["left"] == dict(found.left)


@pytest.mark.ci
def test_all_of_a_small_network_is_taken_by_xnnpack(tmp_path):
    model = models.mlp((4,), 3, (8,))
    report = export.litert(model, tmp_path / "m.tflite")
    assert (report.xnnpack.operations, report.xnnpack.taken) == (2, 2)
    table = report.tables()[1]
    assert table.rows == (("m.tflite", 2, 1.0, ""),)


def test_strings_go_in_and_named_classes_come_out(exported, text_model):
    directory, _ = exported
    model, tokenizer = text_model
    loaded = tf.saved_model.load(str(directory / "1"))
    texts = tf.constant([*TEXTS, "", "naïve 東京 " * 50])
    outputs = loaded.signatures["serving_default"](text=texts)
    logits = model.predict(data.encode(texts, tokenizer, LENGTH), verbose=0)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(
        outputs["probabilities"], tf.nn.softmax(logits), atol=1e-5
    )
    labels = [label.decode() for label in outputs["label"].numpy()]
    assert labels == [CLASSES[i] for i in logits.argmax(-1)]


def test_weights_are_stored_once(exported, text_model):
    directory, _ = exported
    model, _ = text_model
    stored = tf.train.list_variables(str(directory / "1/variables/variables"))
    floats = [shape for name, shape in stored if "optimizer" not in name]
    count = sum(int(np.prod(shape)) for shape in floats if shape)
    assert count == model.count_params()


@pytest.mark.ci
def test_it_runs_where_keras_cannot_be_imported(exported):
    directory, _ = exported
    worker = pathlib.Path(export.__file__).with_name("worker.py")
    with subprocess.Popen(
        [sys.executable, "-P", worker, directory / "1", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        loaded = json.loads(process.stdout.readline())
        process.stdin.close()
    assert loaded["keras"] is False


@pytest.mark.ci
def test_the_next_export_is_the_next_version(exported, text_model):
    directory, _ = exported
    model, tokenizer = text_model
    before = (directory / "1/saved_model.pb").read_bytes()
    report = export.saved_model(
        model, directory, tokenizer=tokenizer, sequence_length=LENGTH
    )
    assert report.path == str(directory / "2")
    assert (directory / "1/saved_model.pb").read_bytes() == before


def test_a_file_that_differs_from_the_model_is_found(exported, text_model):
    directory, _ = exported
    model, tokenizer = text_model
    other = keras.models.clone_model(model)
    *body, kernel, bias = model.get_weights()
    other.set_weights([*body, -kernel, -bias])  # The largest is the smallest.
    inputs = data.encode(TEXTS, tokenizer, LENGTH)
    file = directory / "topics-float16.tflite"
    report = export.verify(other, [file], inputs)
    assert not report.passed
    difference, agreement = report.artefacts[0].faults
    assert "allowed" in difference
    assert "0.00% of 3 decisions, 98.0% is needed" in agreement
    assert export.verify(model, [file], inputs).passed


@pytest.mark.ci
def test_labels_in_another_order_are_found(exported, text_model):
    directory, _ = exported
    model, tokenizer = text_model
    inputs = {
        "text": np.array(TEXTS, dtype=object),
        **data.encode(TEXTS, tokenizer, LENGTH),
    }
    rotated = (*CLASSES[1:], CLASSES[0])  # Every name belongs to another.
    report = export.verify(
        model, [directory / "1"], inputs, class_names=rotated
    )
    *labels, classes = report.artefacts[0].faults
    assert set(labels) == {
        f"{signature}: 3 of 3 labels do not name the largest logit"
        for signature in ("serving_default", "ids")
    }
    assert "classes are not the class names" in classes


def test_a_file_cut_short_is_found(exported, text_model, tmp_path):
    directory, _ = exported
    model, tokenizer = text_model
    content = (directory / "topics-float16.tflite").read_bytes()
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(content[: len(content) // 2])
    inputs = data.encode(TEXTS, tokenizer, LENGTH)
    with pytest.raises(GateError, match="broken.tflite"):
        export.verify(model, [broken], inputs)


@pytest.mark.ci
def test_a_failed_gate_leaves_nothing(text_model, tmp_path, monkeypatch):
    monkeypatch.setitem(export.compare.TOLERANCES, "int8", 1e-9)
    model, tokenizer = text_model
    path = tmp_path / "m.tflite"
    path.write_text("what was there before")
    samples = data.encode(TEXTS, tokenizer, LENGTH)
    with pytest.raises(GateError, match="m.tflite") as caught:
        export.litert(model, path, "dynamic", samples=samples)
    assert path.read_text() == "what was there before"
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"]
    assert caught.value.report.artefacts[0].largest_difference > 1e-9


@pytest.mark.ci
@pytest.mark.parametrize(
    ("mode", "trained", "weights", "remedy"),
    [
        ("float32", False, "float32", "is allowed."),
        ("float16", False, "float16", "Take mode float32."),
        ("dynamic", False, "int8", "Take mode float32."),
        ("int8", False, "integers", "int8 (`kbig.compression.quantize_aware`"),
        ("int16", False, "int16", "or take mode dynamic."),
        ("int8", True, "integers", "or leave layers in float with skip=[...]"),
    ],
)
def test_a_failed_gate_says_what_to_do(
    mode, trained, weights, remedy, tmp_path, monkeypatch
):
    monkeypatch.setitem(export.compare.TOLERANCES, weights, -1.0)
    model = models.mlp((4,), 3, (64, 64))
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    rounded = mode.startswith("int") and not trained
    rows = {"representative": x} if rounded else {}
    model = compression.quantize_aware(model, x) if trained else model
    with pytest.raises(GateError, match="Nothing was written") as caught:
        export.litert(model, tmp_path / "m.tflite", mode, samples=x, **rows)
    assert caught.value.report.artefacts[0].weights == weights
    assert remedy in str(caught.value)


@pytest.mark.ci
def test_an_op_that_phones_lack_is_refused(tmp_path):
    class Fourier(keras.layers.Layer):
        def call(self, x):
            spectrum = tf.signal.fft2d(tf.cast(x, tf.complex64))
            return tf.cast(tf.abs(spectrum), tf.float32)

    inputs = keras.Input((4, 4))
    model = keras.Model(inputs, Fourier()(inputs))
    with pytest.raises(GateError, match="Flex"):
        export.litert(model, tmp_path / "fourier.tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "formats, options, message",
    [
        (["onnxx"], {}, "litert-float32"),
        ([], {}, "Received: none"),
        (["savedmodel"], {"name": "../up"}, "name='../up'"),
        (["savedmodel"], {"class_names": ["a"]}, "1 class names"),
        (["savedmodel"], {"samples": np.ones((0, 4))}, "at least one"),
        (["savedmodel"], {"samples": {"x": np.ones((2, 4))}}, "inputs"),
        (["savedmodel"], {"samples": np.ones((2, 5))}, "shape"),
        (["savedmodel"], {"labels": np.ones(3, int)}, "one label a sample"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    formats, options, message, tmp_path
):
    model = models.mlp((4,), 3)
    with pytest.raises(UsageError, match=message):
        export.artefacts(model, tmp_path / "m", formats, **options)
    assert not (tmp_path / "m").exists()


def test_free_dimensions_need_samples(tmp_path):
    with pytest.raises(UsageError, match="free dimensions"):
        export.litert(models.rnn((None, 2), 3), tmp_path / "m.tflite")


def test_a_path_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match="ends in .tflite"):
        export.litert(models.mlp((4,), 3), tmp_path / "m.onnx")
