"""A new root before a .tflite file, for what the converter leaves out."""

from collections.abc import Sequence

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from kbig.inspection.litert_schema import METADATA

# Bytes; whatever the weights are aligned to, they stay so.
_ALIGNMENT = 64
_FIELDS_OF_A_MODEL = 10
_BUFFERS, _METADATA_ENTRIES = 4, 6


def with_metadata(content: bytes, metadata: bytes) -> bytes:
    """Puts a new root before a model, which is not written anew.

    All offsets in a flatbuffer point forward and are relative, so that what
    is there keeps its bytes and their alignment.

    Args:
        content: of a .tflite file.
        metadata: its flatbuffer.

    Returns:
        The content of the new file; the same where weights lie behind the
        flatbuffer, as in files above 2 GB.
    """
    model = schema.Model.GetRootAsModel(content, 0)
    count = model.BuffersLength()
    if any(model.Buffers(index).Offset() > 1 for index in range(count)):
        return content
    root, size = model._tab, len(content) + -len(content) % _ALIGNMENT
    builder = flatbuffers.Builder(size + len(metadata) + 8 * count + 4096)
    # As if it had built what is there; it counts from the end.
    builder.head = len(builder.Bytes) - size
    builder.Bytes[builder.head : builder.head + len(content)] = content
    kept = {
        field: size - root.Indirect(root.Pos + place)
        for field in range(1, _FIELDS_OF_A_MODEL)
        if (place := root.Offset(4 + 2 * field))
    }
    added = _buffer(builder, metadata), _entry(builder, count)
    for field, new in zip((_BUFFERS, _METADATA_ENTRIES), added):
        old = _elements(root, field, size)
        kept[field] = vector(builder, [*old, new])
    builder.StartObject(_FIELDS_OF_A_MODEL)
    builder.PrependUint32Slot(0, model.Version(), 0)
    for field, place in kept.items():
        builder.PrependUOffsetTRelativeSlot(field, place, 0)
    end = builder.EndObject()
    builder.Prep(_ALIGNMENT, 8)
    builder.Finish(end, b"TFL3")
    return bytes(builder.Output())


def _elements(root, field: int, size: int) -> list[int]:
    """Where the tables of a vector are, from the end."""
    place = root.Offset(4 + 2 * field)
    if not place:
        return []
    start = root.Vector(place)
    return [
        size - root.Indirect(start + 4 * index)
        for index in range(root.VectorLen(place))
    ]


def vector(builder: flatbuffers.Builder, places: Sequence[int]) -> int:
    """Builds a vector of what was built before.

    Args:
        builder: of the flatbuffer.
        places: of the texts or tables.

    Returns:
        The place of the vector.
    """
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def _buffer(builder, data: bytes) -> int:
    builder.StartVector(1, len(data), 16)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data
    place = builder.EndVector()
    schema.BufferStart(builder)
    schema.BufferAddData(builder, place)
    return schema.BufferEnd(builder)


def _entry(builder, buffer: int) -> int:
    name = builder.CreateString(METADATA)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, name)
    schema.MetadataAddBuffer(builder, buffer)
    return schema.MetadataEnd(builder)
