"""What artefacts were seen to do, as reports."""

import dataclasses
import pathlib

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

    Differences are shares of the range of the model's output; `metric` is
    the task's, over the samples; latencies are medians for one row.
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

    @property
    def passed(self) -> bool:
        """Whether every gate held."""
        return not self.faults

    @property
    def name(self) -> str:
        """The last part of the path, `saved_model` for a version."""
        path = pathlib.Path(self.path)
        return "saved_model" if self.format == "SavedModel" else path.name

    def tables(self) -> list[Table]:
        """One row."""
        return [Table("Artefact", _COLUMNS, [_row(self, float)])]


@dataclasses.dataclass(frozen=True)
class VerifyReport(Report):
    """What every artefact was seen to do beside the Keras model."""

    artefacts: tuple[ArtefactReport, ...]
    samples: int
    threads: int
    metric_name: str | None
    keras_metric: float | None
    keras_latency_seconds: float

    @property
    def passed(self) -> bool:
        """Whether every gate of every artefact held."""
        return all(artefact.passed for artefact in self.artefacts)

    def published(self, paths: list[pathlib.Path]) -> "VerifyReport":
        """The same report under the artefacts' final paths."""
        renamed = tuple(
            dataclasses.replace(artefact, path=str(path))
            for artefact, path in zip(self.artefacts, paths)
        )
        return dataclasses.replace(self, artefacts=renamed)

    def tables(self) -> list[Table]:
        """One table: the Keras model, then a row an artefact."""
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
            "of the model's output. Latency: one row, median, measured in "
            f"turns, {self.threads} threads."
        )
        return [Table("Artefacts", columns, rows, note)]


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
