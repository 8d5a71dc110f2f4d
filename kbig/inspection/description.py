"""What a reader finds in a file, as plain data that crosses to its caller."""

import dataclasses
import math
from collections.abc import Mapping


class BrokenFileError(Exception):
    """A file is not what its name says; the message says how."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What goes into a model, or comes out of it.

    Args:
        name: by which callers know it.
        dtype: as "float32".
        shape: None among them is a free dimension; None is unknown.
        scale: of a quantized one, the step of its integers.
        zero_point: the integer that stands for zero.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    scale: float | None = None
    zero_point: int | None = None


@dataclasses.dataclass(frozen=True)
class Signature:
    """A way to call a model.

    Args:
        name: of the signature.
        inputs: what it takes.
        outputs: what it gives.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclasses.dataclass(frozen=True)
class Operation:
    """Equal operations of a model.

    Args:
        name: of the operator, or of the class of a layer.
        dtypes: of what goes in and comes out.
        count: how many there are.
        xnnpack: of LiteRT, whether XNNPACK takes them by default.
    """

    name: str
    dtypes: str
    count: int
    xnnpack: bool | None = None


@dataclasses.dataclass(frozen=True)
class Stored:
    """Numbers in a file.

    Args:
        name: of the tensor or variable.
        dtype: as "int8".
        shape: of the array.
        bytes: that it takes in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


@dataclasses.dataclass(frozen=True)
class AssociatedFile:
    """A file that travels with a model.

    Args:
        name: of the file.
        bytes: unpacked.
    """

    name: str
    bytes: int


@dataclasses.dataclass(frozen=True)
class Description:
    """All that is known of a file before it runs.

    Args:
        format: "LiteRT", "SavedModel", "ONNX" or "Keras".
        signatures: ways to call it.
        operations: by name and dtypes, the most frequent first.
        stored: arrays, the largest first.
        metadata: texts by name.
        files: that travel with it.
        notes: a sentence for each thing to know.
    """

    format: str
    signatures: tuple[Signature, ...]
    operations: tuple[Operation, ...]
    stored: tuple[Stored, ...]
    metadata: Mapping[str, str]
    files: tuple[AssociatedFile, ...] = ()
    notes: tuple[str, ...] = ()


def fields_of(plain: Mapping) -> dict:
    """Makes the fields of a description of what JSON made of them.

    Args:
        plain: `dataclasses.asdict` of a description, through JSON.

    Returns:
        The fields by name.
    """
    signatures = tuple(
        Signature(
            x["name"],
            tuple(map(_tensor, x["inputs"])),
            tuple(map(_tensor, x["outputs"])),
        )
        for x in plain["signatures"]
    )
    return {
        **plain,
        "signatures": signatures,
        "operations": tuple(Operation(**x) for x in plain["operations"]),
        "stored": tuple(
            Stored(**{**x, "shape": tuple(x["shape"])}) for x in plain["stored"]
        ),
        "files": tuple(AssociatedFile(**x) for x in plain["files"]),
        "notes": tuple(plain["notes"]),
    }


def counted(found) -> tuple[Operation, ...]:
    """Counts equal operations, the most frequent first.

    Args:
        found: a `collections.Counter` of `(name, dtypes, xnnpack)`.
    """
    in_order = sorted(found.items(), key=lambda x: (-x[1], str(x[0])))
    return tuple(
        Operation(name, dtypes, count, xnnpack)
        for (name, dtypes, xnnpack), count in in_order
    )


def by_size(found) -> tuple[Stored, ...]:
    """Puts the largest first.

    Args:
        found: `Stored`, in any order.
    """
    return tuple(sorted(found, key=lambda x: (-x.bytes, x.name)))


def check_bytes(name: str, shape, itemsize: float, given: int) -> None:
    """Makes sure that a tensor's numbers are all there.

    Args:
        name: of the tensor.
        shape: of it.
        itemsize: bytes of a number.
        given: bytes in the file.

    Raises:
        BrokenFileError: there are others.
    """
    wanted = math.ceil(math.prod(shape) * itemsize)
    if wanted != given:
        raise BrokenFileError(
            f"{name} has {given:,} bytes where its shape needs {wanted:,}"
        )


def _tensor(plain: Mapping) -> Tensor:
    shape = plain["shape"]
    return Tensor(**{**plain, "shape": None if shape is None else tuple(shape)})
