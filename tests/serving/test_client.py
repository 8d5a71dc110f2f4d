"""The client against a server that loads real exports, both ways."""

import contextlib
import json
import socket
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from kbig import data
from kbig import models
from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures
from kbig.serving import Client
from kbig.serving import retries
from tests import text_models
from tests.serving.tf_serving import Model
from tests.serving.tf_serving import grpc_server
from tests.serving.tf_serving import rest_server
from tests.text_models import CLASSES
from tests.text_models import LENGTH
from tests.text_models import TEXTS
from tests.text_models import text_classifier

UNAVAILABLE = {"rest": 503, "grpc": grpc.StatusCode.UNAVAILABLE}


@pytest.fixture(scope="module")
def classifier():
    """A Keras model that tells texts apart, and its tokenizer."""
    model, _, tokenizer = text_classifier()
    return model, tokenizer


@pytest.fixture(scope="module")
def served(classifier, tmp_path_factory):
    model, tokenizer = classifier
    folder = tmp_path_factory.mktemp("topics")
    report = text_models.exported(model, tokenizer, folder, ["savedmodel"])
    return Model("topics", report.artefacts[0].path)


@pytest.fixture(scope="module")
def addresses(served):
    with rest_server(served) as rest, grpc_server(served) as remote:
        yield {"rest": rest, "grpc": remote}


@pytest.fixture(autouse=True)
def fresh(served, monkeypatch):
    served.troubles.clear()
    served.requests.clear()
    monkeypatch.setattr(retries, "_FIRST", 0.01)


@pytest.fixture(params=["rest", "grpc"])
def way(request):
    return request.param


@pytest.fixture
def client(way, addresses):
    with Client(addresses[way], "topics") as client:
        yield client


def logits_of(classifier, texts):
    model, tokenizer = classifier
    inputs = data.encode(tf.constant(texts), tokenizer, LENGTH)
    return model.predict(inputs, verbose=0)


@pytest.mark.ci
def test_predictions_are_those_of_the_model(client, classifier):
    outputs = client.predict(TEXTS)
    logits = logits_of(classifier, TEXTS)
    assert set(outputs) == {"logits", "probabilities", "label"}
    assert outputs["logits"].dtype == np.float32
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(
        outputs["probabilities"], tf.nn.softmax(logits), atol=1e-5
    )
    expected = [CLASSES[i] for i in logits.argmax(-1)]
    assert outputs["label"].tolist() == expected


def test_classes_and_scores_are_those_of_the_model(client, classifier):
    outputs = client.predict({"text": TEXTS}, signature="classify")
    logits = logits_of(classifier, TEXTS)
    assert outputs["classes"].tolist() == [list(CLASSES)] * 3
    np.testing.assert_allclose(
        outputs["scores"], tf.nn.softmax(logits), atol=1e-5
    )


def test_token_ids_go_in_by_name(client, classifier):
    _, tokenizer = classifier
    encoded = data.encode(tf.constant(TEXTS), tokenizer, LENGTH)
    # Lists of Python's integers, where the signature takes int32.
    inputs = {name: ids.numpy().tolist() for name, ids in encoded.items()}
    outputs = client.predict(inputs, signature="ids")
    logits = logits_of(classifier, TEXTS)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)


def test_a_single_output_has_its_name(client):
    outputs = client.predict(TEXTS, signature="embed")
    assert set(outputs) == {"embedding"}
    assert outputs["embedding"].shape == (3, 32)


def test_awkward_texts_are_texts(client, classifier):
    texts = ["", "naïve 東京 🙂 \0 end", "word " * 40_000, "x" * 300_000]
    logits = logits_of(classifier, texts)
    np.testing.assert_allclose(
        client.predict(texts)["logits"], logits, atol=1e-5
    )


def test_bytes_that_are_no_utf8_arrive_as_they_are(client):
    raw = b"the cat \xff\xfe sat"
    # As the command line has them.
    surrogates = raw.decode("utf-8", "surrogateescape")
    first, second, clean = client.predict([raw, surrogates, "the cat sat"])[
        "logits"
    ]
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
    with pytest.raises(UsageError, match="Received: '.ud800'"):
        client.predict(["\ud800"])


