"""Runs every artefact in its own runtime and compares it with the model."""

import contextlib
import os
import pathlib
import statistics
import zlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

import keras
import numpy as np

from kbig.export import gates
from kbig.export.decisions import Task
from kbig.export.decisions import task_of
from kbig.export.gates import Wanted
from kbig.export.kinds import kind_of
from kbig.export.kinds import weights_of
from kbig.export.latencies import ROUNDS
from kbig.export.latencies import check_baseline
from kbig.export.latencies import in_turns
from kbig.export.latencies import latencies as measured_latencies
from kbig.export.latencies import load_average
from kbig.export.lengths import named_by_signature
from kbig.export.lengths import rows_by_length
from kbig.export.report import ArtefactReport
from kbig.export.report import VerifyReport
from kbig.export.runtime import ArtefactProcess
from kbig.export.runtime import KerasReference
from kbig.export.runtime import artefact_process
from kbig.export.samples import checked_labels
from kbig.export.samples import named_samples
from kbig.export.served_checks import class_faults
from kbig.export.served_checks import embeddings
from kbig.export.served_checks import served_outputs
from kbig.export.served_checks import with_examples
from kbig.export.signatures import check_class_names
from kbig.export.signatures import output_names
from kbig.export.twin import float32_twin
from kbig.export.xnnpack import delegation


def verify(
    model: keras.Model,
    artefacts: Iterable[str | os.PathLike],
    samples,
    *,
    labels=None,
    threads: int | None = None,
    class_names: Sequence[str] = (),
    task: str | None = None,
    latencies: bool = False,
    baseline: str | os.PathLike | None = None,
) -> VerifyReport:
    """Runs artefacts outside Keras and compares them with the model.

    A SavedModel runs in TensorFlow in a process that must not load Keras, a
    .tflite file in ai-edge-litert, an .onnx file in onnxruntime, all of them
    and the model on the CPU. Every signature is run; the largest difference
    counts. Latencies of single rows are measured in turns, in random order,
    and with the model's own inputs: where a SavedModel takes text, by the
    signature that takes tokens.

    Args:
        model: the model that the artefacts were made from; under mixed
            precision its float32 twin is the reference.
        artefacts: folders of SavedModels, .tflite and .onnx files.
        samples: one array, or a dict of arrays by input name, `(rows, ...)`.
        labels: integers `(rows,)` for accuracy; floats of the output's shape
            for mean absolute error or, when the task is "multilabel", 0 or 1
            for micro F1. None: no metric.
        threads: of each artefact's runtime; by default the number of cores.
            The model runs as TensorFlow is set in this process.
        class_names: names of the classes in the order of the logits, to check
            the `label` and `probabilities` of signatures that have them.
        task: "classification", "multilabel", "regression" or "tags"; by
            default the dtype of the labels tells. Of tags only those of
            tokens are compared, where the samples have a `padding_mask`.
        latencies: also measure all of them with 1 and 2 threads and 1 and 32
            rows in a call, see `kbig.export.latencies`; it takes as long as
            loading all of them twice, and some seconds.
        baseline: of these, one of the artefacts; by default the first.

    Returns:
        A report. It does not raise when a gate fails: see `passed`.

    Raises:
        UsageError: a missing file, samples, labels or class names that do not
            fit.
        GateError: an artefact that does not load, ends its process or takes
            too long.

    Example:
    ```python
    report = kbig.export.verify(model, ["m-float16.tflite"], x, labels=y)
    print(report)
    ```
    """
    paths = [pathlib.Path(p) for p in artefacts]
    for path in paths:
        kind_of(path)
    check_class_names(model, class_names)
    model = float32_twin(model)
    samples = named_samples(model, samples)
    rows = len(next(iter(samples.values())))
    labels = checked_labels(labels, rows)
    meaning = task_of(task, labels, output_names(model), class_names)
    threads = threads or os.cpu_count() or 1
    reference = KerasReference(model, samples)
    keep = _without_padding(meaning, samples)
    expected = keep(reference.outputs())
    embedded = embeddings(model, samples)
    check_baseline(paths, baseline, latencies)
    labels = keep({"labels": labels})["labels"]
    own_inputs = [x.name for x in model.inputs]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(artefact_process(path, threads, own_inputs))
            for path in paths
        ]
        names = {name for x in processes for name in x.loaded["inputs"]}
        shorter = rows_by_length(model, samples, names)
        kept = {k: _without_padding(meaning, x) for k, x in shorter.items()}
        wanted = Wanted(
            expected,
            served_outputs(expected, meaning, class_names, embedded),
            {
                name: kept[name](KerasReference(model, rows).outputs())
                for name, rows in shorter.items()
            },
        )
        fed = {**samples, **named_by_signature(shorter)}
        outputs = [
            {
                name: given
                if name in wanted.served
                else kept.get(name, keep)(given)
                for name, given in process.run(
                    with_examples(fed, model, process.loaded["inputs"])
                ).items()
            }
            for process in processes
        ]
        keras_seconds, *seconds = map(
            statistics.median, in_turns([reference, *processes], ROUNDS)
        )
        load = load_average()
    detailed = None
    if latencies:
        own = {name: samples[name] for name in own_inputs}
        detailed = measured_latencies(paths, own, baseline=baseline)
    return VerifyReport(
        artefacts=tuple(
            _artefact_report(
                process,
                (got, wanted),
                (meaning, labels, class_names),
                (own, keras_seconds),
            )
            for process, got, own in zip(processes, outputs, seconds)
        ),
        samples=rows,
        threads=threads,
        metric_name=None if labels is None else meaning.metric_name,
        keras_metric=_metric(_first(expected), labels, meaning),
        keras_latency_seconds=keras_seconds,
        load_average=load,
        latencies=detailed,
    )


