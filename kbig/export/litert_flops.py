"""Floating point operations of a .tflite file: what a runtime computes."""

import math
import os
import pathlib

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbig.inspection.litert_schema import operator_name


def litert_flops(path: str | os.PathLike) -> int | None:
    """Counts the operations of matrix products and convolutions.

    A multiplication and an addition are two. Zeros count as other numbers,
    as they do for the runtime. What is computed element by element, looked
    up or moved does not count.

    Args:
        path: a .tflite file.

    Returns:
        Floating point operations of one call; None where the length of a
        loop is not a constant.

    Example:
    ```python
    kbig.export.litert(kbig.models.mlp((4,), 3, (8,)), "m.tflite")
    litert_flops("m.tflite")  # 112
    ```
    """
    content = pathlib.Path(path).read_bytes()
    return _of_graph(schema.Model.GetRootAsModel(content, 0), 0)


class _Operator:
    """One operator, with the shapes that it works on."""

    def __init__(self, model, graph, operator):
        self._model, self._graph, self._operator = model, graph, operator
        self.name = operator_name(model.OperatorCodes(operator.OpcodeIndex()))

    def input(self, index: int) -> tuple[int, ...]:
        """Shape of an input."""
        return self._shape(self._operator.Inputs(index))

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the output."""
        return self._shape(self._operator.Outputs(0))

    def constants(self) -> list[int]:
        """Values of the inputs that are constant integers."""
        found = []
        for index in self._operator.InputsAsNumpy():
            tensor = self._graph.Tensors(index)
            buffer = self._model.Buffers(tensor.Buffer())
            if buffer.DataLength() == 4:
                found.append(int(buffer.DataAsNumpy().view(np.int32)[0]))
        return found

    def options(self, kind):
        """The options of its kind."""
        options = kind()
        table = self._operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options

    def _shape(self, index) -> tuple[int, ...]:
        tensor = self._graph.Tensors(index)
        if tensor.ShapeLength() == 0:
            return ()
        return tuple(map(int, tensor.ShapeAsNumpy()))


def _fully_connected(operator) -> int:
    return math.prod(operator.output) * operator.input(1)[-1]


def _convolution(operator) -> int:
    return math.prod(operator.output) * math.prod(operator.input(1)[1:])


def _convolution_3d(operator) -> int:
    # Filters (depth, height, width, inputs, outputs), unlike in two.
    return math.prod(operator.output) * math.prod(operator.input(1)[:-1])


def _depthwise(operator) -> int:
    return math.prod(operator.output) * math.prod(operator.input(1)[1:3])


def _transposed(operator) -> int:
    # Shape of the output, filters (outputs, height, width, inputs), images.
    return math.prod(operator.input(2)) * math.prod(operator.input(1)[:3])


def _batch_matmul(operator) -> int:
    is_transposed = operator.options(schema.BatchMatMulOptions).AdjX()
    inner = operator.input(0)[-2 if is_transposed else -1]
    return math.prod(operator.output) * inner


# Multiplications, each with an addition.
_PRODUCTS = {
    "FULLY_CONNECTED": _fully_connected,
    "CONV_2D": _convolution,
    "CONV_3D": _convolution_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transposed,
    "BATCH_MATMUL": _batch_matmul,
}


def _of_graph(model, index: int) -> int | None:
    total = 0
    for operator in _operators(model, index):
        if operator.name == "WHILE":
            flops = _of_loop(model, operator)
        else:
            products = _PRODUCTS.get(operator.name, lambda operator: 0)
            flops = 2 * products(operator)
        if flops is None:
            return None
        total += flops
    return total


def _of_loop(model, operator) -> int | None:
    """Of a loop over so many steps, as Keras's recurrent layers make them."""
    options = operator.options(schema.WhileOptions)
    limits = [
        limit
        for condition in _operators(model, options.CondSubgraphIndex())
        if condition.name == "LESS"
        for limit in condition.constants()
    ]
    body = _of_graph(model, options.BodySubgraphIndex())
    return min(limits) * body if limits and body is not None else None


def _operators(model, index: int) -> list[_Operator]:
    graph = model.Subgraphs(index)
    return [
        _Operator(model, graph, graph.Operators(position))
        for position in range(graph.OperatorsLength())
    ]
