"""A small TF Serving of the tests' own: its paths, its messages, its errors.

It loads a real SavedModel with TensorFlow. What it says and refuses follows
TF Serving's code: `json_tensor.cc`, `classifier.cc`, `regressor.cc`.
"""

import base64
import contextlib
import dataclasses
import http.server
import json
import re
import threading
import time
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.python.saved_model import loader_impl
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis import regression_pb2

_PATH = re.compile(
    r"(?P<prefix>.*)/v1/models/(?P<model>[^/:]+)"
    r"(/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
    r"(:(?P<verb>predict|classify|regress)|(?P<metadata>/metadata))?"
)
_STATUS = {
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.INTERNAL: 500,
}


class RefusedError(Exception):
    def __init__(self, message, code=grpc.StatusCode.INVALID_ARGUMENT):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class Model:
    """What both protocols serve: one model under one name, one version."""

    name: str
    path: str
    version: int = 1
    labels: tuple = ("stable",)
    # What the next requests meet: an HTTP status, raw bytes, seconds, or a
    # refusal.
    troubles: list = dataclasses.field(default_factory=list)
    requests: list = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self._loaded = tf.saved_model.load(self.path)
        graph = loader_impl.parse_saved_model(self.path).meta_graphs[0]
        self.signature_defs = dict(graph.signature_def)

    def check(self, model, version, label):
        known = version in (0, None, self.version)
        if model == self.name and known and label in ("", None, *self.labels):
            return
        version = f"Specific({model}, {version})" if version else "Latest"
        raise RefusedError(
            f"Servable not found for request: {version}({model})",
            grpc.StatusCode.NOT_FOUND,
        )

    def signature(self, name, method=None):
        if name not in self.signature_defs:
            raise RefusedError(
                f'Serving signature name: "{name}" not found in signature def'
            )
        signature = self.signature_defs[name]
        if method and signature.method_name != method:
            raise RefusedError(
                f"Expected {method} signature. Was: {signature.method_name}"
            )
        return signature

    def run(self, name, tensors):
        given, wanted = set(tensors), set(self.signature(name).inputs)
        if given != wanted:
            raise RefusedError(
                "input size does not match signature: "
                f"{len(given)}!={len(wanted)} len({given}) != len({wanted})"
            )
        for key, tensor in tensors.items():
            expected = tf.as_dtype(self.signature(name).inputs[key].dtype)
            if tensor.dtype != expected:
                raise RefusedError(
                    f"Expects arg[0] to be {expected.name} but "
                    f"{tensor.dtype.name} is provided"
                )
        try:
            outputs = self._loaded.signatures[name](**tensors)
        except (tf.errors.OpError, TypeError) as error:
            raise RefusedError(" ".join(str(error).split())) from error
        return {key: value.numpy() for key, value in outputs.items()}

    def classify(self, name, examples):
        self.signature(name, tf.saved_model.CLASSIFY_METHOD_NAME)
        outputs = self.run(name, _serialized(examples))
        return [
            [(label.decode(), float(score)) for label, score in zip(*row)]
            for row in zip(outputs["classes"], outputs["scores"])
        ]

    def regress(self, name, examples):
        self.signature(name, tf.saved_model.REGRESS_METHOD_NAME)
        (values,) = self.run(name, _serialized(examples)).values()
        assert values.ndim == 1 or values.shape[1:] == (1,)
        return [float(value) for value in values.ravel()]

    def status(self):
        response = get_model_status_pb2.GetModelStatusResponse()
        entry = response.model_version_status.add()
        entry.version = self.version
        entry.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return response

    def metadata(self):
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in self.signature_defs.items():
            signatures.signature_def[name].CopyFrom(signature)
        return signatures


def _serialized(examples):
    if not examples:
        raise RefusedError("Input is empty.")
    serialized = [example.SerializeToString() for example in examples]
    return {"inputs": tf.constant(serialized)}


# REST


