"""LiteRT (TFLite) files that need nothing but the builtin ops of a phone."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from kbig.compression.quantization.model import is_quantized
from kbig.errors import GateError
from kbig.export import processes
from kbig.export.integers import check_integers
from kbig.export.litert_file import foreign_ops
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import Signature
from kbig.export.signatures import model_signatures
from kbig.models.layers import unrolled

_CONVERTER = pathlib.Path(__file__).with_name("convert_litert.py")


def write_litert(
    model: keras.Model,
    file: pathlib.Path,
    mode: str,
    samples: Mapping[str, np.ndarray],
    representative: Mapping[str, np.ndarray] | None = None,
    integer_io: bool = False,
) -> None:
    """Converts a float32 model to a .tflite file of batch 1, unverified.

    The conversion runs in a process of its own: the converter can crash.

    Args:
        model: a built model in float32.
        file: where to.
        mode: `float32`, `float16` (weights in half the bytes), `dynamic`
            (int8 weights, activations quantized while it runs) or `int8`.
        samples: arrays by input name; their shapes fix the dimensions that
            the model leaves free.
        representative: likewise, from which the ranges of a float model are
            read for `int8`; a quantized one has its own.
        integer_io: of `int8`: its inputs and outputs are integers, too.

    Raises:
        GateError: it does not convert, not in time, or not to builtin ops
            only; or in `int8` some compute in float that need not.
    """
    saved_model = file.with_suffix(".saved_model")
    with _for_mode(model, mode):
        (signature,) = model_signatures(model)
        write_saved_model([_of_batch_one(signature, samples)], saved_model)
    rows = _written(representative, file.with_suffix(".npz"))
    _convert(saved_model, file, "int8_io" if integer_io else mode, rows)
    if mode == "int8":
        check_integers(file, _ends_in_float(model))
    foreign = foreign_ops(file.read_bytes())
    if foreign:
        raise GateError(
            f"{file.name} would need ops that a plain LiteRT interpreter "
            f"does not have: {', '.join(foreign)}. Replace the layers that "
            "make them, or export a SavedModel."
        )


def _for_mode(model: keras.Model, mode: str):
    """How a model is traced."""
    if is_quantized(model):
        return model.as_integers()
    return unrolled(model) if mode == "int8" else contextlib.nullcontext()


def _ends_in_float(model: keras.Model) -> bool:
    return is_quantized(model) and model.quantization.plan.float_outputs


def _written(representative, file) -> list[pathlib.Path]:
    if representative is None:
        return []
    np.savez(file, **representative)
    return [file]


def _of_batch_one(signature: Signature, samples) -> Signature:
    """Fixes every dimension: what a phone allocates once."""
    inputs = {
        name: tf.TensorSpec((1, *samples[name].shape[1:]), spec.dtype, name)
        for name, spec in signature.inputs.items()
    }
    return dataclasses.replace(signature, inputs=inputs)


def _convert(saved_model, file, mode, rows=()) -> None:
    arguments = [saved_model, file, mode, *rows]
    processes.convert(_CONVERTER, arguments, file.name)
