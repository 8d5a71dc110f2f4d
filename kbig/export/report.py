"""What artefacts were seen to do, as reports."""

import dataclasses
import pathlib

from kbig.export.integer_report import IntegerReport
from kbig.export.kinds import short_name
from kbig.export.latencies import LatenciesReport
from kbig.export.xnnpack import Delegation
from kbig.export.xnnpack import delegation_tables
from kbig.reporting import Bytes
from kbig.reporting import Percent
from kbig.reporting import Ratio
from kbig.reporting import Report
from kbig.reporting import Seconds
from kbig.reporting import Table

_COLUMNS = (
    "artefact",
    "difference",
    "allowed",
    "top-1",
    "metric",
    "size",
    "gzip",
    "load",
    "latency",
    "vs Keras",
    "verdict",
)


@dataclasses.dataclass(frozen=True)
class ArtefactReport(Report):
    """What one artefact was seen to do.

    Args:
        path: of the file or folder.
        format: "SavedModel", "LiteRT" or "ONNX".
        weights: what they are stored as: "float32", "float16" or "int8";
            "integers" when what is between them is int8, too, "int16" when
            that is int16.
        runtime: what ran it, with its version.
        signatures: names of those that were run.
        bytes: size on disk.
        gzip_bytes: size of its files compressed by zlib.
        load_seconds: from the file to ready.
        largest_difference: from the model's outputs, as a share of their
            range; NaN when they cannot be compared. Of integers the largest
            one in a hundred is left out.
        tolerance: the largest difference allowed, a few steps of float32
            included.
        top1_agreement: share of decisions that are the model's, 0 to 1: of
            several labels a row, those that either side gives; None for a
            model that does not classify.
        metric: of the task, over the samples; None without labels.
        latency_seconds: median for one row of the model's own inputs.
        latency_ratio: the same, as a multiple of the Keras model's.
        faults: one sentence for each gate that did not hold.
        integers: of `kbig.export.litert` in mode `int8`: what it computes,
            and how far each layer is off.
        xnnpack: of a .tflite file, what XNNPACK takes over, and what not.
    """

    path: str
    format: str
    weights: str
    runtime: str
    signatures: tuple[str, ...]
    bytes: int
    gzip_bytes: int
    load_seconds: float
    largest_difference: float
    tolerance: float
    top1_agreement: float | None
    metric: float | None
    latency_seconds: float
    latency_ratio: float
    faults: tuple[str, ...]
    integers: IntegerReport | None = None
    xnnpack: Delegation | None = None

    @property
    def passed(self) -> bool:
        """Whether every gate held."""
        return not self.faults

    @property
    def name(self) -> str:
        """The last part of the path, `saved_model` for a version."""
        return short_name(pathlib.Path(self.path), self.format)

    def tables(self) -> list[Table]:
        """One row; of .tflite files what is in them, too."""
        found = [Table("Artefact", _COLUMNS, [_row(self, float)])]
        found += delegation_tables({self.name: self.xnnpack})
        return found + (self.integers.tables() if self.integers else [])


@dataclasses.dataclass(frozen=True)
class VerifyReport(Report):
    """What every artefact was seen to do beside the Keras model.

    Args:
        artefacts: one report each, in the order asked for.
        samples: how many rows they were run on.
        threads: of each artefact's runtime, not of the Keras model.
        metric_name: "accuracy" or "mean abs. error"; None without labels.
        keras_metric: of the model, over the same samples.
        keras_latency_seconds: median for one row, on the CPU.
        load_average: of the machine, over the minute in which latencies were
            measured.
        latencies: by threads and rows, where they were asked for.
        notes: one sentence for each thing that was left out, and why.
    """

    artefacts: tuple[ArtefactReport, ...]
    samples: int
    threads: int
    metric_name: str | None
    keras_metric: float | None
    keras_latency_seconds: float
    load_average: float = float("nan")
    latencies: LatenciesReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every gate of every artefact held."""
        return all(artefact.passed for artefact in self.artefacts)

    def published(
        self, paths: list[pathlib.Path], notes: tuple[str, ...] = ()
    ) -> "VerifyReport":
        """Puts the artefacts' final paths in place of those aside.

        Args:
            paths: one for each artefact, in their order.
            notes: what was left out of them.

        Returns:
            The same report but for the paths and the notes.
        """
        renamed = tuple(
            dataclasses.replace(artefact, path=str(path))
            for artefact, path in zip(self.artefacts, paths)
        )
        return dataclasses.replace(self, artefacts=renamed, notes=notes)

    def tables(self) -> list[Table]:
        """The Keras model, then a row an artefact; of some files more."""
        kind = Percent if self.metric_name == "accuracy" else float
        keras = {
            "artefact": "Keras model",
            "metric": _shown(self.keras_metric, kind),
            "latency": Seconds(self.keras_latency_seconds),
            "vs Keras": Ratio(1.0),
        }
        rows = [[keras.get(column) for column in _COLUMNS]]
        rows += [_row(artefact, kind) for artefact in self.artefacts]
        renamed = {"metric": self.metric_name or "metric"}
        columns = [renamed.get(column, column) for column in _COLUMNS]
        note = (
            f"{self.samples:,} samples. Differences are shares of the range "
            "of the model's output. Latency: one row of the model's own "
            "inputs (tokens, not text), median, measured in turns on the CPU; "
            f"artefacts with {self.threads} threads, the Keras model with "
            "TensorFlow's setting in its process. Load average: "
            f"{self.load_average:.2f}."
        )
        notes = " ".join((note, *self.notes))
        found = [Table("Artefacts", columns, rows, notes)]
        found += delegation_tables({x.name: x.xnnpack for x in self.artefacts})
        return found + (self.latencies.tables() if self.latencies else [])


def _row(artefact: ArtefactReport, metric_kind) -> list:
    return [
        artefact.name,
        artefact.largest_difference,
        artefact.tolerance,
        _shown(artefact.top1_agreement, Percent),
        _shown(artefact.metric, metric_kind),
        Bytes(artefact.bytes),
        Bytes(artefact.gzip_bytes),
        Seconds(artefact.load_seconds),
        Seconds(artefact.latency_seconds),
        Ratio(artefact.latency_ratio),
        "; ".join(artefact.faults) or "verified",
    ]


def _shown(value: float | None, kind):
    return None if value is None else kind(value)
