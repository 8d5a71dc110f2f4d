"""What TF Serving needs around a SavedModel, in real exports."""

import importlib.metadata
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2
from tensorflow.python.saved_model import loader_impl
from tensorflow.python.saved_model.pywrap_saved_model import fingerprinting
from tensorflow_serving.apis import prediction_log_pb2

from kbig import data
from kbig import export
from kbig import models
from kbig.export import served_checks
from kbig.export.decisions import TASKS
from kbig.export.runtime import _storable
from kbig.export.served import embedding_model
from kbig.export.signatures import model_signatures
from kbig.export.worker import _loaded
from kbig.serving import protos
from tests import text_models
from tests.text_models import CLASSES
from tests.text_models import TEXTS
from tests.text_models import text_classifier

LENGTH = 16
METHODS = {
    "serving_default": "tensorflow/serving/predict",
    "ids": "tensorflow/serving/predict",
    "embed": "tensorflow/serving/predict",
    "classify": "tensorflow/serving/classify",
}


@pytest.fixture(scope="module")
def text_model():
    return text_classifier(num_layers=2, hidden_dim=16)


@pytest.fixture(scope="module")
def exported(text_model, tmp_path_factory):
    model, _, tokenizer = text_model
    return text_models.exported(
        model,
        tokenizer,
        tmp_path_factory.mktemp("topics"),
        ["savedmodel"],
        sequence_length=LENGTH,
        about={"data": "glosses", "metrics": {"test_accuracy": 0.5}},
    )


@pytest.fixture(scope="module")
def folder(exported):
    return pathlib.Path(exported.artefacts[0].path)


@pytest.mark.ci
def test_each_signature_says_which_call_it_answers(folder, exported):
    (graph,) = loader_impl.parse_saved_model(str(folder)).meta_graphs
    methods = {
        name: signature.method_name
        for name, signature in graph.signature_def.items()
        if not name.startswith("__")
    }
    assert methods == METHODS
    classify = graph.signature_def["classify"]
    assert set(classify.inputs) == {"inputs"}
    assert set(classify.outputs) == {"classes", "scores"}
    assert set(exported.artefacts[0].signatures) == set(METHODS)
    assert not exported.notes


