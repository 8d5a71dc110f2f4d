"""What is inside a .tflite file: its operators and its weights."""

from collections.abc import Iterator

from ai_edge_litert import schema_py_generated as schema

from kbig.inspection.litert_schema import operator_name

# Builtin by name, but no plain interpreter shares variables.
_RESOURCE_OPS = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
# Bytes of the smallest tensor that counts: not a shape, not a scalar.
_WEIGHT_BYTES = 64


def foreign_ops(content: bytes) -> list[str]:
    """Names the operators that a plain LiteRT interpreter does not have.

    Args:
        content: of a .tflite file.

    Returns:
        Custom operators (those of TensorFlow begin with `Flex`) and those
        on resource variables, sorted.
    """
    model = schema.Model.GetRootAsModel(content, 0)
    found = set()
    for index in range(model.OperatorCodesLength()):
        operator = model.OperatorCodes(index)
        name = operator_name(operator)
        if name == "CUSTOM":
            found.add(operator.CustomCode().decode())
        elif name in _RESOURCE_OPS:
            found.add(name)
    return sorted(found)


def weights_dtype(content: bytes) -> str:
    """Tells what the weights are stored as.

    Args:
        content: of a .tflite file.

    Returns:
        `int8` or `float16` when a constant is, in any subgraph; otherwise
        `float32`.
    """
    model = schema.Model.GetRootAsModel(content, 0)
    stored = {tensor.Type() for tensor in _constants(model)}
    if schema.TensorType.INT8 in stored:
        return "int8"
    return "float16" if schema.TensorType.FLOAT16 in stored else "float32"


def _constants(model) -> Iterator:
    """Tensors with data, of loop bodies too."""
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for position in range(graph.TensorsLength()):
            tensor = graph.Tensors(position)
            buffer = model.Buffers(tensor.Buffer())
            # Of files above 2 GB they lie behind the flatbuffer.
            if max(buffer.DataLength(), buffer.Size()) >= _WEIGHT_BYTES:
                yield tensor
