"""A reader of TFLite metadata that knows the schema by its numbers."""

from ai_edge_litert import schema_py_generated as schema
from flatbuffers import Table
from flatbuffers import encode
from flatbuffers import number_types
from flatbuffers import packer

# Places in tables and numbers of kinds, counted in metadata_schema.fbs.
NAME, DESCRIPTION, GRAPHS, FILES, MIN_VERSION = 0, 1, 3, 6, 7
INPUTS, OUTPUTS, INPUT_UNITS = 2, 3, 5
CONTENT, UNITS, STATS, TENSOR_FILES = 3, 4, 5, 6
FEATURE, IMAGE = 1, 2
NORMALIZATION, BERT_TOKENIZER = 1, 4
AXIS_LABELS, VOCABULARY = 2, 5


def place(table, number):
    return table.Offset(4 + 2 * number)


def text(table, number):
    found = place(table, number)
    return table.String(table.Pos + found).decode() if found else ""


def small(table, number):
    flags, found = number_types.Uint8Flags, place(table, number)
    return table.Get(flags, table.Pos + found) if found else 0


def child(table, number):
    at = table.Indirect(table.Pos + place(table, number))
    return Table(table.Bytes, at)


def children(table, number):
    found = place(table, number)
    if not found:
        return []
    start, count = table.Vector(found), table.VectorLen(found)
    places = [table.Indirect(start + 4 * index) for index in range(count)]
    return [Table(table.Bytes, at) for at in places]


def floats(table, number):
    flags = number_types.Float32Flags
    return table.GetVectorAsNumpy(flags, place(table, number)).tolist()


def metadata(path):
    """What is in a file's one buffer of metadata."""
    model = schema.Model.GetRootAsModel(path.read_bytes(), 0)
    entries = [model.Metadata(x) for x in range(model.MetadataLength())]
    (entry,) = [x for x in entries if x.Name() == b"TFLITE_METADATA"]
    return parsed(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())


def parsed(content):
    """The root table of metadata, and that of the graph."""
    assert content[4:8] == b"M001"
    root = Table(content, encode.Get(packer.uoffset, content, 0))
    (graph,) = children(root, GRAPHS)
    return root, graph


def names(tables):
    return [text(x, NAME) for x in tables]


def files(tables):
    return [(text(x, NAME), small(x, 2)) for x in tables]
