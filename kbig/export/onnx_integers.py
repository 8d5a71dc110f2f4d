"""Rules that store the weights of a quantized model as integers.

What the tensors between layers are rounded to is in the graph already. The
weights are floats that lie on a grid; which one it is can be read off them.
"""

import numpy as np
import onnx

from kbig.export.onnx_graph import Graph
from kbig.export.onnx_graph import matches
from kbig.export.onnx_graph import new_node

# Steps from zero to the largest magnitude: of 8 bits, and of 4.
_STEPS = (127, 7)
# How far from a multiple of its step float32 may put a weight, in steps.
_SLACK = 1e-3
# The axis of the outputs in the kernel of an operator.
_CHANNELS = {"MatMul": 1, "Conv": 0, "ConvTranspose": 1}
# What gives values that it was given.
_MOVES = (
    "Expand",
    "Gather",
    "Reshape",
    "Slice",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_LARGEST_BIAS = 2**31 - 1


def find_grid(
    weight: np.ndarray, axis: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Finds the integers that a rounded weight consists of.

    Args:
        weight: float32, any shape.
        axis: whose entries may each have a step of their own.

    Returns:
        The integers, int8, and the steps, float32: one for each entry of the
        axis, or one for all, `()`. None when the weight is on no grid.

    Example:
    ```python
    find_grid(np.array([[0.5, -127.0], [63.5, 3.0]], "float32"), axis=1)
    # [[1, -127], [127, 3]], [0.5, 1]
    ```
    """
    others = tuple(a for a in range(weight.ndim) if a != axis)
    for steps in _STEPS:
        for axes in (others, tuple(range(weight.ndim))):
            largest = np.abs(weight).max(axes, keepdims=True)
            # All zero is on every grid.
            scale = np.where(largest > 0, largest, 1).astype(np.float32) / steps
            integers = np.round(weight / scale)
            if np.abs(weight / scale - integers).max() <= _SLACK:
                shape = (-1,) if axes == others else ()
                return integers.astype(np.int8), scale.reshape(shape)
    return None


def released(graph: Graph, node: onnx.NodeProto):
    """Drops a one that keeps the converter of LiteRT from fusing."""
    one = ("Cast", ("Equal", "first", "first"))
    found = next(matches(graph, node.output[0], ("Mul", "x", one)), None)
    if found is None:
        return None
    return [new_node("Identity", [found["x"]], node.output)]


def rounded_constants(graph: Graph, node: onnx.NodeProto):
    """Rounds a table rather than the rows that are taken from it."""
    if node.op_type != "QuantizeLinear":
        return None
    moves = _moves_of_constant(graph, node.input[0])
    scale, zero_point = (graph.constant(name) for name in node.input[1:3])
    if not moves or scale is None or zero_point is None:
        return None
    table = graph.constant(moves[0].input[0])
    name = graph.add(_rounded(table, scale, zero_point), moves[0].input[0])
    made = []
    for move in moves:
        copy = _changed(move, {0: name})
        name = copy.output[0] = graph.new_name(move.output[0])
        made.append(copy)
    made[-1].output[0] = node.output[0]
    return made


def _rounded(value, scale, zero_point) -> np.ndarray:
    limits = np.iinfo(zero_point.dtype)
    integers = np.round(value / scale) + zero_point.astype(np.float32)
    return np.clip(integers, limits.min, limits.max).astype(zero_point.dtype)


def _moves_of_constant(graph, name) -> list[onnx.NodeProto]:
    """The moves from a constant to a tensor, in their order."""
    moves = []
    node = graph.producer(name)
    while node is not None and node.op_type in _MOVES:
        moves.insert(0, node)
        if graph.constant(node.input[0]) is not None:
            return moves
        node = graph.producer(node.input[0])
    return []


def integer_layers(graph: Graph, node: onnx.NodeProto):
    """A product of matrices and its bias as one operator of integers."""
    pattern = ("Add", ("MatMul", "x", "kernel"), "bias")
    found = next(matches(graph, node.output[0], pattern), None)
    if found is None or graph.rank(found["x"]) != 2:
        return None
    x, bias = found["x"], graph.constant(found["bias"])
    kernel = _integers(graph, found["kernel"], axis=1)
    if kernel is None or bias is None:
        return None
    name, scale, size = kernel
    bias = _bias(graph, x, found["bias"], scale, size)
    if bias is None:
        return None
    return [new_node("Gemm", [x, name, bias], node.output)]


def integer_weights(graph: Graph, node: onnx.NodeProto):
    """A weight as integers and what makes floats of them again."""
    if node.op_type not in _CHANNELS:
        return None
    kernel = _integers(graph, node.input[1], _CHANNELS[node.op_type])
    if kernel is None:
        return None
    name, scale, size = kernel
    inputs = {1: name}
    if len(node.input) > 2:
        bias = _bias(graph, node.input[0], node.input[2], scale, size)
        inputs[2] = bias or node.input[2]
    return [_changed(node, inputs)]


def _changed(node, inputs) -> onnx.NodeProto:
    """A copy of a node that reads something else."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for index, name in inputs.items():
        copy.input[index] = name
    return copy


def _integers(graph, name, axis):
    """The floats that integers are made to, their steps, and how many."""
    value = graph.constant(name)
    if value is None or value.dtype != np.float32 or value.ndim < 2:
        return None
    made, size = f"{name}__{axis}_dequantized", value.shape[axis]
    existing = graph.producer(made)
    if existing is not None:  # Steps of a loop share a weight.
        return made, graph.constant(existing.input[1]), size
    grid = find_grid(value, axis)
    if grid is None:
        return None
    integers, scale = grid
    inputs = [
        graph.add(integers, f"{name}_int8"),
        graph.add(scale, f"{name}_scale"),
        graph.add(np.zeros(scale.shape, np.int8), f"{name}_zero_point"),
    ]
    axes = {"axis": axis} if scale.ndim else {}
    graph.begin_with(new_node("DequantizeLinear", inputs, [made], **axes))
    return made, scale, size


def _bias(graph, x, name, scale, size) -> str | None:
    """A bias in the steps of the products, where it has them."""
    value, step = graph.constant(name), _step(graph, x)
    if value is None or step is None or value.shape != (size,):
        return None
    steps = np.broadcast_to(scale * step, (size,)).astype(np.float32)
    integers = np.round(value.astype(np.float64) / steps)
    if np.abs(integers).max() > _LARGEST_BIAS:
        return None
    made = graph.new_name(name)
    inputs = [
        graph.add(integers.astype(np.int32), f"{name}_int32"),
        graph.add(steps.copy(), f"{name}_scale"),
    ]
    graph.begin_with(new_node("DequantizeLinear", inputs, [made], axis=0))
    return made


def _step(graph, name) -> np.ndarray | None:
    """The step of a tensor's grid, found behind what only moves it."""
    node = graph.producer(name)
    while node is not None and node.op_type in _MOVES:
        node = graph.producer(node.input[0])
    if node is None or node.op_type != "DequantizeLinear":
        return None
    return graph.constant(node.input[1])
