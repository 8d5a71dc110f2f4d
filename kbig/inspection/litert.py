"""Reads a .tflite file: a flatbuffer, and a zip that may follow it."""

import collections
import io
import pathlib
import zipfile

from ai_edge_litert import schema_py_generated as schema

from kbig.inspection import description
from kbig.inspection.description import BrokenFileError
from kbig.inspection.description import Description
from kbig.inspection.description import Signature
from kbig.inspection.description import Stored
from kbig.inspection.description import Tensor
from kbig.inspection.litert_metadata import shown
from kbig.inspection.litert_schema import DTYPES
from kbig.inspection.litert_schema import operator_name
from kbig.inspection.xnnpack import takes

_IDENTIFIER = b"TFL3"
_ITEM_BYTES = {
    "float32": 4,
    "float16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "int4": 0.5,
}


def read(path: pathlib.Path) -> Description:
    """Reads a .tflite file.

    Args:
        path: of the file.

    Raises:
        BrokenFileError: it is none. Anything else may be raised as well.
    """
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise BrokenFileError("it does not begin as a .tflite file does")
    model = _Model(content)
    metadata, files = model.metadata(), _appended(content)
    return Description(
        "LiteRT",
        model.signatures(),
        description.counted(model.operations()),
        description.by_size(model.stored()),
        metadata,
        files,
        (
            "XNNPACK: what it takes over by default, by operator and dtype; "
            "the rest runs in LiteRT's own kernels.",
        ),
    )


class _Model:
    """The flatbuffer. Whatever is counted in it is counted against its size.

    A broken length would otherwise keep a loop going for hours.
    """

    def __init__(self, content: bytes):
        self._left = len(content)
        self._content = content
        self._root = schema.Model.GetRootAsModel(content, 0)
        self._sizes = [
            self._size(buffer)
            for buffer in self._each(
                self._root.BuffersLength(), self._root.Buffers
            )
        ]
        self._graphs = [
            _Graph(self, graph)
            for graph in self._each(
                self._root.SubgraphsLength(), self._root.Subgraphs
            )
        ]
        if not self._graphs:
            raise BrokenFileError("it holds no graph")

    def each(self, length: int, get):
        """Elements of a vector."""
        return self._each(length, get)

    def size(self, tensor) -> int:
        """Bytes that a tensor takes in the file."""
        return self._sizes[tensor.Buffer()]

    def operator(self, operation) -> str:
        """Name of an operation's operator; a custom one has its own."""
        code = self._root.OperatorCodes(operation.OpcodeIndex())
        name = operator_name(code)
        return _text(code.CustomCode()) if name == "CUSTOM" else name

    def signatures(self) -> tuple[Signature, ...]:
        """Those with names, or the first graph's inputs and outputs."""
        root = self._root
        named = [
            self._signature(x)
            for x in self._each(root.SignatureDefsLength(), root.SignatureDefs)
        ]
        first = self._graphs[0]
        return tuple(named) or (
            Signature("", first.tensors("Inputs"), first.tensors("Outputs")),
        )

    def operations(self) -> collections.Counter:
        """Of all graphs, by name, dtypes and whether XNNPACK takes them."""
        return collections.Counter(
            x for graph in self._graphs for x in graph.operations()
        )

    def stored(self) -> list[Stored]:
        """Tensors with data. What several share counts once."""
        found = {}
        for graph in self._graphs:
            for number, stored in graph.stored():
                found.setdefault(number, stored)
        return list(found.values())

    def metadata(self) -> dict[str, str]:
        """Texts, and the sizes of what is none."""
        root = self._root
        found = {"schema version": str(root.Version())}
        if root.Description():
            found["description"] = _text(root.Description())
        for entry in self._each(root.MetadataLength(), root.Metadata):
            data = self._data(root.Buffers(entry.Buffer()))
            found |= shown(_text(entry.Name()), bytes(data))
        return found

    def _signature(self, found) -> Signature:
        graph = self._graphs[found.SubgraphIndex()]
        return Signature(
            _text(found.SignatureKey()),
            *(
                tuple(
                    graph.tensor(x.TensorIndex(), _text(x.Name()))
                    for x in self._each(length(), get)
                )
                for length, get in (
                    (found.InputsLength, found.Inputs),
                    (found.OutputsLength, found.Outputs),
                )
            ),
        )

    def _each(self, length: int, get) -> list:
        self._left -= length
        if self._left < 0:
            raise BrokenFileError("it counts more parts than it has bytes for")
        return [get(index) for index in range(length)]

    def _size(self, buffer) -> int:
        start, size = buffer.Offset(), buffer.Size()
        if start <= 1:
            return len(self._data(buffer))
        # Of files above 2 GB: behind the flatbuffer.
        if start + size > len(self._content):
            raise BrokenFileError("it ends before its weights do")
        return size

    def _data(self, buffer) -> bytes:
        start = buffer.Offset()
        if start > 1:
            return self._content[start : start + buffer.Size()]
        # This raises when the bytes are not all there.
        return buffer.DataAsNumpy().data if buffer.DataLength() else b""


