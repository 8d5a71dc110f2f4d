"""Files that take the bytes of an image as they are."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from kbig import export
from kbig import models
from kbig.errors import UsageError
from kbig.export.warmup import WARMUP_FILE
from kbig.serving import protos
from tests.export.matrix import BERT
from tests.export.matrix import IMAGES
from tests.export.matrix import trained

BYTES = IMAGES.astype("uint8")


@pytest.fixture(scope="module")
def model():
    return trained("CNN, plain")[0]


@pytest.mark.ci
def test_bytes_in_and_what_the_model_says_out(model, tmp_path):
    report = export.artefacts(
        model,
        tmp_path,
        ["savedmodel", "litert-dynamic"],
        samples=IMAGES,
        class_names=["a", "b", "c"],
        pixels=True,
    )
    expected = model.predict(IMAGES, verbose=0)
    saved, file = (x.path for x in report.artefacts)
    signature = tf.saved_model.load(saved).signatures["serving_default"]
    ((name, spec),) = signature.structured_input_signature[1].items()
    assert spec.dtype == tf.uint8
    got = signature(**{name: tf.constant(BYTES)})["logits"]
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert warm_up_dtypes(saved) == {tf.uint8.as_datatype_enum}
    runner = Interpreter(file).get_signature_runner()
    assert runner.get_input_details()[name]["dtype"] == np.uint8
    first = runner(**{name: BYTES[:1]})["logits"]
    spread = expected.max() - expected.min()
    assert np.abs(first - expected[:1]).max() <= 5e-2 * spread


def warm_up_dtypes(saved):
    path = f"{saved}/{WARMUP_FILE}"
    logs = map(
        protos.proto("prediction_log_pb2").PredictionLog.FromString,
        tf.data.TFRecordDataset(path).as_numpy_iterator(),
    )
    requests = [
        x.predict_log.request for x in logs if x.HasField("predict_log")
    ]
    return {t.dtype for r in requests for t in r.inputs.values()}


@pytest.mark.parametrize(
    ("formats", "samples", "message"),
    [
        (["onnx-float32"], IMAGES, "What can take uint8 is savedmodel, litert"),
        (["savedmodel"], IMAGES / 255, "whole numbers from 0 to 255"),
        (["savedmodel"], IMAGES - 1, "whole numbers from 0 to 255"),
    ],
)
def test_what_are_no_pixels_is_refused(
    model, formats, samples, message, tmp_path
):
    with pytest.raises(UsageError, match=message):
        export.artefacts(model, tmp_path, formats, samples=samples, pixels=True)
    assert not list(tmp_path.iterdir())


def test_int8_has_a_way_of_its_own(model, tmp_path):
    with pytest.raises(UsageError, match="by integer_io=True"):
        export.litert(
            model,
            tmp_path / "m.tflite",
            "int8",
            samples=IMAGES,
            representative=IMAGES,
            pixels=True,
        )


def test_ids_are_no_pixels(tmp_path):
    bert = models.bert_classifier(
        models.bert({"num_layers": 1, "hidden_dim": 8, "num_heads": 2}, 100), 3
    )
    with pytest.raises(UsageError, match="models that take floats"):
        export.litert(bert, tmp_path / "m.tflite", samples=BERT, pixels=True)
