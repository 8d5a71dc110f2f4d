"""What artefacts were seen to do, as reports."""

import dataclasses
import pathlib

from kbig.reporting import Bytes
from kbig.reporting import Percent
from kbig.reporting import Ratio
from kbig.reporting import Report
from kbig.reporting import Seconds
from kbig.reporting import Table


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
        """One row, with its own title."""
        return [_table("Artefact", [self], None)]


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
        """One table, a row an artefact."""
        return [_table("Artefacts", self.artefacts, self)]


def _table(title, artefacts, report: VerifyReport | None) -> Table:
    metric = (report and report.metric_name) or "metric"
    columns = [
        "artefact",
        "weights",
        "largest difference",
        "allowed",
        "top-1 agreement",
        metric,
        "size",
        "gzip",
        "load",
        "latency",
        "ratio to Keras",
        "verdict",
    ]
    rows = [_row(artefact) for artefact in artefacts]
    if report is None:
        return Table(title, columns, rows)
    latency = report.keras_latency_seconds
    baseline = {
        "artefact": "Keras model",
        "weights": "float32",
        metric: report.keras_metric,
        "latency": Seconds(latency),
        "ratio to Keras": Ratio(1.0),
    }
    rows.insert(0, [baseline.get(column) for column in columns])
    note = (
        f"{report.samples} samples. Differences are shares of the range of "
        "the model's output. Latency: one row, median, measured in turns, "
        f"{report.threads} threads."
    )
    return Table(title, columns, rows, note)


def _row(artefact: ArtefactReport) -> list:
    agreement = artefact.top1_agreement
    return [
        artefact.name,
        artefact.weights,
        artefact.largest_difference,
        artefact.tolerance,
        None if agreement is None else Percent(agreement),
        artefact.metric,
        Bytes(artefact.bytes),
        Bytes(artefact.gzip_bytes),
        Seconds(artefact.load_seconds),
        Seconds(artefact.latency_seconds),
        Ratio(artefact.latency_ratio),
        "; ".join(artefact.faults) or "verified",
    ]
