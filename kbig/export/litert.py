"""LiteRT (TFLite) files that need nothing but the builtin ops of a phone."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kbig.compression.quantization.model import is_quantized
from kbig.errors import GateError
from kbig.export import processes
from kbig.export.convertible import convertible
from kbig.export.integers import check_integers
from kbig.export.lengths import shortened
from kbig.export.lengths import signature_of
from kbig.export.litert_file import foreign_ops
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import Signature
from kbig.export.signatures import model_signatures
from kbig.export.weight_only import LEAST_NUMBERS
from kbig.export.weight_only import weights_in_int8

# Modes that compute in integers throughout.
INTEGER_MODES = ("int8", "int16")
# Dimensions that a file may leave to its callers.
FREE = ("batch", "length")
# What the converter makes of a mode that it does not have itself.
_CONVERTED_AS = {"int8-weights": "float32"}
_CONVERTER = pathlib.Path(__file__).with_name("convert_litert.py")


def write_litert(
    model: keras.Model,
    file: pathlib.Path,
    mode: str,
    samples: Mapping[str, np.ndarray],
    representative: Mapping[str, np.ndarray] | None = None,
    integer_io: bool = False,
    free: Sequence[str] = (),
    pixels: bool = False,
    lengths: Sequence[int] = (),
) -> None:
    """Converts a float32 model to a .tflite file, unverified.

    The conversion runs in a process of its own: the converter can crash.

    Args:
        model: a built model in float32.
        file: where to.
        mode: `float32`, `float16` (weights in half the bytes), `dynamic`
            (int8 weights, activations quantized while it runs), `int8`,
            `int8-weights` (it computes in float) or `int16` (int8 weights,
            int16 between operations).
        samples: arrays by input name; their shapes fix the dimensions that
            the model leaves free.
        representative: likewise, from which the ranges of a float model are
            read for integers; a quantized one has its own.
        integer_io: of `int8`: its inputs and outputs are integers, too.
        free: what is left free all the same, among `FREE`.
        pixels: whether floats that the model takes are given as uint8.
        lengths: of shorter rows that signatures of their own are for.

    Raises:
        GateError: it does not convert, not in time, or not to builtin ops
            only; in `int8` some compute in float that need not; it has no
            weights to round.
    """
    saved_model = file.with_suffix(".saved_model")
    with _for_mode(model, mode):
        (signature,) = model_signatures(model, pixels=pixels)
        signatures = [fixed(signature, samples, free)]
        for length in lengths:
            shorter = shortened(model, samples, length)
            one = fixed(signature, shorter, free)
            name = signature_of(length)
            signatures.append(dataclasses.replace(one, name=name))
        write_saved_model(signatures, saved_model)
    rows = _written(representative, file.with_suffix(".npz"))
    keys = ",".join(x.name for x in signatures)
    converted = _CONVERTED_AS.get(mode, mode)
    mode_of_converter = "int8_io" if integer_io else converted
    _convert(saved_model, file, mode_of_converter, rows, keys)
    if mode == "int8-weights":
        _round_weights(file)
    if mode in INTEGER_MODES:
        check_integers(file, _ends_in_float(model))
    foreign = foreign_ops(file.read_bytes())
    if foreign:
        raise GateError(
            f"{file.name} would need ops that a plain LiteRT interpreter "
            f"does not have: {', '.join(foreign)}. Replace the layers that "
            "make them, or export a SavedModel."
        )


def write_reference(
    model: keras.Model,
    folder: pathlib.Path,
    samples: Mapping[str, np.ndarray],
    modes: Sequence[str],
) -> list[pathlib.Path]:
    """Writes what an int8 file is compared with: the same without rounding.

    Args:
        model: quantized, or the float model of a file by representative rows.
        folder: where to.
        samples: arrays by input name, for their shapes.
        modes: `float32`, and `dynamic` beside it.

    Returns:
        A file for each mode.

    Raises:
        GateError: one does not convert, or not in time.
    """
    saved_model = folder / "reference.saved_model"
    quantized = is_quantized(model)
    in_float = model.as_floats() if quantized else convertible(model)
    with in_float:
        (signature,) = model_signatures(model)
        write_saved_model([fixed(signature, samples)], saved_model)
    files = [folder / f"{mode}.tflite" for mode in modes]
    for file, mode in zip(files, modes):
        _convert(saved_model, file, mode)
    return files


def _for_mode(model: keras.Model, mode: str):
    """How a model is traced."""
    if is_quantized(model):
        return model.as_integers()
    in_integers = mode in INTEGER_MODES
    return convertible(model) if in_integers else contextlib.nullcontext()


def _round_weights(file: pathlib.Path) -> None:
    content, rounded = weights_in_int8(file.read_bytes())
    if not rounded:
        raise GateError(
            f"{file.name} has no weights to round: those of less than "
            f"{LEAST_NUMBERS:,} numbers, and those that a loop is handed, stay "
            "in float. Use mode float32."
        )
    file.write_bytes(content)


def _ends_in_float(model: keras.Model) -> bool:
    return is_quantized(model) and model.quantization.plan.float_outputs


def _written(representative, file) -> pathlib.Path | str:
    """The file of the rows, an empty name where there are none."""
    if representative is None:
        return ""
    np.savez(file, **representative)
    return file


def fixed(signature: Signature, samples, free=()) -> Signature:
    """Fixes dimensions: what a phone allocates once.

    Args:
        signature: of a model.
        samples: arrays by input name.
        free: what to leave free, among `FREE`.

    Returns:
        The signature with batch 1 and the shapes of the samples.
    """
    inputs = {
        name: tf.TensorSpec(
            _shape(spec.shape, samples[name].shape, free), spec.dtype, name
        )
        for name, spec in signature.inputs.items()
    }
    return dataclasses.replace(signature, inputs=inputs)


def _shape(spec, given, free) -> tuple[int | None, ...]:
    batch = None if "batch" in free else 1
    if "length" in free:
        return batch, *spec[1:]
    return batch, *given[1:]


def _convert(saved_model, file, mode, *options) -> None:
    arguments = [saved_model, file, mode, *options]
    processes.convert(_CONVERTER, arguments, file.name)
