"""Reads the TFLite metadata of a .tflite file: a flatbuffer of its own."""

from flatbuffers import Table
from flatbuffers import encode
from flatbuffers import packer

from kbig.inspection.description import BrokenFileError
from kbig.inspection.litert_schema import METADATA
from kbig.inspection.litert_schema import METADATA_FIELDS
from kbig.inspection.litert_schema import METADATA_IDENTIFIER

_SHOWN_BYTES = 200


def shown(name: str, data: bytes) -> dict[str, str]:
    """Shows what is in a buffer that a file has under a name.

    Args:
        name: of the entry.
        data: of its buffer.

    Returns:
        Texts by name: of TFLite metadata what it says, of others the text,
        or the size of what is none.
    """
    if name == METADATA and data[4:8] == METADATA_IDENTIFIER:
        return _Metadata(data).shown()
    text = data.rstrip(b"\0").decode("utf-8", "replace")
    if len(data) <= _SHOWN_BYTES and text.isprintable():
        return {name: text}
    return {name: f"{len(data):,} bytes"}


class _Metadata:
    """What is counted is counted against the size, as of the whole file."""

    def __init__(self, data: bytes):
        self._data, self._left = data, len(data)

    def shown(self) -> dict[str, str]:
        """Of the model and the first graph."""
        start = encode.Get(packer.uoffset, self._data, 0)
        model = Table(self._data, start)
        texts = [
            self._text(model, "ModelMetadata", field)
            for field in ("name", "description")
        ]
        found = {METADATA: ": ".join(filter(None, texts))}
        for graph in self._tables(model, "ModelMetadata", "subgraph_metadata")[
            :1
        ]:
            for side in ("input", "output"):
                tensors = self._tables(
                    graph, "SubGraphMetadata", f"{side}_tensor_metadata"
                )
                names = ", ".join(map(self._tensor, tensors))
                found[f"metadata of {side}s"] = names
        return found

    def _tensor(self, tensor: Table) -> str:
        """Its name, and those of its files."""
        files = [
            self._text(file, "AssociatedFile", "name")
            for file in self._tables(
                tensor, "TensorMetadata", "associated_files"
            )
        ]
        name = self._text(tensor, "TensorMetadata", "name")
        return f"{name} ({', '.join(files)})" if files else name

    def _text(self, table: Table, kind: str, field: str) -> str:
        place = _place(table, kind, field)
        text = table.String(table.Pos + place) if place else b""
        self._count(len(text))
        return text.decode("utf-8", "replace")

    def _tables(self, table: Table, kind: str, field: str) -> list[Table]:
        place = _place(table, kind, field)
        if not place:
            return []
        count, start = table.VectorLen(place), table.Vector(place)
        self._count(count)
        places = [table.Indirect(start + 4 * index) for index in range(count)]
        return [Table(self._data, place) for place in places]

    def _count(self, parts: int) -> None:
        self._left -= parts
        if self._left < 0:
            raise BrokenFileError("its metadata count more than they hold")


def _place(table: Table, kind: str, field: str) -> int:
    return table.Offset(4 + 2 * METADATA_FIELDS[kind].index(field))
