"""TFLite metadata: what a .tflite file says of its inputs and outputs.

Libraries of tasks, as MediaPipe's, read from it how to prepare texts and
images and what outputs are called. It is a flatbuffer of its own in a buffer
of the model; labels and vocabulary follow the model as a zip.
"""

import dataclasses
import pathlib
import zipfile
from collections.abc import Mapping
from collections.abc import Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

import kbig
from kbig.export.litert_root import vector
from kbig.export.litert_root import with_metadata
from kbig.inspection.litert_schema import DTYPES
from kbig.inspection.litert_schema import METADATA_FIELDS
from kbig.inspection.litert_schema import METADATA_IDENTIFIER

LABELS, VOCABULARY = "labels.txt", "vocab.txt"
# Names by which MediaPipe finds the inputs of a BERT.
_BERT = {
    "token_ids": ("ids", "Ids of the tokens of a text."),
    "padding_mask": ("mask", "1 for tokens and 0 for padding."),
    "segment_ids": ("segment_ids", "0 for the first text, 1 for the second."),
}
# Numbers of the schema's enumerations and unions.
_FILE_TYPES = {LABELS: 2, VOCABULARY: 5}
_CONTENTS = {"FeatureProperties": 1, "ImageProperties": 2}
_OPTIONS = {"NormalizationOptions": 1, "BertTokenizerOptions": 4}
_COLOR_SPACES = {3: 1, 1: 2}  # By channels: RGB, grayscale.
_PIXELS = ("float32", "uint8", "int8", "int16")
# Zips know no earlier day; a real one would make every file another.
_DAY = (1980, 1, 1, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class _Node:
    """A table of the metadata: fields by name, None where there is none."""

    table: str
    fields: Mapping


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """An input or output of the graph, by the name of the signature."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def texts_of(
    class_names: Sequence[str], vocabulary: Sequence[str]
) -> dict[str, str]:
    """The texts that travel in a file of a classifier, of a text model.

    Args:
        class_names: a line of `labels.txt` each; none is no such file.
        vocabulary: likewise, of `vocab.txt`.
    """
    lines = {
        LABELS: [" ".join(name.splitlines()) for name in class_names],
        VOCABULARY: vocabulary,
    }
    return {name: "\n".join(x) + "\n" for name, x in lines.items() if x}


def add_metadata(
    file: pathlib.Path,
    name: str,
    samples: Mapping[str, np.ndarray],
    files: Mapping[str, str],
    lowercase: bool = True,
) -> None:
    """Writes metadata into a .tflite file, and appends texts to it.

    Args:
        file: it stays as it is but for what is added.
        name: of the model.
        samples: arrays by input name, which show the range of pixels.
        files: texts by name: `labels.txt` has a line for each class,
            `vocab.txt` for each WordPiece.
        lowercase: whether the tokenizer folds the case, as those libraries
            always do. Of one that does not, the vocabulary is there, and
            they are not told to cut texts by it.
    """
    content = file.read_bytes()
    said = _said(content, name, samples, files, lowercase)
    file.write_bytes(with_metadata(content, _packed(said)))
    if not files:
        return
    with zipfile.ZipFile(file, "a") as archive:
        for key, text in files.items():
            # Not compressed: those libraries do not unpack.
            info = zipfile.ZipInfo(key, _DAY)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, text)


def _said(content, name, samples, files, lowercase) -> _Node:
    """All that is known of the model, as tables of the metadata."""
    inputs, outputs = _tensors(content)
    taken = [x.name for x in inputs]
    has_tokenizer = lowercase and VOCABULARY in files and "token_ids" in taken
    is_bert = has_tokenizer and sorted(taken) == sorted(_BERT)
    labelled = _labelled(outputs, files.get(LABELS))
    graph = {
        "input_tensor_metadata": [
            _input(x, samples[x.name], is_bert) for x in inputs
        ],
        "output_tensor_metadata": [
            _output(x, index == labelled) for index, x in enumerate(outputs)
        ],
        "input_process_units": [_tokenizer()] if has_tokenizer else None,
    }
    placed = {LABELS} if labelled is not None else set()
    placed |= {VOCABULARY} if has_tokenizer else set()
    others = [_file(key) for key in files if key not in placed]
    return _Node(
        "ModelMetadata",
        {
            "name": name,
            "description": f"Written by kbig {kbig.__version__}.",
            "subgraph_metadata": [_Node("SubGraphMetadata", graph)],
            "associated_files": others or None,
            "min_parser_version": _schema_version(has_tokenizer, files),
        },
    )


def _schema_version(has_tokenizer: bool, files: Mapping) -> str:
    """The first version that knows all that is said."""
    if has_tokenizer:
        return "1.1.0"
    return "1.0.1" if VOCABULARY in files else "1.0.0"


def _tensors(content: bytes) -> tuple[list[_Tensor], list[_Tensor]]:
    """Inputs and outputs in the order of the graph, not the signature's."""
    model = schema.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    signatures = map(model.SignatureDefs, range(model.SignatureDefsLength()))
    signature = next(x for x in signatures if x.SubgraphIndex() == 0)
    sides = (
        (graph.InputsAsNumpy(), signature.Inputs, signature.InputsLength()),
        (graph.OutputsAsNumpy(), signature.Outputs, signature.OutputsLength()),
    )
    found = []
    for numbers, get, count in sides:
        named = [get(index) for index in range(count)]
        names = {x.TensorIndex(): x.Name().decode() for x in named}
        found.append([_tensor(graph, x, names) for x in numbers])
    return tuple(found)


def _tensor(graph, number: int, names: Mapping) -> _Tensor:
    tensor = graph.Tensors(number)
    shape = tuple(tensor.Shape(x) for x in range(tensor.ShapeLength()))
    name = names.get(number) or tensor.Name().decode()
    return _Tensor(name, DTYPES[tensor.Type()], shape)


def _labelled(outputs, labels: str | None) -> int | None:
    """Which output has as many entries as there are lines."""
    if labels is None:
        return None
    count = len(labels.removesuffix("\n").split("\n"))
    sizes = [x.shape[-1] if x.shape else 0 for x in outputs]
    return sizes.index(count) if count in sizes else None


def _input(x: _Tensor, rows: np.ndarray, is_bert: bool) -> _Node:
    fields = {"name": x.name, "content": _content("FeatureProperties")}
    if is_bert:
        name, description = _BERT[x.name]
        fields |= {"name": name, "description": f"{x.name}: {description}"}
    elif _is_image(x):
        fields |= _image(x, rows)
    return _Node("TensorMetadata", fields)


def _is_image(x: _Tensor) -> bool:
    is_colored = len(x.shape) == 4 and x.shape[-1] in _COLOR_SPACES
    return is_colored and x.dtype in _PIXELS


def _image(x: _Tensor, rows: np.ndarray) -> dict:
    colors = _COLOR_SPACES[x.shape[-1]]
    fields = {"content": _content("ImageProperties", color_space=colors)}
    scale = _pixel_scale(rows)
    if scale is None:
        return fields
    mean, std = np.zeros(1, "float32"), np.full(1, scale, "float32")
    options = _Node("NormalizationOptions", {"mean": mean, "std": std})
    stats = {"min": mean, "max": 255 / std}
    return fields | {
        "process_units": [_unit(options)],
        "stats": _Node("Stats", stats),
    }


def _pixel_scale(rows: np.ndarray) -> int | None:
    """What pixels from 0 to 255 are divided by to be like the samples."""
    scale = 1 if rows.max() > 1 else 255
    pixels = rows.astype("float32") * scale
    whole = np.abs(pixels - pixels.round()).max() < 1e-3
    fits = whole and pixels.min() >= 0 and pixels.max() <= 255
    return scale if fits else None


def _output(x: _Tensor, is_labelled: bool) -> _Node:
    fields = {
        "name": x.name,
        "content": _content("FeatureProperties"),
        "associated_files": [_file(LABELS)] if is_labelled else None,
    }
    return _Node("TensorMetadata", fields)


def _content(properties: str, **fields) -> _Node:
    return _Node(
        "Content",
        {
            "content_properties_type": _CONTENTS[properties],
            "content_properties": _Node(properties, fields),
        },
    )


def _tokenizer() -> _Node:
    vocabulary = {"vocab_file": [_file(VOCABULARY)]}
    return _unit(_Node("BertTokenizerOptions", vocabulary))


def _unit(options: _Node) -> _Node:
    number = _OPTIONS[options.table]
    return _Node("ProcessUnit", {"options_type": number, "options": options})


def _file(name: str) -> _Node:
    kind = _FILE_TYPES.get(name, 0)
    return _Node("AssociatedFile", {"name": name, "type": kind})


def _packed(node: _Node) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(_placed(builder, node), METADATA_IDENTIFIER)
    return bytes(builder.Output())


def _placed(builder, value) -> int:
    """Builds a text, a table, or a vector of floats or tables."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, np.ndarray):
        return builder.CreateNumpyVector(value)
    if not isinstance(value, _Node):
        return vector(builder, [_placed(builder, x) for x in value])
    slots = METADATA_FIELDS[value.table]
    given = {k: v for k, v in value.fields.items() if v is not None}
    fields = {slots.index(key): x for key, x in given.items()}
    places = {
        slot: _placed(builder, x)
        for slot, x in fields.items()
        if not isinstance(x, int)
    }
    builder.StartObject(len(slots))
    for slot, x in fields.items():
        if slot in places:
            builder.PrependUOffsetTRelativeSlot(slot, places[slot], 0)
        else:
            builder.PrependUint8Slot(slot, x, 0)
    return builder.EndObject()
