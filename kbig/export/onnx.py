"""ONNX files that need nothing but the operators of onnxruntime."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping

import keras
import numpy as np
import onnx
import tensorflow as tf

from kbig.compression.quantization.model import is_quantized
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export import onnx_dynamic
from kbig.export import onnx_fusions
from kbig.export import onnx_integers
from kbig.export import onnx_rewrites
from kbig.export import processes
from kbig.export.onnx_file import foreign_operators
from kbig.export.onnx_file import name_axes
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import Signature
from kbig.export.signatures import model_signatures

_CONVERTER = pathlib.Path(__file__).with_name("convert_onnx.py")
# LayerNormalization came with the first; tf2onnx knows none after the last.
OPSETS = (17, 18)


@dataclasses.dataclass(frozen=True)
class _Mode:
    """How the graph of a model is changed, rule by rule, and then at once."""

    rules: tuple[Callable, ...]
    finish: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda model: model


_ALWAYS = (
    onnx_rewrites.constants,
    onnx_fusions.layer_normalizations,
    onnx_rewrites.matrix_products,
    onnx_rewrites.dense_layers,
    onnx_fusions.transposed_products,
    onnx_fusions.masked_softmax,
)
_MODES = {
    "float32": _Mode(_ALWAYS),
    "dynamic": _Mode(
        (*_ALWAYS, onnx_dynamic.stored_kernels, onnx_dynamic.stored_tables),
        onnx_dynamic.quantized,
    ),
    "int8": _Mode(
        (
            onnx_integers.released,
            *_ALWAYS,
            onnx_integers.rounded_constants,
            onnx_integers.integer_layers,
            onnx_integers.integer_weights,
        )
    ),
}
ONNX_MODES = tuple(_MODES)


def write_onnx(
    model: keras.Model,
    file: pathlib.Path,
    mode: str,
    samples: Mapping[str, np.ndarray],
    opset: int = OPSETS[0],
) -> None:
    """Converts a float32 model to an .onnx file of any batch, unverified.

    The conversion runs in a process of its own: the converter changes
    TensorFlow for the whole process, and can crash.

    Args:
        model: a built model in float32.
        file: where to.
        mode: `float32`, `dynamic` (int8 weights, activations quantized while
            it runs) or `int8` (of a quantized model).
        samples: arrays by input name; their shapes fix what a recurrent
            model leaves free in mode `int8`, where its loops are unrolled.
        opset: one of `OPSETS`.

    Raises:
        UsageError: the mode does not fit the model, or nothing is known of
            the opset.
        GateError: it does not convert, not in time, or to operators that
            onnxruntime does not have.
    """
    check_mode(model, mode)
    check_opset(opset)
    saved_model = file.with_name(f"{file.name}.saved_model")
    with _for_mode(model):
        (signature,) = model_signatures(model)
        if is_quantized(model) and _is_recurrent(model):
            signature = _of_fixed_steps(signature, samples)
        write_saved_model([signature], saved_model)
    arguments = [saved_model, file, str(opset)]
    processes.convert(_CONVERTER, arguments, file.name)
    found = onnx.load(file)
    _require_operators(found, file.name)
    name_axes(found)
    onnx_rewrites.rewrite(found, _MODES[mode].rules)
    found = _MODES[mode].finish(found)
    _require_operators(found, file.name)
    _require_valid(found, file.name)
    onnx.save(found, file)


def check_mode(model: keras.Model, mode: str) -> None:
    """Integers need a model that was trained for them.

    Args:
        model: to export.
        mode: one of `ONNX_MODES`.

    Raises:
        UsageError: they do not fit.
    """
    quantized = is_quantized(model)
    if mode == "int8" and not quantized:
        raise UsageError(
            "int8 in ONNX needs the ranges that a model was trained with. "
            "Received: a float model. Pass what "
            "`kbig.compression.quantize_aware` makes of it, or take the mode "
            "dynamic."
        )
    if mode != "int8" and quantized:
        raise UsageError(
            f"A quantized model is written in mode int8. Received: {mode}. "
            "Export the model that it was made of."
        )


def check_opset(opset: int) -> None:
    """Raises a UsageError unless there is a converter to the opset."""
    if opset not in OPSETS:
        raise UsageError(
            f"Expected an opset among {', '.join(map(str, OPSETS))}. "
            f"Received: opset={opset!r}."
        )


def _for_mode(model: keras.Model):
    """How a model is traced."""
    if is_quantized(model):
        return model.as_integers()
    return contextlib.nullcontext()


def _is_recurrent(model: keras.Model) -> bool:
    return any(hasattr(layer, "unroll") for layer in model._flatten_layers())


def _of_fixed_steps(signature: Signature, samples) -> Signature:
    """Fixes all but the batch: a loop of free length cannot be unrolled."""
    inputs = {
        name: tf.TensorSpec((None, *samples[name].shape[1:]), spec.dtype, name)
        for name, spec in signature.inputs.items()
    }
    return dataclasses.replace(signature, inputs=inputs)


def _require_operators(model: onnx.ModelProto, name: str) -> None:
    foreign = foreign_operators(model)
    if foreign:
        raise GateError(
            f"{name} would need operators that onnxruntime does not have: "
            f"{', '.join(foreign)}. Replace the layers that make them, or "
            "export a SavedModel."
        )


def _require_valid(model: onnx.ModelProto, name: str) -> None:
    with _as_gate_error(name):
        onnx.checker.check_model(model, full_check=True)


@contextlib.contextmanager
def _as_gate_error(name: str) -> Iterator[None]:
    try:
        yield
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
    ) as error:
        first = str(error).strip().partition("\n")[0]
        raise GateError(f"{name} is no valid ONNX file: {first}") from error
