"""What an int8 file computes, and where it is furthest from the model."""

import dataclasses

from kbig.export.latency import LatencyReport
from kbig.inspection.description import Operation
from kbig.reporting import Bytes
from kbig.reporting import Percent
from kbig.reporting import Ratio
from kbig.reporting import Report
from kbig.reporting import Seconds
from kbig.reporting import Table

# Layers that have a row of their own.
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class OutputSteps:
    """How far an output of the file is from the model's, in integers.

    Args:
        name: of the output.
        step: between neighbouring integers; None for one made in float.
        largest: difference, in steps; in the output's own unit without any.
        mean: likewise.
    """

    name: str
    step: float | None
    largest: float
    mean: float


@dataclasses.dataclass(frozen=True)
class LayerError:
    """How far a layer is from its like without rounding.

    Args:
        layer: names of the layers that lead to it, joined with "/".
        tensor: of these that it makes, the one with the largest error.
        relative: root of the mean square of the differences over that of the
            numbers.
        step: of the tensor's integers.
        largest: difference, in steps.
        mean: likewise.
    """

    layer: str
    tensor: str
    relative: float
    step: float
    largest: float
    mean: float


@dataclasses.dataclass(frozen=True)
class IntegerReport(Report):
    """What an int8 file computes, and how far it is from the model.

    Args:
        operations: by name and dtypes.
        outputs: beside those of the model that was exported: of a quantized
            one the rounding is in both.
        layers: the largest error first; in LiteRT's own kernels, beside a
            file of the same model without rounding.
        compared: int8 tensors that have the same name there.
        int8_tensors: that there are.
        rows: that were run.
        bytes: of the file.
        gzip_bytes: of it, compressed.
        reference_bytes: of the file without rounding, None where there is
            none.
        reference_gzip_bytes: of that, compressed.
        latencies: beside that file, and beside dynamic int8, by what it is
            compared with; empty where they were not asked for.
        failure: why some of this is missing.
    """

    operations: tuple[Operation, ...]
    outputs: tuple[OutputSteps, ...]
    layers: tuple[LayerError, ...]
    compared: int
    int8_tensors: int
    rows: int
    bytes: int
    gzip_bytes: int
    reference_bytes: int | None = None
    reference_gzip_bytes: int | None = None
    latencies: dict[str, LatencyReport] = dataclasses.field(
        default_factory=dict
    )
    failure: str = ""

    def tables(self) -> list[Table]:
        """Operations, outputs, layers, and size beside latency."""
        found = [self._operations()]
        if self.outputs:
            found.append(self._outputs())
        if self.layers:
            found.append(self._layers())
        return [*found, self._files()]

    def _operations(self) -> Table:
        rows = [(x.name, x.dtypes, x.count) for x in self.operations]
        return Table("Operations", ("operation", "dtypes", "count"), rows)

    def _outputs(self) -> Table:
        rows = [(x.name, x.step, x.largest, x.mean) for x in self.outputs]
        note = (
            f"{self.rows} rows, beside the model that was exported. Largest "
            "and mean difference are in steps of the output, where it has any."
        )
        columns = ("output", "step", "largest", "mean")
        return Table("Outputs in steps", columns, rows, note)

    def _layers(self) -> Table:
        rows = [
            (
                x.layer,
                x.tensor.rpartition("/")[2],
                Percent(x.relative),
                x.step,
                x.largest,
                x.mean,
            )
            for x in self.layers[:_SHOWN]
        ]
        note = (
            f"Of {len(self.layers)} layers, beside the same model without "
            f"rounding, in LiteRT's own kernels: {self.compared} of "
            f"{self.int8_tensors} int8 tensors have the same name there. Error "
            "is the root of the squares of differences over that of numbers."
        )
        columns = ("layer", "tensor", "error", "step", "largest", "mean")
        return Table("Largest errors by layer", columns, rows, note)

    def _files(self) -> Table:
        own = ("int8", Bytes(self.bytes), Bytes(self.gzip_bytes), None, None)
        rows = [own]
        if self.reference_bytes is not None:
            size = Bytes(self.reference_bytes)
            packed = Bytes(self.reference_gzip_bytes)
            rows.append(("float32", size, packed, None, None))
        rows += [
            (
                f"int8 beside {name}",
                None,
                None,
                Seconds(x.seconds),
                Ratio(x.ratio),
            )
            for name, x in self.latencies.items()
        ]
        columns = ("", "size", "gzip", "latency", "ratio")
        return Table("Size and latency", columns, rows, self._note())

    def _note(self) -> str:
        if self.failure:
            return f"Not everything was compared: {self.failure}"
        if self.latencies:
            return "Latencies of one row, in turns, in one thread."
        return ""
