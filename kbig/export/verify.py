"""Runs every artefact in its own runtime and compares it with the model."""

import contextlib
import os
import pathlib
import random
import statistics
import zlib
from collections.abc import Iterable

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.export import compare
from kbig.export.litert_file import weights_dtype
from kbig.export.report import ArtefactReport
from kbig.export.report import VerifyReport
from kbig.export.runtime import ArtefactProcess
from kbig.export.runtime import KerasReference
from kbig.export.runtime import artefact_process
from kbig.export.samples import checked_labels
from kbig.export.samples import named_samples
from kbig.export.twin import float32_twin

_TIMING_ROUNDS = 12


def verify(
    model: keras.Model,
    artefacts: Iterable[str | os.PathLike],
    samples,
    *,
    labels=None,
    threads: int | None = None,
) -> VerifyReport:
    """Runs artefacts outside Keras and compares them with the model.

    A SavedModel runs in TensorFlow in a process that must not load Keras, a
    .tflite file in ai-edge-litert. Every signature is run; the largest
    difference counts. Latencies of single rows are measured in turns, in
    random order.

    Args:
        model: the model that the artefacts were made from; under mixed
            precision its float32 twin is the reference.
        artefacts: folders of SavedModels and .tflite files.
        samples: one array, or a dict of arrays by input name, `(rows, ...)`.
        labels: integers `(rows,)` for accuracy, or floats of the output's
            shape for mean absolute error. None: no metric.
        threads: of every runtime; by default the number of cores.

    Returns:
        A report. It does not raise when a gate fails: see `passed`.

    Raises:
        UsageError: a missing file, samples or labels that do not fit.
        GateError: an artefact that does not load or ends its process.

    Example:
    ```python
    report = kbig.export.verify(model, ["m-float16.tflite"], x, labels=y)
    print(report)
    ```
    """
    paths = [_existing(pathlib.Path(p)) for p in artefacts]
    model = float32_twin(model)
    samples = named_samples(model, samples)
    rows = len(next(iter(samples.values())))
    labels = checked_labels(labels, rows)
    threads = threads or os.cpu_count() or 1
    reference = KerasReference(model, samples)
    expected = reference.outputs()
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(artefact_process(path, threads))
            for path in paths
        ]
        outputs = [process.run(samples) for process in processes]
        keras_seconds, *seconds = _latencies([reference, *processes])
    return VerifyReport(
        artefacts=tuple(
            _artefact_report(process, got, expected, labels, own, keras_seconds)
            for process, got, own in zip(processes, outputs, seconds)
        ),
        samples=rows,
        threads=threads,
        metric_name=compare.metric_name(labels),
        keras_metric=compare.task_metric(_first(expected), labels),
        keras_latency_seconds=keras_seconds,
    )


def _artefact_report(
    process: ArtefactProcess, got, expected, labels, seconds, keras_seconds
) -> ArtefactReport:
    loaded = process.loaded
    difference = _worst_difference(got, expected)
    weights = _weights_dtype(process.path)
    tolerance = compare.TOLERANCES[weights]
    size, gzip_size = _sizes(process.path)
    first = _first(next(iter(got.values())))
    classifies = compare.are_classes(labels) or "logits" in expected
    return ArtefactReport(
        path=str(process.path),
        format="SavedModel" if process.path.is_dir() else "LiteRT",
        weights=weights,
        runtime=loaded["runtime"],
        signatures=tuple(got),
        bytes=size,
        gzip_bytes=gzip_size,
        load_seconds=loaded["load_seconds"],
        largest_difference=difference,
        tolerance=tolerance,
        top1_agreement=(
            compare.top1_agreement(first, _first(expected))
            if classifies
            else None
        ),
        metric=compare.task_metric(first, labels),
        latency_seconds=seconds,
        latency_ratio=seconds / keras_seconds,
        faults=_faults(difference, tolerance, loaded["keras"]),
    )


def _weights_dtype(path: pathlib.Path) -> str:
    return "float32" if path.is_dir() else weights_dtype(path.read_bytes())


def _worst_difference(got, expected) -> float:
    """Over all signatures and outputs; NaN wins, as it must."""
    differences = [
        compare.largest_difference(outputs[name], expected[name])
        for outputs in got.values()
        for name in expected
    ]
    return float(np.max(differences))


def _faults(difference, tolerance, has_keras) -> tuple[str, ...]:
    faults = []
    if not difference <= tolerance:  # NaN is a fault too.
        faults.append(
            f"outputs differ from the model's by {difference:.2g} of their "
            f"range, {tolerance:.2g} is allowed"
        )
    if has_keras:
        faults.append("it loaded Keras to run")
    return tuple(faults)


def _first(outputs: dict[str, np.ndarray]) -> np.ndarray:
    return next(iter(outputs.values()))


def _latencies(participants) -> list[float]:
    """Median seconds of one call each, taken in turns in random order."""
    calls = [_calls_a_round(p) for p in participants]
    seconds = [[] for _ in participants]
    order = list(range(len(participants)))
    shuffled = random.Random(0)
    for _ in range(_TIMING_ROUNDS):
        shuffled.shuffle(order)
        for i in order:
            seconds[i] += participants[i].time(calls[i])
    return [statistics.median(s) for s in seconds]


def _calls_a_round(participant, round_seconds=0.02, most=20) -> int:
    participant.time(1)  # The first call compiles or allocates.
    (seconds,) = participant.time(1)
    return min(most, max(1, round(round_seconds / seconds)))


def _sizes(path: pathlib.Path) -> tuple[int, int]:
    """Bytes of a file or folder, raw and compressed by zlib."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    contents = [f.read_bytes() for f in files if f.is_file()]
    compressed = sum(len(zlib.compress(content)) for content in contents)
    return sum(map(len, contents)), compressed


def _existing(path: pathlib.Path) -> pathlib.Path:
    is_saved_model = (path / "saved_model.pb").is_file()
    if is_saved_model or (path.is_file() and path.suffix == ".tflite"):
        return path
    raise UsageError(
        "An artefact is a folder with saved_model.pb or a .tflite file. "
        f"Received: {str(path)!r}."
    )