def test_metadata_and_status(client):
    signatures = client.metadata()
    assert set(signatures) == {"serving_default", "ids", "classify", "embed"}
    assert signatures["classify"].method == "tensorflow/serving/classify"
    embedding = signatures["embed"].outputs["embedding"]
    assert (embedding.dtype, embedding.shape) == ("float32", (None, 32))
    assert signatures["ids"].inputs["token_ids"].shape == (None, None)
    (status,) = client.status()
    assert (status.version, status.state, status.error) == (1, "AVAILABLE", "")


@pytest.mark.parametrize("which", [{"version": 1}, {"label": "stable"}])
def test_a_version_goes_by_number_or_label(which, way, addresses):
    with Client(addresses[way], "topics", **which) as client:
        assert len(client.predict(TEXTS)["label"]) == 3


@pytest.mark.parametrize(
    "model, which",
    [("topic", {}), ("topics", {"version": 2}), ("topics", {"label": "c"})],
)
def test_what_is_not_served_is_said_and_not_tried_again(
    model, which, way, addresses, served
):
    with Client(addresses[way], model, **which) as client:
        with pytest.raises(UsageError, match="Servable not found") as caught:
            client.predict(TEXTS)
        assert repr(model) in str(caught.value)
    assert len(served.requests) == 1


@pytest.mark.parametrize(
    "inputs, signature, message",
    [
        ([1, 2], "serving_default", "string"),
        ({"text": [1.5]}, "serving_default", "string"),
        ({"sentence": TEXTS}, "classify", "text"),
        ({"text": [1, 2]}, "classify", "text"),
    ],
)
def test_the_server_says_what_is_wrong_with_inputs(
    inputs, signature, message, client, served
):
    with pytest.raises(UsageError, match=f"refused: .*{message}"):
        client.predict(inputs, signature)
    assert len(served.requests) == 2  # The metadata, and one try.


@pytest.mark.parametrize(
    "inputs, signature, message",
    [
        (TEXTS, "clasify", "classify, embed, ids, serving_default. Received"),
        (TEXTS, "ids", "padding_mask, segment_ids, token_ids"),
        (TEXTS, "classify", "features by name.*Received: rows=list"),
        ({"text": "one text"}, "classify", "Received: rows={'text': None}"),
        ({"token_ids": [[1], [1, 2]]}, "ids", "of different lengths"),
        ({"token_ids": [1, 2]}, "ids", r"\(any, any\).*shape=\(2,\)"),
        ("one text", "serving_default", r"\(any\).*shape=\(\)"),
        ({"texts": TEXTS}, "serving_default", "inputs text. Received: texts"),
        ({"text": np.array("a")}, "classify", "Received: rows={'text': None}"),
    ],
)
def test_mistakes_are_named_before_they_are_sent(
    inputs, signature, message, client, served
):
    with pytest.raises(UsageError, match=message):
        client.predict(inputs, signature)
    assert len(served.requests) == 1


def test_an_overloaded_server_is_asked_again(client, way, served):
    client.metadata()
    served.troubles += [UNAVAILABLE[way]] * 2
    assert len(client.predict(TEXTS)["label"]) == 3
    assert len(served.requests) == 4


def test_the_last_failure_is_told(client, way, served):
    client.metadata()
    served.troubles += [UNAVAILABLE[way]] * 3
    with pytest.raises(ServingError, match="not now"):
        client.predict(TEXTS)
    assert len(served.requests) == 4
    assert not served.troubles


def test_other_failures_are_not_tried_again(client, way, served):
    client.metadata()
    internal = {"rest": 500, "grpc": grpc.StatusCode.INTERNAL}
    served.troubles += [internal[way]]
    with pytest.raises(ServingError, match="failed .*: not now"):
        client.predict(TEXTS)
    assert len(served.requests) == 2


