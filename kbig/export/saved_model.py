"""SavedModel for TF Serving: named signatures, weights stored once."""

import pathlib
from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow.python.saved_model import fingerprinting_utils

from kbig.export.signature import Signature


def write_saved_model(
    signatures: Sequence[Signature],
    folder: pathlib.Path,
    track=(),
    assets: Sequence[pathlib.Path] = (),
) -> None:
    """Writes signatures as a SavedModel, unverified.

    Endpoints track the variables that they use. Tracking the model as well
    would store every weight twice.

    Args:
        signatures: what to write; one of them is named `serving_default`.
        folder: where to.
        track: objects that hold lookup tables; None among them is ignored.
        assets: files to copy into `assets/`, under their names.
    """
    archive = keras.export.ExportArchive()
    # `track` passes over everything but tables, so files go where tables do.
    archive._tf_trackable.files = [
        tf.saved_model.Asset(str(file)) for file in assets
    ]
    for resource in track:
        if resource is not None:
            archive.track(resource)
    for signature in signatures:
        archive.add_endpoint(
            signature.name,
            _positional(signature),
            input_signature=list(signature.inputs.values()),
        )
    archive.write_out(str(folder), verbose=False)
    _set_methods(signatures, folder)


def _set_methods(signatures: Sequence[Signature], folder) -> None:
    """Says which call each signature answers.

    TensorFlow 2 writes Predict for all, and TF Serving refuses to classify
    or regress by such a one.
    """
    predict = tf.saved_model.PREDICT_METHOD_NAME
    others = [s for s in signatures if s.method != predict]
    if not others:
        return
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
        str(folder)
    )
    for signature in others:
        updater.replace_method_name(signature.name, signature.method)
    updater.save()
    # What Keras wrote beside it is of the file that was there before.
    fingerprinting_utils.write_fingerprint(str(folder))


def _positional(signature: Signature):
    """A function of tensors in order; the specs carry their names."""

    def call(*tensors):
        return signature.function(**dict(zip(signature.inputs, tensors)))

    return call
