"""Run as a script: SavedModel in, .onnx out.

A process of its own, because the converter changes TensorFlow for the whole
process, and can end it.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf
import tf2onnx
from onnx import TensorProto
from tf2onnx import optimizer


def convert(saved_model: str, opset: str) -> bytes:
    """Converts the default signature of a SavedModel.

    Args:
        saved_model: its folder.
        opset: of the standard operators.

    Returns:
        The bytes of the .onnx file. Operators that the converter does not
        know are in it under TensorFlow's names.
    """
    # It moves a Reshape between integers, where no rule of kbig finds it.
    optimizer._get_optimizers().pop("q_dq_optimizer", None)
    loaded = tf.saved_model.load(saved_model)
    signature = loaded.signatures["serving_default"]
    specs = signature.structured_input_signature[1]

    @tf.function(input_signature=[specs])
    def function(feeds):
        return signature(**feeds)

    model, _ = tf2onnx.convert.from_function(
        function,
        input_signature=[specs],
        opset=int(opset),
        custom_op_handlers={
            "Erfc": (_erfc, []),
            "SelectV2": (_where, []),
            "FakeQuantWithMinMaxVars": (_fake_quantize, []),
        },
    )
    return model.SerializeToString()


def _erfc(context, node, name, args) -> None:
    """1 - Erf: there is no complement in ONNX."""
    dtype = context.get_dtype(node.output[0])
    shape = context.get_shape(node.output[0])
    one = context.make_const(f"{name}_one", np.float32(1).reshape(()))
    inputs, outputs = list(node.input), list(node.output)
    context.remove_node(node.name)
    erf = context.make_node("Erf", inputs, shapes=[shape], dtypes=[dtype])
    context.make_node(
        "Sub",
        [one.output[0], erf.output[0]],
        outputs=outputs,
        shapes=[shape],
        dtypes=[dtype],
    )


def _where(context, node, name, args) -> None:
    """As it is: the converter would multiply by 0, of which NaN stays NaN."""
    node.type = "Where"


def _fake_quantize(context, node, name, args) -> None:
    """To uint8 and back, by the grid that TensorFlow makes of the bounds."""
    low, high = (x.get_tensor_value() for x in node.inputs[1:3])
    scale, zero_point = grid(low, high)
    shape = context.get_shape(node.output[0])
    parameters = [
        context.make_const(f"{name}_scale", scale).output[0],
        context.make_const(f"{name}_zero_point", zero_point).output[0],
    ]
    given, outputs = node.input[0], list(node.output)
    context.remove_node(node.name)
    quantized = context.make_node(
        "QuantizeLinear",
        [given, *parameters],
        shapes=[shape],
        dtypes=[TensorProto.UINT8],
    )
    context.make_node(
        "DequantizeLinear",
        [quantized.output[0], *parameters],
        outputs=outputs,
        shapes=[shape],
        dtypes=[TensorProto.FLOAT],
    )


def grid(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The grid of uint8 whose bounds TensorFlow moves so that zero is on it.

    Args:
        low: at most 0.
        high: at least 0, above `low`.

    Returns:
        Its step, float32, and the integer of zero, uint8.
    """
    scale = (np.float32(high) - np.float32(low)) / np.float32(255)
    zero_point = np.round(-np.float32(low) / scale)
    return scale, np.clip(zero_point, 0, 255).astype(np.uint8)


def main() -> None:
    """Converts `argv[1]` to `argv[2]` in the opset `argv[3]`."""
    saved_model, file, opset = sys.argv[1:]
    pathlib.Path(file).write_bytes(convert(saved_model, opset))


if __name__ == "__main__":
    main()