class _Graph:
    """One graph: the main one, or the body of a loop."""

    def __init__(self, model: _Model, graph):
        self._model, self._graph = model, graph
        self._tensors = model.each(graph.TensorsLength(), graph.Tensors)
        self._dtypes = [DTYPES[x.Type()] for x in self._tensors]

    def tensors(self, side: str) -> tuple[Tensor, ...]:
        """Its "Inputs" or "Outputs"."""
        return tuple(
            self.tensor(number, _text(self._tensors[number].Name()))
            for number in self._numbers(self._graph, side)
        )

    def tensor(self, number: int, name: str) -> Tensor:
        """One tensor, as callers see it."""
        found = self._tensors[number]
        scale, zero_point = _grid(found.Quantization())
        # Free dimensions are -1 in the one shape and 1 in the other.
        free = found.ShapeSignatureLength() == found.ShapeLength() > 0
        shape = found.ShapeSignatureAsNumpy() if free else _shape(found)
        return Tensor(
            name,
            self._dtypes[number],
            tuple(None if side < 0 else int(side) for side in shape),
            scale,
            zero_point,
        )

    def operations(self):
        """Each with its dtypes."""
        graph, constant = self._graph, self._constants()
        for x in self._model.each(graph.OperatorsLength(), graph.Operators):
            name = self._model.operator(x)
            inputs = self._numbers(x, "Inputs")
            outputs = self._numbers(x, "Outputs")
            # float16 files have their weights behind such an operation.
            if name == "DEQUANTIZE" and {*inputs} <= constant:
                constant.update(outputs)
            took, gave = (
                [self._dtypes[number] for number in numbers]
                for numbers in (inputs, outputs)
            )
            taken = takes(
                name,
                took,
                gave,
                [number in constant for number in inputs],
                self._rank(inputs) == self._rank(outputs),
            )
            yield name, _arrow(took, gave), taken

    def stored(self):
        """Numbers of buffers, and the tensors in them."""
        for found, dtype in zip(self._tensors, self._dtypes):
            size = self._model.size(found)
            if size:
                shape = tuple(map(int, _shape(found)))
                name = _text(found.Name())
                if dtype in _ITEM_BYTES and found.Sparsity() is None:
                    item = _ITEM_BYTES[dtype]
                    description.check_bytes(name, shape, item, size)
                yield found.Buffer(), Stored(name, dtype, shape, size)

    def _constants(self) -> set[int]:
        return {
            number
            for number, found in enumerate(self._tensors)
            if self._model.size(found)
        }

    def _rank(self, numbers: list[int]) -> int:
        """Axes of the first tensor."""
        return self._tensors[numbers[0]].ShapeLength() if numbers else 0

    def _numbers(self, part, side: str) -> list[int]:
        """Of tensors; optional ones that are left out have -1."""
        length = getattr(part, f"{side}Length")()
        numbers = self._model.each(length, getattr(part, side))
        if any(number >= len(self._tensors) for number in numbers):
            raise BrokenFileError("an operation has tensors that are not there")
        return [int(number) for number in numbers if number >= 0]


def _appended(content: bytes) -> tuple[description.AssociatedFile, ...]:
    """What the zip behind the model holds: labels, vocabularies."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return ()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return tuple(
            description.AssociatedFile(x.filename, x.file_size)
            for x in archive.infolist()
        )


def _grid(quantization) -> tuple[float | None, int | None]:
    """Scale and zero point of a tensor that has one of each."""
    if quantization is None or quantization.ScaleLength() != 1:
        return None, None
    zero = quantization.ZeroPoint(0) if quantization.ZeroPointLength() else 0
    return float(quantization.Scale(0)), int(zero)


def _arrow(inputs, outputs) -> str:
    took, gave = (", ".join(dict.fromkeys(x)) for x in (inputs, outputs))
    return took if took == gave else f"{took} → {gave}"


def _shape(tensor):
    return tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")
