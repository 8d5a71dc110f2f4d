"""Requests that a server with batching cannot compute together."""

import grpc
import numpy as np
import pytest

from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.serving import Client
from kbig.serving import retries
from tests.serving.tf_serving import RefusedError
from tests.text_models import TEXTS

# Of `BatchingSession::MergeInputTensors`.
UNMERGEABLE = (
    "Tensors with name 'ids_token_ids:0' from different tasks have different "
    "shapes and padding is turned off. Set pad_variable_length_inputs to true, "
    "or ensure that all tensors with the same name have equal dimensions "
    "starting with the first dim."
)
CODES = [
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
]


@pytest.fixture(params=[0, 1], ids=["rest", "grpc"])
def client(request, topics, monkeypatch):
    monkeypatch.setattr(retries, "_FIRST", 0.01)
    topics.model.troubles.clear()
    with Client(topics.urls[request.param], topics.job.name) as client:
        client.metadata()
        topics.model.requests.clear()
        yield client


@pytest.mark.parametrize("code", CODES)
def test_rows_that_met_longer_ones_are_sent_again(code, client, topics):
    inputs = topics.encoded(TEXTS)
    topics.model.troubles += [RefusedError(UNMERGEABLE, code)] * 2
    given = {name: value.numpy() for name, value in inputs.items()}
    outputs = client.predict(given, "ids")
    logits = topics.logits(inputs)
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4)
    assert len(topics.model.requests) == 3


def test_rows_that_never_fit_are_a_failure_of_the_server(client, topics):
    topics.model.troubles += [RefusedError(UNMERGEABLE, CODES[0])] * 3
    with pytest.raises(ServingError, match="lengths differ: Tensors with"):
        client.predict(TEXTS)
    assert len(topics.model.requests) == 3


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "message", ["Input is empty.", "padding is turned off"]
)
def test_other_refusals_are_not_sent_again(code, message, client, topics):
    topics.model.troubles += [RefusedError(message, code)]
    with pytest.raises(UsageError, match=f"refused: {message}"):
        client.predict(TEXTS)
    assert len(topics.model.requests) == 1