def _answer(model, path, body):
    """What a request gives, as JSON."""
    found = _PATH.fullmatch(path)
    if not found:
        raise RefusedError(f"Malformed request: POST {path}")
    version = found["version"] and int(found["version"])
    model.check(found["model"], version, found["label"])
    if found["metadata"]:
        definitions = json_format.MessageToDict(
            model.metadata(),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
        spec = {"name": model.name, "version": str(model.version)}
        metadata = {"signature_def": definitions}
        return {"model_spec": spec, "metadata": metadata}
    if not found["verb"]:
        return json_format.MessageToDict(
            model.status(),
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
        )
    request = json.loads(body)
    signature = request.get("signature_name", "serving_default")
    if found["verb"] != "predict":
        examples = [_example(row) for row in request["examples"]]
        method = getattr(model, found["verb"])
        return {"results": method(signature, examples)}
    inputs = model.signature(signature).inputs
    tensors = {
        name: _tensor(value, inputs[name]) if name in inputs else value
        for name, value in request["inputs"].items()
    }
    given = model.run(signature, tensors)
    outputs = {name: _listed(value) for name, value in given.items()}
    if len(outputs) == 1:
        (outputs,) = outputs.values()
    return {"outputs": outputs}


def _tensor(value, info):
    dtype = tf.as_dtype(info.dtype)
    leaves = tf.nest.flatten(_unpacked(value))
    for leaf in leaves:
        is_text = isinstance(leaf, (str, bytes))
        outside = dtype.is_integer and not _is_whole(leaf, dtype)
        if is_text != (dtype == tf.string) or outside:
            raise RefusedError(
                f"JSON Value: {json.dumps(leaf, default=str)} is not of "
                f"expected type: {dtype.name}"
            )
    try:
        return tf.constant(_unpacked(value), dtype)
    except (ValueError, TypeError) as error:
        raise RefusedError("Encountered list at unexpected size") from error


def _is_whole(value, dtype):
    return isinstance(value, int) and dtype.min <= value <= dtype.max


def _unpacked(value):
    """Base64 as bytes."""
    if isinstance(value, list):
        return [_unpacked(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return value


def _example(row):
    """As `MakeExampleFromJsonObject`: flat lists only, ints stay ints."""
    example = tf.train.Example()
    for name, value in row.items():
        values = _unpacked(value if isinstance(value, list) else [value])
        feature = example.features.feature[name]
        if all(isinstance(v, (str, bytes)) for v in values):
            texts = [v.encode() if isinstance(v, str) else v for v in values]
            feature.bytes_list.value.extend(texts)
        elif all(type(v) is int and _is_whole(v, tf.int64) for v in values):
            feature.int64_list.value.extend(values)
        elif all(isinstance(v, float) for v in values):
            feature.float_list.value.extend(values)
        else:
            raise RefusedError(f"Unexpected element type in feature: {name}")
    return example


def _listed(array):
    if array.dtype.kind != "O":
        return array.tolist()
    return np.vectorize(lambda text: text.decode(), otypes="O")(array).tolist()


class _Handler(http.server.BaseHTTPRequestHandler):
    model = None

    def log_message(self, *_):
        pass

    def do_GET(self):  # noqa: N802 (the name that http.server calls)
        self.do_POST()

    def do_POST(self):  # noqa: N802
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.model.requests.append((self.command, self.path, body))
        trouble = self.model.troubles.pop(0) if self.model.troubles else None
        if isinstance(trouble, float):
            time.sleep(trouble)
        if isinstance(trouble, bytes):
            self._send(200, trouble)
        elif isinstance(trouble, int):
            self._send(trouble, json.dumps({"error": "not now"}).encode())
        else:
            self._send(*self._answered(body, trouble))

    def _answered(self, body, trouble):
        try:
            if isinstance(trouble, RefusedError):
                raise trouble
            answer = _answer(self.model, self.path, body)
            return 200, json.dumps(answer).encode()
        except RefusedError as error:
            message = json.dumps({"error": str(error)}).encode()
            return _STATUS[error.code], message

    def _send(self, status, content):
        with contextlib.suppress(OSError):  # The client may have left.
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)


@contextlib.contextmanager
def rest_server(model):
    """Yields the address of a server of the model."""
    handler = type("Handler", (_Handler,), {"model": model})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# gRPC


class _Service(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, model):
        self.model = model

    def Predict(self, request, context):  # noqa: N802 (names of the service)
        def answer(name):
            response = predict_pb2.PredictResponse()
            tensors = {
                key: tf.constant(tf.make_ndarray(value))
                for key, value in request.inputs.items()
            }
            for key, value in self.model.run(name, tensors).items():
                tensor = tf.make_tensor_proto(value)
                response.outputs[key].CopyFrom(tensor)
            return response

        return self._call(request, context, answer)

    def Classify(self, request, context):  # noqa: N802
        def answer(name):
            response = classification_pb2.ClassificationResponse()
            examples = request.input.example_list.examples
            for row in self.model.classify(name, examples):
                classes = response.result.classifications.add().classes
                for label, score in row:
                    classes.add(label=label, score=score)
            return response

        return self._call(request, context, answer)

    def Regress(self, request, context):  # noqa: N802
        def answer(name):
            response = regression_pb2.RegressionResponse()
            examples = request.input.example_list.examples
            for value in self.model.regress(name, examples):
                response.result.regressions.add(value=value)
            return response

        return self._call(request, context, answer)

    def GetModelMetadata(self, request, context):  # noqa: N802
        def answer(_):
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.metadata["signature_def"].Pack(self.model.metadata())
            return response

        return self._call(request, context, answer)

    def GetModelStatus(self, request, context):  # noqa: N802
        return self._call(request, context, lambda _: self.model.status())

    def _call(self, request, context, answer):
        self.model.requests.append(type(request).__name__)
        trouble = self.model.troubles.pop(0) if self.model.troubles else None
        if isinstance(trouble, float):
            time.sleep(trouble)
        if isinstance(trouble, grpc.StatusCode):
            context.abort(trouble, "not now")
        spec = request.model_spec
        try:
            if isinstance(trouble, RefusedError):
                raise trouble
            self.model.check(spec.name, spec.version.value, spec.version_label)
            return answer(spec.signature_name or "serving_default")
        except RefusedError as error:
            context.abort(error.code, str(error))


@contextlib.contextmanager
def grpc_server(model):
    """Yields the address of a server of the model."""
    server = grpc.server(
        futures.ThreadPoolExecutor(4),
        options=[("grpc.max_receive_message_length", -1)],
    )
    service = _Service(model)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        service, server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
