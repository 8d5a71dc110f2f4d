"""SavedModel for TF Serving: named signatures, weights stored once."""

import pathlib
from collections.abc import Iterable

import keras

from kbig.export.signatures import Signature


def write_saved_model(
    signatures: Iterable[Signature], folder: pathlib.Path, track=()
) -> None:
    """Writes signatures as a SavedModel, unverified.

    Endpoints track the variables that they use. Tracking the model as well
    would store every weight twice.

    Args:
        signatures: what to write; one of them is named `serving_default`.
        folder: where to.
        track: objects that hold lookup tables; None among them is ignored.
    """
    archive = keras.export.ExportArchive()
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


def _positional(signature: Signature):
    """A function of tensors in order; the specs carry their names."""

    def call(*tensors):
        return signature.function(**dict(zip(signature.inputs, tensors)))

    return call
