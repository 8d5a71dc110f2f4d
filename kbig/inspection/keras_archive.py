"""Reads a .keras file: a zip of JSON and HDF5, of which no class is made."""

import collections
import json
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from collections.abc import Mapping

import h5py

from kbig.inspection import description
from kbig.inspection.description import AssociatedFile
from kbig.inspection.description import BrokenFileError
from kbig.inspection.description import Description
from kbig.inspection.description import Signature
from kbig.inspection.description import Stored
from kbig.inspection.description import Tensor

_CONFIG, _METADATA = "config.json", "metadata.json"
_WEIGHTS = "model.weights.h5"
# A text is not larger, and nothing packs as well as a bomb.
_TEXT_BYTES = 64_000_000
_LARGEST_RATIO = 50
_UNKNOWN = "?"
_OWN = ("keras.", "keras_hub.")


def read(path: pathlib.Path) -> Description:
    """Reads a .keras file.

    Args:
        path: of the file.

    Raises:
        BrokenFileError: it is none. Anything else may be raised as well.
    """
    with zipfile.ZipFile(path) as archive:
        names = {x.filename: x.file_size for x in archive.infolist()}
        absent = {_CONFIG, _METADATA, _WEIGHTS} - {*names}
        if absent:
            raise BrokenFileError(f"it lacks {', '.join(sorted(absent))}")
        if sum(names.values()) > _LARGEST_RATIO * path.stat().st_size:
            raise BrokenFileError(
                f"it unpacks to more than {_LARGEST_RATIO} times its size"
            )
        config = _json(archive, _CONFIG)
        metadata = _json(archive, _METADATA)
        stored = _stored(archive)
    layers = [*_layers(config["config"])]
    found = collections.Counter(
        (str(x["class_name"]), _dtype(x["config"]), None) for x in layers
    )
    return Description(
        "Keras",
        (_signature(config),),
        description.counted(found),
        description.by_size(stored),
        {"class": str(config.get("class_name")), **_texts(metadata)},
        tuple(
            AssociatedFile(name, size)
            for name, size in sorted(names.items())
            if name.startswith("assets/")
        ),
        _notes(config, layers),
    )


def _json(archive, name: str) -> dict:
    with archive.open(name) as file:
        text = file.read(_TEXT_BYTES + 1)
    if len(text) > _TEXT_BYTES:
        raise BrokenFileError(f"its {name} is larger than {_TEXT_BYTES:,}")
    value = json.loads(text)
    if not isinstance(value, dict):
        raise BrokenFileError(f"its {name} holds no JSON object")
    return value


def _stored(archive) -> list[Stored]:
    """Copied to a file first, which checks that no byte has changed."""
    found = []

    # No link is followed: it could lead to another file.
    def add(name, item):
        if isinstance(item, h5py.Dataset):
            size = item.id.get_storage_size()
            name = _variable_name(name, item.parent.attrs.get("name"))
            shape = item.shape or ()
            found.append(Stored(name, str(item.dtype), shape, size))

    with tempfile.TemporaryFile() as aside:
        with archive.open(_WEIGHTS) as file:
            shutil.copyfileobj(file, aside)
        with h5py.File(aside, "r") as weights:
            weights.visititems(add)
    return found


def _variable_name(place: str, layer) -> str:
    """Its place, with the layer's own name where the file tells it.

    Keras stores `layers/dense_1/vars/0` whatever the layer is called.
    """
    *folders, _, number = place.split("/")
    if isinstance(layer, str) and folders:
        folders[-1] = layer
    names = [x for x in folders if x != "layers"]
    return "/".join([*names, number])


def _layers(value) -> Iterator[dict]:
    """Whatever looks like a layer, however deep it lies."""
    if isinstance(value, dict):
        config = value.get("config")
        if isinstance(config, dict) and {"name", "dtype"} <= {*config}:
            yield value
        for part in value.values():
            yield from _layers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _layers(part)


def _dtype(config: Mapping) -> str:
    """Name of the dtype policy of a layer."""
    # A model within a model has none.
    dtype = config.get("dtype", _UNKNOWN)
    if isinstance(dtype, dict):
        dtype = dtype["config"].get("name", dtype["class_name"])
    return str(dtype)


def _signature(config: Mapping) -> Signature:
    """Inputs and outputs; shapes of outputs are not in the file."""
    inner = config["config"]
    layers = inner.get("layers") or []
    known = {x["config"]["name"]: x["config"] for x in layers}
    if "input_layers" in inner:
        inputs = [*_ends(inner["input_layers"])]
        outputs = [*_ends(inner["output_layers"])]
    else:
        # In a Sequential model layers follow one another.
        names = [*known]
        inputs = [x for x in names[:1] if "batch_shape" in known[x]]
        outputs = names[-1:]
    return Signature(
        str(inner.get("name", "")),
        tuple(_input(name, known[name]) for name in inputs),
        tuple(Tensor(x, _dtype(known[x]), None) for x in outputs),
    )


def _input(name: str, config: Mapping) -> Tensor:
    shape = tuple(None if x is None else int(x) for x in config["batch_shape"])
    return Tensor(name, _dtype(config), shape)


def _ends(value) -> Iterator[str]:
    """Names of layers in a nest of `[name, node, tensor]`."""
    if isinstance(value, dict):
        value = [*value.values()]
    if value and isinstance(value[0], str):
        yield value[0]
        return
    for part in value:
        yield from _ends(part)


def _notes(config: Mapping, layers) -> tuple[str, ...]:
    notes = []
    classes = [config, *layers]
    foreign = {
        str(x.get("registered_name") or x["class_name"])
        for x in classes
        if not str(x.get("module")).startswith(_OWN)
    } - {"Functional", "Sequential"}
    if foreign:
        notes.append(
            f"Keras loads it with these classes at hand: "
            f"{', '.join(sorted(foreign))}."
        )
    if any(x.get("class_name") == "Lambda" for x in layers):
        notes.append("It holds code in Lambda layers, which was not run.")
    return tuple(notes)


def _texts(metadata: Mapping) -> dict[str, str]:
    return {str(name): str(value) for name, value in metadata.items()}