def test_a_slow_server_is_given_up_and_asked_again(way, addresses, served):
    with Client(addresses[way], "topics") as patient:
        patient.predict(TEXTS)  # The first call takes its time.
    with Client(addresses[way], "topics", timeout=0.7, retries=1) as client:
        client.metadata()
        served.troubles += [1.5, 1.5]
        start = time.perf_counter()
        with pytest.raises(ServingError, match="No answer within 0.7 s"):
            client.predict(TEXTS)
        assert 1.4 <= time.perf_counter() - start < 2.1
        served.troubles[:] = [1.5]
        assert len(client.predict(TEXTS)["label"]) == 3


def test_nobody_there_is_one_clear_line(way):
    with socket.socket() as taken:  # Bound, but it does not listen.
        taken.bind(("127.0.0.1", 0))
        scheme = {"rest": "http", "grpc": "grpc"}[way]
        url = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        with (
            Client(url, "topics", retries=1) as client,
            pytest.raises(ServingError, match=r"(?i)connection refused"),
        ):
            client.status()


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[1]", b"\xff", b'{"predictions": 1}', b'{"outputs": [1, 2]}'],
)
def test_answers_of_another_kind_are_told(answer, addresses, served):
    client = Client(addresses["rest"], "topics")
    client.metadata()
    served.troubles += [answer]
    with pytest.raises(ServingError, match="TF Serving"):
        client.predict(TEXTS)
    assert len(served.requests) == 2


@pytest.mark.parametrize(
    "answer", [b"{}", b'{"metadata": {"signature_def": {"signature_def": 3}}}']
)
def test_metadata_of_another_kind_are_told(answer, addresses, served):
    served.troubles += [answer]
    with pytest.raises(ServingError, match="Received: "):
        Client(addresses["rest"], "topics").metadata()


@contextlib.contextmanager
def both_ways(model):
    with (
        rest_server(model) as rest,
        grpc_server(model) as remote,
        Client(rest, model.name) as one,
        Client(remote, model.name) as other,
    ):
        yield one, other


def test_images_may_be_uint8(tmp_path):
    model = models.cnn((8, 8, 1), 3, filters=(4,))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), "uint8")
    signatures = model_signatures(model, class_names=CLASSES)
    write_saved_model(signatures, tmp_path / "1")
    logits = model.predict(images, verbose=0)
    with both_ways(Model("fashion", str(tmp_path / "1"))) as clients:
        for client in clients:
            outputs = client.predict(images)
            np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
            (name,) = client.metadata()["serving_default"].inputs
            floats = {name: images.astype("float32")}
            outputs = client.predict(floats, signature="classify")
            np.testing.assert_allclose(
                outputs["scores"], tf.nn.softmax(logits), atol=1e-5
            )
            # TensorFlow's convolution would end the server at this rank.
            with pytest.raises(UsageError, match=r"\(any, 8, 8, 1\)"):
                client.predict(images[..., 0])


def test_values_are_regressed(tmp_path):
    model = models.rnn((5, 2), 1, units=(4,))
    x = np.random.default_rng(0).normal(size=(4, 5, 2)).astype("float32")
    signatures = model_signatures(model, task="regression")
    write_saved_model(signatures, tmp_path / "1")
    expected = model.predict(x, verbose=0).ravel()
    with both_ways(Model("values", str(tmp_path / "1"))) as clients:
        for client in clients:
            (name,) = client.metadata()["serving_default"].inputs
            outputs = client.predict({name: x}, signature="regress")
            np.testing.assert_allclose(outputs["outputs"], expected, atol=1e-5)
            # A single output, and no name in the answer.
            (values,) = client.predict(x).values()
            np.testing.assert_allclose(values.ravel(), expected, atol=1e-5)


def test_requests_are_those_of_tf_servings_documentation(addresses, served):
    Client(addresses["rest"], "topics", label="stable").predict(TEXTS[:1])
    (verb, path, _), (_, _, body) = served.requests
    assert (verb, path) == ("GET", "/v1/models/topics/labels/stable/metadata")
    assert served.requests[1][1] == "/v1/models/topics/labels/stable:predict"
    assert json.loads(body) == {
        "signature_name": "serving_default",
        "inputs": {"text": TEXTS[:1]},
    }
