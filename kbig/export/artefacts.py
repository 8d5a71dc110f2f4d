"""Several artefacts of one model: written, verified together, published."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export.decisions import task_of
from kbig.export.formats import FORMATS
from kbig.export.formats import LITERT_MODES
from kbig.export.formats import Format
from kbig.export.formats import Job
from kbig.export.formats import check_formats
from kbig.export.formats import litert_writer
from kbig.export.formats import onnx_writer
from kbig.export.integer_details import integer_report
from kbig.export.onnx import ONNX_MODES
from kbig.export.onnx import OPSETS
from kbig.export.onnx import check_mode
from kbig.export.onnx import check_opset
from kbig.export.report import ArtefactReport
from kbig.export.report import VerifyReport
from kbig.export.samples import checked_labels
from kbig.export.samples import named_samples
from kbig.export.samples import synthetic_samples
from kbig.export.samples import text_samples
from kbig.export.signatures import check_class_names
from kbig.export.signatures import output_names
from kbig.export.staging import publish_file
from kbig.export.staging import staging
from kbig.export.twin import float32_twin
from kbig.export.verify import verify
from kbig.export.warmup import warmup_note


def artefacts(
    model: keras.Model,
    directory: str | os.PathLike,
    formats: Sequence[str],
    *,
    name: str = "model",
    samples=None,
    labels=None,
    tokenizer=None,
    sequence_length: int | None = None,
    class_names: Sequence[str] = (),
    task: str | None = None,
    about: Mapping | None = None,
) -> VerifyReport:
    """Writes artefacts under their final names once all of them are proved.

    A SavedModel becomes `directory/<version>/`, the next free version; a
    LiteRT file `directory/<name>-<mode>.tflite`, an ONNX file
    `directory/<name>-<mode>.onnx`. Everything is written
    aside first, run in its own runtime on the samples and compared with the
    model. When one gate fails, nothing is published.

    Args:
        model: a built model; mixed precision is exported in float32.
        directory: where to, made when missing.
        formats: among `kbig.export.FORMATS`.
        name: begins the names of files.
        samples: what to verify with: one array, or a dict by input name;
            with a tokenizer strings `(rows,)`, pairs of strings `(rows, 2)`,
            or `{"text": strings}`. Random inputs or stock sentences by
            default.
        labels: of the samples, see `kbig.export.verify`.
        tokenizer: a KerasHub tokenizer; clients of the SavedModel then send
            strings.
        sequence_length: length of the rows that the tokenizer fills.
        class_names: adds `probabilities` and `label` to the SavedModel.
        task: "classification", "multilabel", "regression" or "tags": what
            the first output means. By default the dtype of the labels tells.
        about: what else `assets.extra/kbig.json` of a SavedModel records,
            such as the data and the metrics of the model.

    Returns:
        What was measured, with the final paths.

    Raises:
        UsageError: an unknown format, samples that do not fit, a directory
            that cannot be written.
        GateError: a conversion or a comparison failed; nothing was written.

    Example:
    ```python
    model = kbig.models.mlp((4,), num_classes=3)
    report = kbig.export.artefacts(
        model, "saved_models/iris", ["savedmodel", "litert-float32"]
    )
    print(report)
    ```
    """
    check_formats(formats, name)
    job = _job(
        model, name, samples, tokenizer, sequence_length, class_names, task
    )
    job = dataclasses.replace(job, about=dict(about or {}))
    chosen = [FORMATS[key] for key in formats]
    return _publish_proved(job, chosen, pathlib.Path(directory), labels)


def saved_model(
    model: keras.Model, directory: str | os.PathLike, **options
) -> ArtefactReport:
    """Writes `directory/<version>/` for TF Serving, once it is proved.

    Args:
        model: a built model.
        directory: the base path of one served model.
        **options: `samples`, `labels`, `tokenizer`, `sequence_length`,
            `class_names`, `task`, `name` and `about` as in
            `kbig.export.artefacts`.

    Returns:
        The report of the artefact; `report.path` is its folder.

    Raises:
        UsageError: samples that do not fit, a directory not writable.
        GateError: outputs differ from the model's; nothing was written.

    Example:
    ```python
    model = kbig.models.mlp((4,), num_classes=3)
    print(kbig.export.saved_model(model, "saved_models/iris").path)
    ```
    """
    (report,) = artefacts(model, directory, ["savedmodel"], **options).artefacts
    return report


def litert(
    model: keras.Model,
    path: str | os.PathLike,
    mode: str = "float32",
    *,
    samples=None,
    labels=None,
    task: str | None = None,
    representative=None,
    integer_io: bool = False,
    latency: bool = False,
    files: Mapping[str, str] | None = None,
) -> ArtefactReport:
    """Writes a .tflite file of batch 1 and builtin ops, once it is proved.

    Args:
        model: a built model.
        path: the file to write, ending in `.tflite`; replaced atomically.
        mode: `float32`, `float16` (weights in half the bytes), `dynamic`
            (int8 weights, activations quantized while it runs),
            `int8-weights` (as small, and it computes in float), `int8`
            (integers throughout: a model of
            `kbig.compression.quantize_aware`, or `representative`) or `int16`
            (int8 weights and int16 between operations: `representative`; it
            is close to the float model, and slow where no kernel is for it).
        samples: what to verify with; their shapes fix dimensions that the
            model leaves free. Random inputs by default.
        labels: of the samples, see `kbig.export.verify`.
        task: what the first output means, see `kbig.export.artefacts`.
        representative: like `samples`, some 100 rows from which the ranges
            of a float model are read in modes `int8` and `int16`.
        integer_io: in mode `int8`, what is given and taken are integers,
            too: callers round by the scales in the file.
        latency: in mode `int8`, also measure latencies beside a float32 and a
            dynamic int8 file of the same model, which takes a minute.
        files: texts by name, as labels.txt and vocab.txt, that travel in the
            file: a zip behind the model.

    Returns:
        The report of the artefact; in mode `int8` its `integers` tell what
        the file computes and which layers are furthest from the model.

    Raises:
        UsageError: an unknown mode, a path of another kind, free dimensions
            without samples.
        GateError: the model does not convert to builtin ops, or outputs
            differ by more than the mode allows; `path` was not touched.

    Example:
    ```python
    model = kbig.models.mlp((4,), num_classes=3)
    kbig.export.litert(model, "iris-dynamic.tflite", mode="dynamic")
    ```
    """
    path = _checked_path(path, ".tflite", mode, LITERT_MODES)
    job = _job(model, path.stem, samples, task=task)
    _check_files(files or {})
    job = dataclasses.replace(job, integer_io=integer_io, files=files)
    if representative is not None:
        rows = named_samples(job.model, representative)
        job = dataclasses.replace(job, representative=rows)
    one = Format(litert_writer(mode, path.name), publish_file)
    (report,) = _publish_proved(job, [one], path.parent, labels).artefacts
    if mode != "int8":
        return report
    details = integer_report(job.model, path, job.samples, latency)
    return dataclasses.replace(report, integers=details)


def onnx(
    model: keras.Model,
    path: str | os.PathLike,
    mode: str = "float32",
    *,
    samples=None,
    labels=None,
    task: str | None = None,
    opset: int = OPSETS[0],
) -> ArtefactReport:
    """Writes an .onnx file for onnxruntime, once it is proved.

    The batch is free, and so is every axis that the model leaves free, but
    for the steps of a recurrent model in mode `int8`.

    Args:
        model: a built model.
        path: the file to write, ending in `.onnx`; replaced atomically.
        mode: `float32`, `dynamic` (int8 weights, activations quantized while
            it runs) or `int8` (a model of
            `kbig.compression.quantize_aware`, as QDQ).
        samples: what to verify with. Random inputs by default.
        labels: of the samples, see `kbig.export.verify`.
        task: what the first output means, see `kbig.export.artefacts`.
        opset: of the standard operators, 17 or 18.

    Returns:
        The report of the artefact.

    Raises:
        UsageError: an unknown mode or opset, a path of another kind, a float
            model for `int8`.
        GateError: the model does not convert to operators that onnxruntime
            has, or outputs differ by more than the mode allows; `path` was
            not touched.

    Example:
    ```python
    model = kbig.models.mlp((4,), num_classes=3)
    kbig.export.onnx(model, "iris-dynamic.onnx", mode="dynamic")
    ```
    """
    path = _checked_path(path, ".onnx", mode, ONNX_MODES)
    check_opset(opset)
    check_mode(model, mode)
    job = _job(model, path.stem, samples, task=task)
    one = Format(onnx_writer(mode, path.name, opset), publish_file)
    (report,) = _publish_proved(job, [one], path.parent, labels).artefacts
    return report


def _checked_path(path, suffix: str, mode: str, modes) -> pathlib.Path:
    path = pathlib.Path(path)
    if mode not in modes or path.suffix != suffix:
        raise UsageError(
            f"Expected a mode among {', '.join(modes)} and a path that ends "
            f"in {suffix}. Received: mode={mode!r}, path={path}."
        )
    return path


def _check_files(files) -> None:
    for name, text in files.items():
        plain = isinstance(name, str) and pathlib.PurePath(name).name == name
        if not plain or not name or not isinstance(text, str):
            raise UsageError(
                "Files that travel with a model are texts under plain names, "
                f"as labels.txt. Received: {name!r}: {type(text).__name__}. "
                "Join lines to one text."
            )


def _publish_proved(job, formats, directory, labels) -> VerifyReport:
    """Writes aside, verifies, and renames only when every gate held."""
    rows = len(next(iter(job.samples.values())))
    labels = checked_labels(labels, rows)
    task_of(job.task, labels, output_names(job.model), job.class_names)
    with staging(directory) as aside:
        staged = [format.write(job, aside) for format in formats]
        report = verify(
            job.model,
            staged,
            job.samples,
            labels=labels,
            class_names=job.class_names,
            task=job.task,
        )
        _require_passed(report)
        paths = [
            format.publish(path, directory)
            for format, path in zip(formats, staged)
        ]
        return report.published(paths, notes=_notes(formats))


def _notes(formats) -> tuple[str, ...]:
    has_saved_model = FORMATS["savedmodel"] in formats
    return (warmup_note(),) if has_saved_model and warmup_note() else ()


def _job(
    model,
    name,
    samples,
    tokenizer=None,
    sequence_length=None,
    class_names=(),
    task=None,
) -> Job:
    check_class_names(model, class_names)
    model = float32_twin(model)
    if tokenizer is not None:
        samples = text_samples(model, samples, tokenizer, sequence_length)
    elif samples is None:
        samples = synthetic_samples(model)
    samples = named_samples(model, samples)
    return Job(
        model, name, samples, tokenizer, sequence_length, class_names, task
    )


def _require_passed(report: VerifyReport) -> None:
    faults = [
        f"{artefact.name}: {'; '.join(artefact.faults)}"
        for artefact in report.artefacts
        if not artefact.passed
    ]
    if faults:
        raise GateError(f"Nothing was written. {' / '.join(faults)}.", report)
