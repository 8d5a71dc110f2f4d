"""TF Serving's gRPC."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import ServingError
from kbig.errors import UsageError
from kbig.serving.examples import as_bytes
from kbig.serving.examples import example_of
from kbig.serving.protos import proto
from kbig.serving.retries import PassingError
from kbig.serving.retries import unmerged
from kbig.serving.signatures import SignatureInfo
from kbig.serving.target import Target

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Retries are counted and delayed by the client alone.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.enable_http_proxy", 0),
)
_PASSING = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
_REFUSALS = (
    "NOT_FOUND",
    "INVALID_ARGUMENT",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
)


class GrpcCalls:
    """All requests over one channel.

    Args:
        target: the model.
        timeout: seconds for a whole call.

    Raises:
        UsageError: TF Serving's messages are not installed.
    """

    def __init__(self, target: Target, timeout: float):
        service = proto("prediction_service_pb2_grpc")
        import grpc

        self._target = target
        self._timeout = timeout
        self._error = grpc.RpcError
        address = target.url.removeprefix("grpc://")
        self._channel = grpc.insecure_channel(address, _OPTIONS)
        self._service = service.PredictionServiceStub(self._channel)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def status(self) -> Mapping:
        """How the versions of the model are, as JSON."""
        from google.protobuf import json_format

        request = proto("get_model_status_pb2").GetModelStatusRequest()
        service = proto("model_service_pb2_grpc").ModelServiceStub(
            self._channel
        )
        answer = self._call(service.GetModelStatus, request)
        return json_format.MessageToDict(
            answer, preserving_proto_field_name=True
        )

    def metadata(self) -> Mapping:
        """A `SignatureDefMap`, as JSON."""
        from google.protobuf import json_format

        protos = proto("get_model_metadata_pb2")
        request = protos.GetModelMetadataRequest(
            metadata_field=["signature_def"]
        )
        answer = self._call(self._service.GetModelMetadata, request)
        signatures = protos.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        return json_format.MessageToDict(
            signatures, preserving_proto_field_name=True
        )

    def predict(
        self, signature: SignatureInfo, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Calls Predict with columns."""
        import tensorflow as tf

        request = proto("predict_pb2").PredictRequest()
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(_tensor_proto(array))
        answer = self._call(self._service.Predict, request, signature)
        return {
            name: _texts(tf.make_ndarray(tensor))
            for name, tensor in answer.outputs.items()
        }

    def classify(
        self, signature: SignatureInfo, examples: Sequence[Mapping]
    ) -> dict[str, np.ndarray]:
        """Calls Classify with rows."""
        request = proto("classification_pb2").ClassificationRequest()
        request.input.example_list.examples.extend(map(example_of, examples))
        answer = self._call(self._service.Classify, request, signature)
        rows = [row.classes for row in answer.result.classifications]
        classes = [[pair.label for pair in row] for row in rows]
        scores = [[pair.score for pair in row] for row in rows]
        return {
            "classes": np.array(classes, dtype=object),
            "scores": np.array(scores, dtype="float32"),
        }

    def regress(
        self, signature: SignatureInfo, examples: Sequence[Mapping]
    ) -> dict[str, np.ndarray]:
        """Calls Regress with rows."""
        request = proto("regression_pb2").RegressionRequest()
        request.input.example_list.examples.extend(map(example_of, examples))
        answer = self._call(self._service.Regress, request, signature)
        values = [row.value for row in answer.result.regressions]
        return {"outputs": np.array(values, dtype="float32")}

    def _call(self, method, request, signature: SignatureInfo | None = None):
        spec = request.model_spec
        spec.name = self._target.model
        if self._target.version is not None:
            spec.version.value = self._target.version
        if self._target.label is not None:
            spec.version_label = self._target.label
        if signature is not None:
            spec.signature_name = signature.name
        try:
            return method(request, timeout=self._timeout)
        except self._error as error:
            raise self._translated(error) from error

    def _translated(self, error) -> Exception:
        code, details = error.code().name, error.details() or ""
        if code == "DEADLINE_EXCEEDED":
            return PassingError(
                f"No answer within {self._timeout:g} s from {self._target}."
            )
        if code in _PASSING:
            return PassingError(f"Cannot reach {self._target}: {details}")
        if code in _REFUSALS:
            return unmerged(self._target, details) or UsageError(
                f"Request for {self._target} was refused: {details}"
            )
        return ServingError(
            f"The server of {self._target} failed ({code}): {details}"
        )


def _tensor_proto(array: np.ndarray):
    import tensorflow as tf

    if array.dtype.kind not in "OMm":
        return tf.make_tensor_proto(array)
    flat = [as_bytes(text) for text in array.ravel()]
    return tf.make_tensor_proto(flat, dtype=tf.string, shape=array.shape)


def _texts(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "O":
        return array
    texts = np.empty(array.size, object)
    texts[:] = [text.decode("utf-8", "replace") for text in array.ravel()]
    return texts.reshape(array.shape)
