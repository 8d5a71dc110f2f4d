"""What `kbig quantize` came to: float beside integers, file by file."""

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

import kbig
from kbig.errors import GateError
from kbig.export.litert_metadata import texts_of
from kbig.writing import scratch
from recipes import compression_results


@dataclasses.dataclass(frozen=True)
class Row:
    """One model in one numeric format, on the test rows.

    Args:
        name: what it is.
        metrics: one number a seed; empty where it could not be made.
        artefact: what was measured of its file; None for a Keras model.
        failure: why there is no file.
        integers: of an int8 file, what it computes and which layers are off.
    """

    name: str
    metrics: tuple[float, ...]
    artefact: Any = None
    failure: str = ""
    integers: Any = None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Float and integers, before and after training.

    Args:
        metric: the main one, as "accuracy".
        rows: the original first.
        trials: by who it is, of the first seed.
    """

    metric: str
    rows: tuple[Row, ...]
    trials: Mapping[str, Any]

    def table(self):
        """A row each; sizes and latencies of LiteRT files."""
        float32 = self.rows[0].artefact
        shown = (
            kbig.reporting.Percent
            if self.metric in compression_results.SHARES
            else float
        )
        rows = [
            (
                row.name,
                shown(statistics.mean(row.metrics)) if row.metrics else None,
                shown(_spread(row.metrics)) if len(row.metrics) > 1 else None,
                *_measured(row.artefact, float32),
            )
            for row in self.rows
        ]
        name = f"test {self.metric.replace('_', ' ')}"
        columns = ("", name, "spread", "file", "gzip", "latency", "ratio")
        notes = [f"{r.name}: {r.failure}" for r in self.rows if r.failure]
        note = (
            "Files run in LiteRT on the same rows, latencies of one row "
            "measured in turns. The control was trained for as long, in float."
        )
        return kbig.reporting.Table(
            "Float and integers", columns, rows, " ".join([note, *notes])
        )

    def details(self) -> list:
        """Tables of the int8 file that was trained for."""
        integers = self.rows[-1].integers
        return integers.tables() if integers else []

    def numbers(self) -> dict[str, Any]:
        """For metrics.json: the table, and each model's other metrics."""
        *others, last = self.trials.items()
        numbers = {**last[1].metrics}
        for name, trial in others:
            numbers |= {f"{name}_{k}": v for k, v in trial.metrics.items()}
        for row in self.rows:
            key = row.name.replace(" ", "_").replace(",", "")
            if row.metrics:
                numbers[f"{key}_{self.metric}"] = statistics.mean(row.metrics)
            if row.artefact is not None:
                numbers[f"{key}_bytes"] = row.artefact.bytes
                numbers[f"{key}_gzip_bytes"] = row.artefact.gzip_bytes
                numbers[f"{key}_latency_seconds"] = row.artefact.latency_seconds
            if row.integers is not None:
                numbers[f"{key}_report"] = row.integers.to_dict()
        return numbers


def quantized(material):
    """A quantized copy of the model of a run, its ranges found."""
    config = material.config
    x = material.training.dataset.arrays("train")[0][: config.rows]
    return kbig.compression.quantize_aware(
        material.copy(),
        material.training.inputs(x),
        bits=config.bits,
        skip=config.skip,
        islands=config.islands,
        observer=config.observer,
    )


def callbacks(material) -> tuple:
    """Keeps the zeros of a pruned model."""
    if not material.config.sparsity_kept:
        return ()
    return (kbig.compression.KeepZeros(),)


def compare(material, trials, models) -> Comparison:
    """Measures every model in every format, for every seed.

    Args:
        material: a `recipes.compression.Material`.
        trials: by who it is, tested; the quantized one is the last.
        models: likewise.
    """
    rows = _rows(material, trials, models)
    for seed in range(1, material.config.seeds):
        models = {**models, **_trained_again(material, seed, models)}
        again = {name: material.tested(model) for name, model in models.items()}
        more = {row.name: row for row in _rows(material, again, models)}
        rows = [
            dataclasses.replace(
                row, metrics=(*row.metrics, *more[row.name].metrics)
            )
            if row.name.partition(",")[0] != "original"
            else row
            for row in rows
        ]
    return Comparison(material.training.metric, tuple(rows), trials)


def _rows(material, trials, models) -> list[Row]:
    """One seed: files first, then what Keras gives for the quantized."""
    metric = f"test_{material.training.metric}"
    original = models["original"]
    rows = compression_results.samples_of(material.training, original, None)
    judged = {
        "labels": material.training.samples[1],
        "task": material.run.config.get("task") or None,
    }
    found = {}
    with scratch() as folder:
        for name, model, options in _wanted(material, models):
            path = folder / f"{len(found)}.tflite"
            found[name] = _exported(name, model, path, rows, judged, options)
        paths = [x.path for x in found.values() if not isinstance(x, Row)]
        report = kbig.export.verify(original, paths, rows, **judged)
    artefacts = iter(report.artefacts)
    result = [
        x
        if isinstance(x, Row)
        else _row(name, next(artefacts), integers=x.integers)
        for name, x in found.items()
    ]
    keras = Row("quantized, Keras", (trials["quantized"].metrics[metric],))
    return [*result[:-1], keras, result[-1]]


def _exported(name, model, path, rows, judged, options):
    """The report of a file; a row where it is not what its model is."""
    try:
        return kbig.export.litert(
            model, path, samples=rows, **judged, **options
        )
    except GateError as error:
        measured = error.report.artefacts if error.report else [None]
        return _row(name, measured[0], str(error))


def _row(name: str, artefact, failure: str = "", integers=None) -> Row:
    metric = artefact.metric if artefact is not None else None
    metrics = () if metric is None else (float(metric),)
    return Row(name, metrics, artefact, failure, integers)


def _wanted(material, models):
    """Names, models and how each is exported."""
    rows = material.training.dataset.arrays("train")[0]
    rows = material.training.inputs(rows[: material.config.rows])
    floats = {k: v for k, v in models.items() if k != "quantized"}
    run = material.run
    # What the file that is shipped carries counts in the others, too.
    texts = {"files": texts_of(run.class_names, run.vocabulary)}
    converted = {"mode": "int8", "representative": rows, **texts}
    dynamic = {"mode": "dynamic", **texts}
    for name, model in floats.items():
        yield f"{name}, float32", model, {"mode": "float32", **texts}
    for name, model in floats.items():
        yield f"{name}, post-training int8", model, converted
    yield "original, dynamic int8", models["original"], dynamic
    trained = {"mode": "int8", "latency": True, **texts}
    yield "quantized, int8", models["quantized"], trained


def _trained_again(material, seed: int, models) -> dict:
    """The control and the quantized model of another seed."""
    again = material.seeded(seed)
    made = {"quantized": quantized(again)}
    if "control" in models:
        made = {"control": again.copy(), **made}
    with scratch() as folder:
        for name, model in made.items():
            kept = callbacks(again) if name == "quantized" else ()
            again.fit(model, folder / name, kept)
    return made


def _measured(artefact, float32) -> tuple:
    if artefact is None:
        return (None,) * 4
    ratio = float("nan")
    if float32 is not None:
        ratio = artefact.latency_seconds / float32.latency_seconds
    return (
        kbig.reporting.Bytes(artefact.bytes),
        kbig.reporting.Bytes(artefact.gzip_bytes),
        kbig.reporting.Seconds(artefact.latency_seconds),
        kbig.reporting.Ratio(ratio),
    )


def _spread(metrics) -> float:
    return statistics.stdev(metrics)
