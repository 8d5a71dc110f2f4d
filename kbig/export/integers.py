"""Which operations of a .tflite file compute in integers, and which do not."""

import dataclasses
import pathlib

from ai_edge_litert import schema_py_generated as schema

from kbig.compression.quantization.modes import ISLAND
from kbig.errors import GateError
from kbig.inspection.litert_schema import DTYPES
from kbig.inspection.litert_schema import operator_name

_FLOATS = ("float16", "float32", "float64", "bfloat16")
# What dynamic int8 computes in float, or in both.
_ARITHMETIC = (
    "ADD",
    "BATCH_MATMUL",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "MEAN",
    "MUL",
    "SUB",
    "TRANSPOSE_CONV",
)
# Where numbers change from the one kind to the other.
_BORDERS = ("QUANTIZE", "DEQUANTIZE", "CAST")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of a file.

    Args:
        name: of the operator, as "CONV_2D".
        inputs: dtypes of its inputs.
        outputs: dtypes of its outputs.
        tensor: name of its first output.
        is_last: that is an output of the file, whose name is its own.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensor: str
    is_last: bool

    @property
    def is_float(self) -> bool:
        """Whether it computes in float."""
        dtypes = {*self.inputs, *self.outputs}
        return self.name not in _BORDERS and bool(dtypes & {*_FLOATS})

    @property
    def is_declared(self) -> bool:
        """Whether it lies in an island that its model has in float."""
        return ISLAND in self.tensor


def operations(content: bytes) -> list[Operation]:
    """Lists what a file computes.

    Args:
        content: of a .tflite file.

    Returns:
        The operations of all its graphs, in their order.
    """
    model = schema.Model.GetRootAsModel(content, 0)
    found = []
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        last = {*graph.OutputsAsNumpy()}
        for position in range(graph.OperatorsLength()):
            operator = graph.Operators(position)
            inputs = _tensors(graph, operator.InputsAsNumpy())
            outputs = _tensors(graph, operator.OutputsAsNumpy())
            code = model.OperatorCodes(operator.OpcodeIndex())
            found.append(
                Operation(
                    operator_name(code),
                    tuple(DTYPES[x.Type()] for x in inputs),
                    tuple(DTYPES[x.Type()] for x in outputs),
                    outputs[0].Name().decode() if outputs else "",
                    bool(last & {*operator.OutputsAsNumpy()}),
                )
            )
    return found


def integer_dtype(content: bytes) -> str | None:
    """Tells in what integers a file computes, and does not only store.

    Args:
        content: of a .tflite file.

    Returns:
        `int8` or `int16` when arithmetic takes and gives that, None when it
        takes or gives floats.
    """
    arithmetic = [x for x in operations(content) if x.name in _ARITHMETIC]
    for dtype in ("int8", "int16"):
        if any(dtype in x.inputs and dtype in x.outputs for x in arithmetic):
            return dtype
    return None


def check_integers(file: pathlib.Path, float_outputs: bool = False) -> None:
    """Makes sure that nothing computes in float that need not.

    Args:
        file: a .tflite file.
        float_outputs: the model ends in an island.

    Raises:
        GateError: something does.
    """
    undeclared = [
        x
        for x in operations(file.read_bytes())
        if x.is_float
        and not x.is_declared
        and not (x.is_last and float_outputs)
    ]
    if undeclared:
        names = ", ".join(f"{x.name} ({x.tensor})" for x in undeclared[:5])
        raise GateError(
            f"{file.name} would compute in float where it should in int8: "
            f"{len(undeclared)} operations, as {names}. Leave their layers in "
            "float with skip=[...] of `kbig.compression.quantize_aware`."
        )


def _tensors(graph, numbers) -> list:
    """Optional inputs that are left out have the number -1."""
    if isinstance(numbers, int):  # None at all.
        return []
    return [graph.Tensors(int(number)) for number in numbers if number >= 0]
