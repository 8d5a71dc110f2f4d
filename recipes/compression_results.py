"""What compression came to: the original beside what was made of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

import kbig
from kbig.errors import GateError
from kbig.writing import scratch

_COLUMNS = (
    "parameters",
    "non-zero",
    "file",
    "gzip",
    "FLOPs",
    "latency",
    "ratio",
)
# Rows that a LiteRT file is verified with before it is measured.
_ROWS = 8
SHARES = ("accuracy", "micro_f1", "f1")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One model on the test rows.

    Args:
        metrics: by key, as `test_accuracy`.
        sections: of the page.
        parameters: its numbers.
        nonzeros: those that are not zero.
    """

    metrics: Mapping[str, Any]
    sections: list
    parameters: int
    nonzeros: int


@dataclasses.dataclass(frozen=True)
class File:
    """A float32 LiteRT file: what a phone is sent, and computes.

    Args:
        size: bytes.
        gzip: bytes, compressed.
        flops: of one call, see `kbig.export.litert_flops`.
    """

    size: int
    gzip: int
    flops: int | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The original, it trained for as long, and what was made of it.

    Args:
        metric: the main one, as "accuracy".
        trials: by who it is; the original first, what was made of it last.
        files: of those two; empty where one could not be made.
        latency: of what was made of it, in multiples of the original's.
        failure: why there are no files.
    """

    metric: str
    trials: Mapping[str, Trial]
    files: tuple[File, ...] = ()
    latency: Any = None
    failure: str = ""

    def table(self):
        """A row each."""
        shown = kbig.reporting.Percent if self.metric in SHARES else float
        measured = dict(zip(_ends(self.trials), self._measured()))
        rows = [
            (
                name,
                shown(trial.metrics[f"test_{self.metric}"]),
                trial.parameters,
                trial.nonzeros,
                *measured.get(name, (None,) * 5),
            )
            for name, trial in self.trials.items()
        ]
        name = f"test {self.metric.replace('_', ' ')}"
        return kbig.reporting.Table(
            "Before and after", ("", name, *_COLUMNS), rows, self._note()
        )

    def details(self) -> list:
        """Tables beside that one: none."""
        return []

    def numbers(self) -> dict[str, Any]:
        """For metrics.json: the table, and each model's other metrics."""
        *others, last = self.trials.items()
        numbers = {**last[1].metrics}
        for name, trial in others:
            numbers |= {f"{name}_{k}": v for k, v in trial.metrics.items()}
        for name, trial in (*others, ("", last[1])):
            start = f"{name}_" if name else ""
            numbers[f"{start}parameters"] = trial.parameters
            numbers[f"{start}nonzeros"] = trial.nonzeros
        for start, file in zip(("original_", ""), self.files):
            numbers[f"{start}litert_bytes"] = file.size
            numbers[f"{start}litert_gzip_bytes"] = file.gzip
            numbers[f"{start}flops"] = file.flops
        if self.latency is not None:
            numbers |= {
                "latency_ratio": self.latency.ratio,
                "latency_seconds": self.latency.seconds,
                "original_latency_seconds": self.latency.reference_seconds,
            }
        return numbers

    def _measured(self) -> list[tuple]:
        if not self.files:
            return []
        seconds = (self.latency.reference_seconds, self.latency.seconds)
        return [
            (
                kbig.reporting.Bytes(file.size),
                kbig.reporting.Bytes(file.gzip),
                file.flops,
                kbig.reporting.Seconds(second),
                kbig.reporting.Ratio(ratio),
            )
            for file, second, ratio in zip(
                self.files, seconds, (1.0, self.latency.ratio)
            )
        ]

    def _note(self) -> str:
        if self.failure:
            return f"No LiteRT file, and so no size and latency: {self.failure}"
        note = (
            "Of float32 LiteRT files: bytes, operations of matrix products, "
            f"and the latency of one row, threads: {self.latency.threads}, "
            "the two measured in turns in one process."
        )
        if "control" in self.trials:
            note += (
                " The control is the original, trained for as long: its file "
                "differs only in the numbers."
            )
        return note


def trial(model, metrics, sections) -> Trial:
    """Counts what a model holds.

    Args:
        model: any.
        metrics: of it, by key.
        sections: of the page.
    """
    weights = [weight.numpy() for weight in model.weights]
    return Trial(
        metrics,
        sections,
        parameters=sum(weight.size for weight in weights),
        nonzeros=sum(int(np.count_nonzero(weight)) for weight in weights),
    )


def compare(material, trials, models) -> Comparison:
    """Measures the original and what was made of it as LiteRT files.

    Args:
        material: a `recipes.compression.Material`.
        trials: of `Comparison`.
        models: likewise; the original is the first and what was made of it
            the last one.
    """
    training = material.training
    original, *_, model = models.values()
    with scratch() as folder:
        paths = [
            folder / f"{name}.tflite" for name in ("original", "compressed")
        ]
        samples = samples_of(training, original, _ROWS)
        try:
            files = tuple(
                _file(model, path, samples)
                for model, path in zip((original, model), paths)
            )
            latency = kbig.export.latency_ratio(paths[1], paths[0])
        except GateError as error:
            return Comparison(training.metric, trials, failure=str(error))
    return Comparison(training.metric, trials, files, latency)


def samples_of(training, model, rows: int | None) -> dict[str, np.ndarray]:
    """Test rows by input name.

    Args:
        training: of the model.
        model: any.
        rows: how many; None is all that there are.
    """
    inputs = training.inputs(training.samples[0][:rows])
    names = [x.name for x in model.inputs]
    if not isinstance(inputs, Mapping):
        inputs = {names[0]: inputs}
    return {name: np.asarray(inputs[name]) for name in names}


def _file(model, path, samples) -> File:
    report = kbig.export.litert(model, path, samples=samples)
    flops = kbig.export.litert_flops(path)
    return File(report.bytes, report.gzip_bytes, flops)


def _ends(trials) -> tuple:
    names = list(trials)
    return names[0], names[-1]
