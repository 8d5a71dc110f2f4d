"""Reads the folder of a SavedModel: its graph is parsed and not loaded."""

import collections
import math
import pathlib

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.core.protobuf import trackable_object_graph_pb2

from kbig.inspection import description
from kbig.inspection.description import AssociatedFile
from kbig.inspection.description import BrokenFileError
from kbig.inspection.description import Description
from kbig.inspection.description import Signature
from kbig.inspection.description import Stored
from kbig.inspection.description import Tensor

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
# Attributes of a node that tell what it computes in.
_DTYPE_KEYS = ("T", "dtype", "Tparams", "SrcT")


def read(path: pathlib.Path) -> Description:
    """Reads a SavedModel.

    Args:
        path: of the folder with `saved_model.pb`.

    Raises:
        BrokenFileError: it is none. Anything else may be raised as well.
    """
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    if not saved.meta_graphs:
        raise BrokenFileError("its saved_model.pb holds no graph")
    graph = saved.meta_graphs[0]
    nodes = [
        *graph.graph_def.node,
        *(x for f in graph.graph_def.library.function for x in f.node_def),
    ]
    found = collections.Counter((x.op, _dtypes_of(x), None) for x in nodes)
    info = graph.meta_info_def
    return Description(
        "SavedModel",
        _signatures(graph),
        description.counted(found),
        description.by_size([*_variables(path), *_constants(nodes)]),
        {
            "TensorFlow": info.tensorflow_version,
            "tags": ", ".join(info.tags),
            "graphs": str(len(saved.meta_graphs)),
        },
        tuple(
            AssociatedFile(str(file.relative_to(path)), file.stat().st_size)
            for folder in ("assets", "assets.extra")
            for file in sorted((path / folder).rglob("*"))
            if file.is_file()
        ),
    )


def _signatures(graph) -> tuple[Signature, ...]:
    return tuple(
        Signature(name, *map(_tensors, (found.inputs, found.outputs)))
        for name, found in sorted(graph.signature_def.items())
        if not name.startswith("__")  # TensorFlow's own, to start up.
    )


def _tensors(infos) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(name, _dtype(info.dtype), _shape(info.tensor_shape))
        for name, info in sorted(infos.items())
    )


def _dtype(number: int) -> str:
    return tf.dtypes.as_dtype(number).name


def _shape(shape) -> tuple[int | None, ...] | None:
    if shape.unknown_rank:
        return None
    return tuple(None if x.size < 0 else x.size for x in shape.dim)


def _dtypes_of(node) -> str:
    for key in _DTYPE_KEYS:
        number = node.attr[key].type if key in node.attr else 0
        if number:
            return _dtype(number)
    return ""


def _variables(path: pathlib.Path) -> list[Stored]:
    """From the index of the checkpoint; their data are not read."""
    prefix = path / "variables" / "variables"
    if not prefix.with_name("variables.index").is_file():
        return []
    reader = tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    names = _names(reader) if _OBJECTS in shapes else {}
    found = [
        Stored(
            names.get(key) or key.partition("/.ATTRIBUTES")[0],
            dtypes[key].name,
            tuple(shape),
            math.prod(shape) * dtypes[key].size,
        )
        for key, shape in shapes.items()
        if dtypes[key] != tf.string
    ]
    _check_data(path, sum(x.bytes for x in found))
    return found


def _names(reader) -> dict[str, str]:
    """Full names of variables by their key in the checkpoint."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    graph.ParseFromString(reader.get_tensor(_OBJECTS))
    return {
        attribute.checkpoint_key: attribute.full_name
        for node in graph.nodes
        for attribute in node.attributes
    }


def _check_data(path: pathlib.Path, wanted: int) -> None:
    files = (path / "variables").glob("variables.data-*")
    size = sum(file.stat().st_size for file in files)
    if size < wanted:
        raise BrokenFileError(
            f"its variables take {wanted:,} bytes and there are {size:,}"
        )


def _constants(nodes) -> list[Stored]:
    """Numbers within the graph, as one."""
    size = sum(
        len(x.attr["value"].tensor.tensor_content)
        for x in nodes
        if x.op == "Const"
    )
    return [Stored("constants of the graph", "", (), size)] if size else []