def test_the_embedding_is_the_mean_over_real_tokens(folder, text_model):
    _, backbone, tokenizer = text_model
    embed = tf.saved_model.load(str(folder)).signatures["embed"]
    inputs = data.encode(tf.constant(TEXTS), tokenizer, LENGTH)
    states = backbone.predict(inputs, verbose=0)["sequence_output"]
    lengths = inputs["padding_mask"].numpy().sum(-1)
    assert len(set(lengths)) > 1 and lengths.max() < LENGTH
    expected = [s[:n].mean(0) for s, n in zip(states, lengths)]
    got = embed(text=tf.constant(TEXTS))["embedding"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.ci
def test_warm_up_requests_are_answered_by_the_signatures(folder):
    loaded = tf.saved_model.load(str(folder))
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    rows = {}
    for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = getattr(log, log.WhichOneof("log_type")).request
        assert request.model_spec.name == "topics"
        name = request.model_spec.signature_name
        if log.WhichOneof("log_type") == "classify_log":
            examples = request.input.example_list.examples
            serialized = [e.SerializeToString() for e in examples]
            feeds = {"inputs": tf.constant(serialized)}
        else:
            feeds = {
                key: tf.constant(tf.make_ndarray(value))
                for key, value in request.inputs.items()
            }
        outputs = loaded.signatures[name](**feeds)
        rows.setdefault(name, []).append(len(next(iter(outputs.values()))))
    assert rows == dict.fromkeys(METHODS, [1, 3])


def test_the_record_says_what_it_is(folder):
    record = json.loads((folder / "assets.extra" / "kbig.json").read_text())
    assert record["name"] == "topics"
    assert record["class_names"] == list(CLASSES)
    assert record["metrics"] == {"test_accuracy": 0.5}
    assert record["data"] == "glosses"
    methods = {k: s["method"] for k, s in record["signatures"].items()}
    assert methods == METHODS
    text = record["signatures"]["serving_default"]["inputs"]["text"]
    assert text == {"dtype": "string", "shape": [None]}
    assert record["versions"]["tensorflow"] == tf.__version__
    # Of the ops of the tokenizer, which a server must link.
    text_version = importlib.metadata.version("tensorflow-text")
    assert record["versions"]["tensorflow-text"] == text_version


def test_the_fingerprint_is_of_the_files_that_are_there(folder):
    kept = tf.saved_model.experimental.read_fingerprint(str(folder))
    created = fingerprint_pb2.FingerprintDef.FromString(
        fingerprinting.CreateFingerprintDef(str(folder))
    )
    assert kept == created
    record = json.loads((folder / "assets.extra" / "kbig.json").read_text())
    assert record["fingerprint"] == {k: str(v) for k, v in vars(kept).items()}
    checksum = record["fingerprint"]["saved_model_checksum"]
    assert int(checksum) == created.saved_model_checksum > 0


def test_vocabulary_and_class_names_are_assets(folder, text_model):
    _, _, tokenizer = text_model
    loaded = tf.saved_model.load(str(folder))
    assets = {
        pathlib.Path(asset.asset_path.numpy().decode()).name
        for asset in loaded.files
    }
    assert assets == {"vocabulary.txt", "class_names.json"}
    vocabulary = data.load_vocabulary(folder / "assets" / "vocabulary.txt")
    assert list(vocabulary) == tokenizer.get_vocabulary()
    names = json.loads((folder / "assets" / "class_names.json").read_text())
    assert names == list(CLASSES)


@pytest.mark.ci
def test_without_the_messages_there_are_no_requests_and_a_note(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(protos, "has_protos", lambda: False)
    report = export.artefacts(models.mlp((4,), 3), tmp_path, ["savedmodel"])
    (note,) = report.notes
    assert "kbig[serving]" in note
    assert note in str(report)
    extra = tmp_path / "1" / "assets.extra"
    assert {path.name for path in extra.iterdir()} == {"kbig.json"}
    versions = json.loads((extra / "kbig.json").read_text())["versions"]
    assert "tensorflow-text" not in versions


@pytest.mark.parametrize(
    "model, options, expected",
    [
        (lambda: models.mlp((4,), 3), {}, []),
        (lambda: models.mlp((4,), 3), {"class_names": CLASSES}, ["classify"]),
        (
            lambda: models.mlp((4,), 3),
            {"class_names": CLASSES, "task": "multilabel"},
            ["classify"],
        ),
        (lambda: models.mlp((4,), 1), {"task": "regression"}, ["regress"]),
        # TF Serving regresses to one value.
        (lambda: models.mlp((4,), 2), {"task": "regression"}, []),
        # A tf.Example of a free shape would need its sizes.
        (
            lambda: models.rnn((None, 2), 3),
            {"class_names": CLASSES},
            [],
        ),
    ],
)
def test_what_stands_beside_serving_default(model, options, expected):
    first, *others = model_signatures(model(), **options)
    assert first.name == "serving_default"
    assert [signature.name for signature in others] == expected


def test_a_model_without_encoders_embeds_nothing():
    assert embedding_model(models.mlp((4,), 3)) is None


def test_examples_may_end_in_zeros_on_their_way_to_the_process():
    rows = np.zeros((2, 3), "float32")
    model = models.mlp((3,), 2)
    samples = served_checks.with_examples(
        {model.inputs[0].name: rows}, model, ["serving_default", "classify"]
    )
    assert len(samples) == 2
    serialized = samples["classify/inputs"]
    assert serialized[0].endswith(b"\0")
    assert _loaded(_storable(serialized)).tolist() == serialized.tolist()


@pytest.mark.ci
def test_wrong_scores_and_classes_are_found(tmp_path):
    model = models.mlp((4,), 3)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    path = export.saved_model(
        model, tmp_path, samples=x, class_names=CLASSES
    ).path
    # As sigmoids, scores of the same logits would be others.
    report = export.verify(
        model, [path], x, class_names=CLASSES, task="multilabel"
    )
    (artefact,) = report.artefacts
    assert artefact.largest_difference > 1e-2
    rotated = (*CLASSES[1:], CLASSES[0])
    report = export.verify(model, [path], x, class_names=rotated)
    assert "classes are not" in report.artefacts[0].faults[-1]


def test_what_is_expected_of_each_signature():
    logits = np.array([[0.0, 0.0], [800.0, 0.0]])
    served = served_checks.served_outputs(
        {"logits": logits}, TASKS["classification"], ("a", "b"), None
    )
    expected = [[0.5, 0.5], [1.0, 0.0]]
    np.testing.assert_allclose(served["classify"]["scores"], expected)
    assert served["regress"]["outputs"] is logits
    assert served["embed"] == {}
    good = {"classes": np.array([[b"a", b"b"]] * 2)}
    assert served_checks.class_faults(good, ("a", "b")) == []
    assert served_checks.class_faults(good, ("b", "a")) != []
    assert served_checks.class_faults(good, ("a", "b", "c")) != []
