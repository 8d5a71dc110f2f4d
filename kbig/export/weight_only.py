"""Weights of a .tflite file in int8, while it computes in float.

The converter has no such mode: its `dynamic` rounds activations too, where
there is a kernel for it. As with float16, a DEQUANTIZE operation before the
first layer turns each weight into float once, when the file is loaded.
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbig.export.rounding import rounded_weight
from kbig.inspection.litert_schema import operator_name

# Where weights are among the inputs, and the axis with a scale an entry.
_WEIGHTS = {
    "CONV_2D": (1, 0),
    "DEPTHWISE_CONV_2D": (1, 3),
    "FULLY_CONNECTED": (1, 0),
    "GATHER": (0, 0),
    "TRANSPOSE_CONV": (1, 0),
}
# As in the converter: what is smaller stays in float.
LEAST_NUMBERS = 1024
# The first version of the operation that knows a scale for each channel.
_DEQUANTIZE_VERSION = 5


def weights_in_int8(content: bytes) -> tuple[bytes, int]:
    """Rounds the weights of a file, each channel to a grid of its own.

    Args:
        content: of a float32 .tflite file.

    Returns:
        The content of the new file, and how many weights were rounded.
    """
    root = schema.Model.GetRootAsModel(content, 0)
    names = [
        operator_name(root.OperatorCodes(index))
        for index in range(root.OperatorCodesLength())
    ]
    model = schema.ModelT.InitFromObj(root)
    code = len(model.operatorCodes)
    made = {}
    rounded = sum(
        _round_graph(model, graph, names, code, made)
        for graph in model.subgraphs
    )
    if rounded:
        _clear_unused(model)
        model.operatorCodes.append(_dequantize_code())
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), rounded


def _round_graph(model, graph, names, code: int, made: dict) -> int:
    """Puts int8 tensors in front of the weights of one graph."""
    found = {}
    for operator in graph.operators:
        place, axis = _WEIGHTS.get(names[operator.opcodeIndex], (None, None))
        if place is not None and place < len(operator.inputs):
            number = int(operator.inputs[place])
            # The first to use a weight says which axis has the scales.
            if _is_weight(model, graph.tensors[number]):
                found.setdefault(number, axis)
    added = [
        _behind(model, graph, x, axis, code, made) for x, axis in found.items()
    ]
    graph.operators = added + graph.operators
    return len(added)


def _is_weight(model, tensor) -> bool:
    data = model.buffers[tensor.buffer].data
    return (
        tensor.type == schema.TensorType.FLOAT32
        and data is not None
        and len(data) >= 4 * LEAST_NUMBERS
    )


def _behind(model, graph, number: int, axis: int, code: int, made: dict):
    """Adds an int8 tensor, and the operation that makes the float one."""
    tensor = graph.tensors[number]
    # Graphs share their weights.
    key = tensor.buffer, axis, tuple(tensor.shape)
    if key not in made:
        made[key] = _rounded_buffer(model, tensor, axis)
    place, scale = made[key]
    stored = schema.TensorT()
    stored.name = tensor.name + b"_int8"
    stored.shape = tensor.shape
    stored.type = schema.TensorType.INT8
    stored.buffer = place
    stored.quantization = schema.QuantizationParametersT()
    stored.quantization.scale = scale
    stored.quantization.zeroPoint = np.zeros(len(scale), "int64")
    stored.quantization.quantizedDimension = axis
    graph.tensors.append(stored)
    tensor.buffer = 0
    operator = schema.OperatorT()
    operator.opcodeIndex = code
    operator.inputs = [len(graph.tensors) - 1]
    operator.outputs = [number]
    return operator


def _rounded_buffer(model, tensor, axis: int) -> tuple[int, np.ndarray]:
    """Adds the integers of a weight: where they are, and their scales."""
    data = np.frombuffer(bytes(model.buffers[tensor.buffer].data), "float32")
    weight, scale = rounded_weight(data.reshape(tensor.shape), axis)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(weight.tobytes(), "uint8")
    model.buffers.append(buffer)
    return len(model.buffers) - 1, scale


def _dequantize_code():
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.DEQUANTIZE
    code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = _DEQUANTIZE_VERSION
    return code


def _clear_unused(model) -> None:
    """Float numbers that no tensor has any more; places stay as they are."""
    used = {x.buffer for graph in model.subgraphs for x in graph.tensors}
    used |= {x.buffer for x in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
