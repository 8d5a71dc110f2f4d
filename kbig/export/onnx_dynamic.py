"""int8 weights, and activations that are quantized while a file runs."""

import logging

import numpy as np
import onnx

from kbig.export.onnx_graph import Graph
from kbig.export.onnx_graph import attribute
from kbig.export.onnx_graph import new_node
from kbig.export.rounding import rounded_weight
from kbig.writing import scratch

# onnxruntime has no kernel that multiplies int8 weights of a convolution by
# activations quantized on the way.
_STORED = ("Conv", "ConvTranspose")
_COMPUTED = ("MatMul", "LSTM")


def quantized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rounds the weights of what onnxruntime multiplies in integers.

    Products within the body of a loop stay in float: onnxruntime ends the
    process of who opens a file in which they are not.

    Args:
        model: in float.

    Returns:
        Another model.
    """
    from onnxruntime import quantization

    with scratch() as folder:
        file = folder / "quantized.onnx"
        root = logging.getLogger()
        level = root.level
        # It asks to be given models that its own tool has prepared.
        root.setLevel(logging.ERROR)
        try:
            quantization.quantize_dynamic(
                model,
                file,
                op_types_to_quantize=list(_COMPUTED),
                per_channel=True,
                weight_type=quantization.QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        finally:
            root.setLevel(level)
        return onnx.load(file)


def stored_kernels(graph: Graph, node: onnx.NodeProto):
    """A convolution computes in float with a kernel stored in int8."""
    kernel = graph.constant(node.input[1]) if node.op_type in _STORED else None
    if kernel is None or kernel.dtype != np.float32:
        return None
    axis = 0 if node.op_type == "Conv" else 1
    integers, scale = rounded_weight(kernel, axis)
    name = node.input[1]
    inputs = [
        graph.add(integers, f"{name}_int8"),
        graph.add(scale, f"{name}_scale"),
    ]
    made = graph.new_name(name)
    changed = onnx.NodeProto()
    changed.CopyFrom(node)
    changed.input[1] = made
    return [new_node("DequantizeLinear", inputs, [made], axis=axis), changed]


def stored_tables(graph: Graph, node: onnx.NodeProto):
    """Rows of a table are taken in int8.

    A DequantizeLinear behind them would end the process of onnxruntime where
    a loop follows.
    """
    table = graph.constant(node.input[0]) if node.op_type == "Gather" else None
    if table is None or table.dtype != np.float32 or table.ndim != 2:
        return None
    if attribute(node, "axis", 0) != 0:
        return None
    integers, scale = rounded_weight(table, 1)
    name = node.input[0]
    rows, floats = graph.new_name(name), graph.new_name(name)
    table = graph.add(integers, f"{name}_int8")
    scale = graph.add(scale, f"{name}_scale")
    to = onnx.TensorProto.FLOAT
    return [
        new_node("Gather", [table, node.input[1]], [rows]),
        new_node("Cast", [rows], [floats], to=to),
        new_node("Mul", [floats, scale], node.output),
    ]
