"""Requests that TF Serving runs before it says that a model is ready.

The first call of each signature prepares its kernels and takes many times
as long as the next; without these requests a client would wait for it.
"""

import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kbig.export.served_checks import feeds_of
from kbig.export.served_checks import with_examples
from kbig.export.signature import Signature
from kbig.serving import protos

EXTRA_ASSETS = "assets.extra"
# Where TF Serving looks for them in a SavedModel.
WARMUP_FILE = f"{EXTRA_ASSETS}/tf_serving_warmup_requests"
# Rows of a request, of each signature: one, and a batch.
ROWS = (1, 8)


def warmup_note() -> str:
    """Says that warm-up requests are left out, and why; or nothing."""
    if protos.has_protos():
        return ""
    return (
        f"SavedModel without warm-up requests: {protos.PACKAGE} is not "
        f"installed ({protos.REMEDY})."
    )


def write_warmup(
    signatures: Sequence[Signature],
    model: keras.Model,
    samples: Mapping[str, np.ndarray],
    folder: pathlib.Path,
    name: str,
) -> None:
    """Writes requests for every signature into a SavedModel.

    Args:
        signatures: of the SavedModel.
        model: that they call.
        samples: arrays by input name, `(rows, ...)`.
        folder: of the SavedModel.
        name: of the served model.

    Raises:
        UsageError: TF Serving's messages are not installed.
    """
    file = folder / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    first = {key: value[: max(ROWS)] for key, value in samples.items()}
    samples = with_examples(first, model, [s.name for s in signatures])
    with tf.io.TFRecordWriter(str(file)) as writer:
        for signature in signatures:
            feeds = feeds_of(signature.name, signature.inputs, samples)
            available = len(next(iter(feeds.values())))
            for rows in sorted({min(n, available) for n in ROWS}):
                batch = {
                    key: _taken(value[:rows], signature.inputs[key].dtype)
                    for key, value in feeds.items()
                }
                log = _LOGS[signature.method](batch)
                _request_of(log).model_spec.name = name
                _request_of(log).model_spec.signature_name = signature.name
                writer.write(log.SerializeToString())


def _taken(value: np.ndarray, dtype: tf.DType) -> np.ndarray:
    return value.astype("uint8") if dtype == tf.uint8 else value


def _request_of(log):
    return getattr(log, log.WhichOneof("log_type")).request


def _predict_log(batch: Mapping):
    log = protos.proto("prediction_log_pb2").PredictionLog()
    for name, value in batch.items():
        tensor = tf.make_tensor_proto(tf.constant(value))
        log.predict_log.request.inputs[name].CopyFrom(tensor)
    return log


def _classify_log(batch: Mapping):
    log = protos.proto("prediction_log_pb2").PredictionLog()
    _add_examples(log.classify_log.request, batch)
    return log


def _regress_log(batch: Mapping):
    log = protos.proto("prediction_log_pb2").PredictionLog()
    _add_examples(log.regress_log.request, batch)
    return log


def _add_examples(request, batch: Mapping) -> None:
    (serialized,) = batch.values()
    examples = map(tf.train.Example.FromString, serialized)
    request.input.example_list.examples.extend(examples)


_LOGS = {
    tf.saved_model.PREDICT_METHOD_NAME: _predict_log,
    tf.saved_model.CLASSIFY_METHOD_NAME: _classify_log,
    tf.saved_model.REGRESS_METHOD_NAME: _regress_log,
}
