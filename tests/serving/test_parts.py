"""Addresses, waiting, dtypes and examples, without a server."""

import numpy as np
import pytest

from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.serving import Client
from kbig.serving import protos
from kbig.serving import retries
from kbig.serving.examples import example_of
from kbig.serving.rest import RestCalls
from kbig.serving.signatures import TensorInfo
from kbig.serving.signatures import as_tensor
from kbig.serving.target import target_of


@pytest.mark.parametrize(
    "url, expected",
    [
        ("http://host", "http://host:8501"),
        ("http://host:80/", "http://host:80"),
        ("https://host/tf/", "https://host:443/tf"),
        ("grpc://[::1]", "grpc://[::1]:8500"),
    ],
)
def test_an_address_has_the_port_of_its_protocol(url, expected):
    assert target_of(url, "m").url == expected


def test_a_resource_is_quoted():
    target = target_of("http://h/tf", "a/b c", label="x/y")
    assert target.resource == "/tf/v1/models/a%2Fb%20c/labels/x%2Fy"
    assert target_of("http://h", "m", 3).resource == "/v1/models/m/versions/3"


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        (("host:8501", "m"), {}, "url='host:8501'"),
        (("ftp://host", "m"), {}, "grpc://host:8500"),
        (("http://host:port", "m"), {}, "url="),
        (("http://host:99999", "m"), {}, "url="),
        (("http://host?x=1", "m"), {}, "url="),
        (("grpc://host/path", "m"), {}, "url="),
        (("http://host/a b", "m"), {}, "url="),
        (("http://host", ""), {}, "model=''"),
        (("http://h", "m"), {"version": 1, "label": "a"}, "not both"),
        (("http://h", "m"), {"version": 0}, "from 1"),
        (("http://h", "m"), {"timeout": 0}, "timeout=0"),
        (("http://h", "m"), {"timeout": float("nan")}, "timeout=nan"),
        (("http://h", "m"), {"timeout": float("inf")}, "timeout=inf"),
        (("http://h", "m"), {"retries": -1}, "retries=-1"),
    ],
)
def test_mistakes_are_named(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        Client(*arguments, **options)


def test_waits_double_up_to_a_bound_and_are_jittered():
    longest = retries.waits(8, jitter=lambda: 1.0)
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])
    assert retries.waits(2000, jitter=lambda: 1.0)[-1] == 5
    shortest = retries.waits(8, jitter=lambda: 0.0)
    assert shortest == pytest.approx([wait / 2 for wait in longest])


class Swapped:
    """Calls of a server whose model was replaced after the first answer."""

    def __init__(self, *outputs):
        self.outputs = list(outputs)

    def metadata(self):
        info = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}]}}
        signature = {
            "method_name": "tensorflow/serving/predict",
            "inputs": {"x": info},
            "outputs": dict.fromkeys(self.outputs[0], info),
        }
        return {"signature_def": {"serving_default": signature}}

    def predict(self, signature, inputs):
        if {*signature.outputs} != self.outputs[0]:
            raise ServingError("not what TF Serving gives")
        return dict.fromkeys(signature.outputs, inputs["x"])


def test_a_model_that_was_replaced_is_asked_anew():
    client = Client("http://host", "m")
    client._calls = Swapped({"logits"}, {"logits", "label"})
    assert set(client.predict([1.0])) == {"logits"}
    del client._calls.outputs[0]
    with pytest.raises(ServingError, match="not what"):
        client.predict([1.0])
    assert set(client.predict([1.0])) == {"logits", "label"}


def test_an_answer_that_is_no_base64_is_told():
    calls = RestCalls(target_of("http://h", "m"), 1.0)
    with pytest.raises(ServingError, match="not what TF Serving gives"):
        calls._array({"logits": [1.0]}, None)


@pytest.mark.parametrize("failures, calls", [(0, 1), (2, 3), (3, 4)])
def test_tries_are_counted(failures, calls):
    made, slept = [], []

    def call():
        made.append(1)
        if len(made) <= failures:
            raise retries.PassingError("not now")
        return "done"

    assert retries.with_retries(call, 3, slept.append) == "done"
    assert (len(made), len(slept)) == (calls, failures)


def test_what_does_not_pass_is_raised_at_once():
    def call():
        raise UsageError("no")

    with pytest.raises(UsageError):
        retries.with_retries(call, 3, pytest.fail)


@pytest.mark.parametrize(
    "value, wanted, dtype",
    [
        ([1, 2], "float32", "float32"),
        ([1.5], "float32", "float32"),
        ([1, 2], "int32", "int32"),
        ([255], "uint8", "uint8"),
        # What would lose something is left to the server's judgement.
        ([256], "uint8", "int64"),
        ([2**40], "int32", "int64"),
        ([1.5], "int32", "float64"),
        ([7e4], "float16", "float64"),
        ([True], "int32", "bool"),
        ([], "int32", "int32"),
        (["a"], "float32", "object"),
        ([1], "object", "int64"),
        ([1], None, "int64"),
    ],
)
def test_dtypes_are_converted_without_loss(value, wanted, dtype):
    info = TensorInfo(wanted, (None,)) if wanted else None
    array = as_tensor(value, info)
    assert array.dtype == dtype
    assert array.tolist() == value


def test_an_example_holds_each_kind():
    row = {"t": "é\0", "b": b"\xff", "f": np.float32(1.5), "i": [[1], [2]]}
    features = example_of(row).features.feature
    assert list(features["t"].bytes_list.value) == ["é\0".encode()]
    assert list(features["b"].bytes_list.value) == [b"\xff"]
    assert list(features["f"].float_list.value) == [1.5]
    assert list(features["i"].int64_list.value) == [1, 2]
    with pytest.raises(UsageError, match="Received: None"):
        example_of({"t": None})


def test_grpc_without_its_messages_says_what_to_install(monkeypatch):
    monkeypatch.setattr(protos, "has_protos", lambda: False)
    with pytest.raises(UsageError, match=r"kbig\[serving\]"):
        Client("grpc://host", "m")
