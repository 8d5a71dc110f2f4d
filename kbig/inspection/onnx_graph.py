"""Reads an .onnx file: a protocol buffer, whose external data stay closed."""

import collections
import pathlib

import onnx

from kbig.inspection import description
from kbig.inspection.description import AssociatedFile
from kbig.inspection.description import BrokenFileError
from kbig.inspection.description import Description
from kbig.inspection.description import Signature
from kbig.inspection.description import Stored
from kbig.inspection.description import Tensor

_UNKNOWN = "?"
# Several values in each of theirs.
_SHARING_BYTES = ("int4", "uint4", "float4e2m1", "int2", "uint2")


def read(path: pathlib.Path) -> Description:
    """Reads an .onnx file.

    Args:
        path: of the file.

    Raises:
        BrokenFileError: it is none. Anything else may be raised as well.
    """
    model = onnx.ModelProto()
    model.ParseFromString(path.read_bytes())
    if not model.ir_version or not model.graph.output:
        raise BrokenFileError("it holds no graph with outputs")
    graphs = _graphs(model)
    stored, outside = _initializers(graphs)
    notes = []
    if outside:
        notes.append(
            "Some weights lie in other files, which were not opened: "
            f"{', '.join(sorted(outside))}."
        )
    operations, complete = _operations(model, graphs)
    if not complete:
        notes.append("Shapes do not follow from it, and so not all dtypes.")
    return Description(
        "ONNX",
        (_signature(model.graph),),
        operations,
        description.by_size(stored),
        _metadata(model),
        tuple(AssociatedFile(*x) for x in sorted(outside.items())),
        tuple(notes),
    )


def _signature(graph) -> Signature:
    weights = {x.name for x in graph.initializer}
    return Signature(
        graph.name,
        tuple(_tensor(x) for x in graph.input if x.name not in weights),
        tuple(map(_tensor, graph.output)),
    )


def _tensor(value) -> Tensor:
    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(
            x.dim_value if x.HasField("dim_value") else None
            for x in kind.shape.dim
        )
    return Tensor(value.name, _dtype(kind.elem_type), shape)


def _dtype(number: int) -> str:
    if number == onnx.TensorProto.UNDEFINED:
        return _UNKNOWN
    name = onnx.TensorProto.DataType.Name(number).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _graphs(model) -> list:
    """The graph, and those within its nodes."""
    found, waiting = [], [model.graph]
    while waiting:
        graph = waiting.pop()
        found.append(graph)
        for node in graph.node:
            for attribute in node.attribute:
                waiting += attribute.graphs
                if attribute.HasField("g"):
                    waiting.append(attribute.g)
    return found


def _operations(model, graphs) -> tuple[tuple, bool]:
    """By name and dtypes, and whether all of these are known."""
    complete = True
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
        graphs = _graphs(inferred)
    except (onnx.shape_inference.InferenceError, ValueError):
        complete = False
    dtypes = {"": None}
    for graph in graphs:
        for value in (*graph.input, *graph.value_info, *graph.output):
            dtypes[value.name] = _dtype(value.type.tensor_type.elem_type)
        for weight in graph.initializer:
            dtypes[weight.name] = _dtype(weight.data_type)
    found = collections.Counter(
        (_name(node), _arrow(node, dtypes), None)
        for holder in (*graphs, *model.functions)
        for node in holder.node
    )
    return description.counted(found), complete


def _name(node) -> str:
    if node.domain in ("", "ai.onnx"):
        return node.op_type
    return f"{node.domain}.{node.op_type}"


def _arrow(node, dtypes) -> str:
    took, gave = (
        ", ".join(
            dict.fromkeys(dtypes.get(name, _UNKNOWN) for name in names if name)
        )
        for names in (node.input, node.output)
    )
    return took if took == gave else f"{took} → {gave}".strip()


def _initializers(graphs) -> tuple[list[Stored], dict[str, int]]:
    """Weights, and the bytes of those outside by the name of their file."""
    stored, outside = [], collections.Counter()
    for graph in graphs:
        for weight in graph.initializer:
            size = weight.ByteSize()
            dtype, shape = _dtype(weight.data_type), tuple(weight.dims)
            if weight.HasField("raw_data"):
                size = len(weight.raw_data)
                item = onnx.helper.tensor_dtype_to_np_dtype(weight.data_type)
                if dtype not in _SHARING_BYTES:
                    description.check_bytes(
                        weight.name, shape, item.itemsize, size
                    )
            if weight.data_location == onnx.TensorProto.EXTERNAL:
                place = {x.key: x.value for x in weight.external_data}
                size = int(place.get("length", 0))
                outside[place.get("location", _UNKNOWN)] += size
            stored.append(Stored(weight.name, dtype, shape, size))
    return stored, dict(outside)


def _metadata(model) -> dict[str, str]:
    found = {
        "ir version": str(model.ir_version),
        "opset": ", ".join(
            f"{x.domain or 'ai.onnx'} {x.version}" for x in model.opset_import
        ),
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "description": model.doc_string,
        **{x.key: x.value for x in model.metadata_props},
    }
    return {name: text for name, text in found.items() if text}
