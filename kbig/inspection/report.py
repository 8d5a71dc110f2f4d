"""What a model's file was seen to hold, as a report."""

import dataclasses

from kbig.inspection.description import Description
from kbig.inspection.description import Tensor
from kbig.reporting import Bytes
from kbig.reporting import Report
from kbig.reporting import Table

# Arrays that have a row of their own.
_SHOWN = 15


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectionReport(Description, Report):
    """What a model's file was seen to hold.

    Args:
        path: of the file or folder.
        bytes: on disk, all files of a folder.
        format: "LiteRT", "SavedModel", "ONNX" or "Keras".
        signatures: ways to call it.
        operations: by name and dtypes; of a Keras file its layers.
        stored: arrays, the largest first.
        metadata: texts by name.
        files: that travel with it, as labels and vocabularies.
        notes: a sentence for each thing to know.
    """

    path: str
    bytes: int

    def tables(self) -> list[Table]:
        """The file, how it is called, what it computes and what it stores."""
        return [
            self._file(),
            self._calls(),
            self._operations(),
            self._stored(),
        ]

    def _file(self) -> Table:
        rows = [
            ("path", self.path),
            ("format", self.format),
            ("size", Bytes(self.bytes)),
            *self.metadata.items(),
            *((f"file {x.name}", Bytes(x.bytes)) for x in self.files),
        ]
        return Table("File", ("", "value"), rows, " ".join(self.notes))

    def _calls(self) -> Table:
        rows = [
            (signature.name, side, *_cells(tensor))
            for signature in self.signatures
            for side, tensors in (
                ("in", signature.inputs),
                ("out", signature.outputs),
            )
            for tensor in tensors
        ]
        columns = ("signature", "", "name", "dtype", "shape", "scale", "zero")
        return Table("Inputs and outputs", columns, rows)

    def _operations(self) -> Table:
        columns = ("operation", "dtypes", "count")
        rows = [(x.name, x.dtypes, x.count) for x in self.operations]
        if any(x.xnnpack is not None for x in self.operations):
            columns = (*columns, "XNNPACK")
            rows = [(*row, x.xnnpack) for row, x in zip(rows, self.operations)]
        return Table("Operations", columns, rows)

    def _stored(self) -> Table:
        rows = [
            (x.name, x.dtype, _shape(x.shape), Bytes(x.bytes))
            for x in self.stored[:_SHOWN]
        ]
        rest = self.stored[_SHOWN:]
        if rest:
            size = Bytes(sum(x.bytes for x in rest))
            rows.append((f"{len(rest)} more", None, None, size))
        whole = Bytes(sum(x.bytes for x in self.stored))
        rows.append(("all", None, None, whole))
        return Table("Stored", ("tensor", "dtype", "shape", "bytes"), rows)


def _cells(x: Tensor) -> tuple:
    return x.name, x.dtype, _shape(x.shape), x.scale, x.zero_point


def _shape(shape) -> str | None:
    if shape is None:
        return None
    sides = ("free" if side is None else str(side) for side in shape)
    return f"({', '.join(sides)})"