def _artefact_report(
    process: ArtefactProcess, outputs, meant, latencies
) -> ArtefactReport:
    got, wanted = outputs
    task, labels, class_names = meant
    seconds, keras_seconds = latencies
    loaded = process.loaded
    gates.require_outputs(process.path, got, wanted)
    weights = weights_of(process.path)
    gate = gates.gate_of(weights, labels, task)
    difference, tolerance = gates.worst_difference(got, wanted, gate)
    own = {k: v for k, v in got.items() if k not in wanted.served}
    size, gzip_size = _sizes(process.path)
    agreed, decisions = gates.worst_agreement(own, wanted, task)
    reached, aim = (
        _metric(gates.logits(x, wanted.own), labels, task)
        for x in (_first(own), wanted.own)
    )
    return ArtefactReport(
        path=str(process.path),
        format=kind_of(process.path).name,
        weights=weights,
        runtime=loaded["runtime"],
        signatures=tuple(got),
        bytes=size,
        gzip_bytes=gzip_size,
        load_seconds=loaded["load_seconds"],
        largest_difference=difference,
        tolerance=tolerance,
        top1_agreement=agreed,
        metric=reached,
        latency_seconds=seconds,
        latency_ratio=seconds / keras_seconds,
        xnnpack=delegation(process.path),
        faults=(
            *gates.difference_faults(difference, tolerance),
            *gates.agreement_faults(agreed, decisions, gate),
            *gates.metric_faults(reached, aim, decisions, gate),
            *gates.class_name_faults(own, wanted, class_names, task),
            *class_faults(got.get("classify", {}), class_names),
            *(["it loaded Keras to run"] if loaded["keras"] else []),
        ),
    )


def _without_padding(task: Task | None, samples) -> Callable:
    """What takes the padding out of arrays `(rows, steps, ...)` by name.

    What a tagger says about padding is noise, and easily nine tenths of all.
    """
    if task is None or not task.per_token or "padding_mask" not in samples:
        return lambda arrays: arrays
    shown = samples["padding_mask"].astype(bool)
    return lambda arrays: {
        name: x[shown] if np.shape(x)[:2] == shown.shape else x
        for name, x in arrays.items()
    }


def _metric(outputs, labels, task: Task | None) -> float | None:
    return None if labels is None else task.metric(outputs, labels)


def _first(mapping):
    return next(iter(mapping.values()))


def _sizes(path: pathlib.Path) -> tuple[int, int]:
    """Bytes of a file or folder, raw and compressed by zlib."""
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    contents = [f.read_bytes() for f in files if f.is_file()]
    compressed = sum(len(zlib.compress(content)) for content in contents)
    return sum(map(len, contents)), compressed
