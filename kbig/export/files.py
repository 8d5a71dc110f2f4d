"""One LiteRT or ONNX file of a model, with all that its kind offers."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.errors import UsageError
from kbig.export.format_checks import check_pixels
from kbig.export.format_checks import check_shapes
from kbig.export.formats import LITERT_MODES
from kbig.export.formats import litert_format
from kbig.export.formats import onnx_format
from kbig.export.integer_details import integer_report
from kbig.export.onnx import ONNX_MODES
from kbig.export.onnx import OPSETS
from kbig.export.onnx import check_mode
from kbig.export.onnx import check_opset
from kbig.export.publish import job_of
from kbig.export.publish import publish_proved
from kbig.export.report import ArtefactReport
from kbig.export.samples import named_samples


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
    free: Sequence[str] = (),
    lengths: Sequence[int] = (),
    pixels: bool = False,
) -> ArtefactReport:
    """Writes a .tflite file of builtin ops, once it is proved.

    It takes one row of the length of the samples, whose memory is planned
    before the first call, unless `free` says otherwise.

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
        files: texts by name that travel in the file: a zip behind the model.
            Its TFLite metadata tell libraries of tasks, as MediaPipe's, to
            name classes by `labels.txt` and to cut texts, in lower case, by
            `vocab.txt`.
        free: "batch", "length" or both, to be as long as what is given: a
            short text then takes as much less time. Callers resize the
            inputs, which a signature runner does by itself.
        lengths: of shorter rows, each with a signature `steps_<length>` of
            its own beside `serving_default`; the weights are stored once. For
            kernels that need to know the length, as those of integers do.
            MediaPipe's tasks refuse files of several signatures.
        pixels: the file takes uint8, as a camera gives it, where the model
            takes floats; the model itself rescales them, see
            `kbig.models.cnn(rescale=)`. In mode `int8` that is `integer_io`.

    Returns:
        The report of the artefact; in mode `int8` its `integers` tell what
        the file computes and which layers are furthest from the model.

    Raises:
        UsageError: an unknown mode, a path of another kind, free dimensions
            without samples, a length to be free that the model fixes, lengths
            that are not below the samples'.
        GateError: the model does not convert to builtin ops, or outputs
            differ by more than the mode allows; `path` was not touched.

    Example:
    ```python
    model = kbig.models.mlp((4,), num_classes=3)
    kbig.export.litert(model, "iris-dynamic.tflite", mode="dynamic")
    ```
    """
    path = _checked_path(path, ".tflite", mode, LITERT_MODES)
    job = job_of(model, path.stem, samples, task=task)
    _check_files(files or {})
    formats = [f"litert-{mode}"]
    has_rows = representative is not None
    check_shapes(job, formats, free, lengths, has_rows)
    check_pixels(job, formats if pixels else ())
    job = dataclasses.replace(
        job,
        integer_io=integer_io,
        files=files,
        free=tuple(free),
        lengths=tuple(lengths),
        pixels=pixels,
    )
    if representative is not None:
        rows = named_samples(job.model, representative)
        job = dataclasses.replace(job, representative=rows)
    one = litert_format(mode, path.suffix)
    (report,) = publish_proved(job, [one], path.parent, labels).artefacts
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
    job = job_of(model, path.stem, samples, task=task)
    one = onnx_format(mode, path.suffix, opset)
    (report,) = publish_proved(job, [one], path.parent, labels).artefacts
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
