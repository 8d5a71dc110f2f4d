"""Several artefacts of one model: written, verified together, published."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.export.format_checks import check_formats
from kbig.export.format_checks import check_pixels
from kbig.export.format_checks import check_shapes
from kbig.export.formats import FORMATS
from kbig.export.publish import job_of
from kbig.export.publish import publish_proved
from kbig.export.report import ArtefactReport
from kbig.export.report import VerifyReport


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
    tokenizer_ops: str = "text",
    free: Sequence[str] = (),
    lengths: Sequence[int] = (),
    pixels: bool = False,
    latencies: bool = False,
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
            strings, and LiteRT files carry `vocab.txt`.
        sequence_length: length of the rows that the tokenizer fills.
        class_names: adds `probabilities` and `label` to the SavedModel, and
            `labels.txt` to LiteRT files.
        task: "classification", "multilabel", "regression" or "tags": what
            the first output means. By default the dtype of the labels tells.
        about: what else `assets.extra/kbig.json` of a SavedModel records,
            such as the data and the metrics of the model.
        tokenizer_ops: "text": the tokenizer inside the SavedModel has ops of
            tensorflow-text, which a server must link. "core": it has only
            TensorFlow's own, for any server, and takes two to three times as
            long over a text.
        free: "batch", "length" or both, of LiteRT files, see
            `kbig.export.litert`; those for servers have both free anyway.
        lengths: of LiteRT files, see `kbig.export.litert`.
        pixels: what is written takes uint8 where the model takes floats, see
            `kbig.export.litert`.
        latencies: also measure all of them by threads and rows, see
            `kbig.export.verify`.

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
    job = job_of(
        model,
        name,
        samples,
        tokenizer,
        sequence_length,
        class_names,
        task,
        tokenizer_ops,
    )
    check_pixels(job, formats if pixels else ())
    check_shapes(job, formats, free, lengths)
    job = dataclasses.replace(
        job,
        about=dict(about or {}),
        free=tuple(free),
        lengths=tuple(lengths),
        pixels=pixels,
    )
    chosen = [FORMATS[key] for key in formats]
    return publish_proved(
        job, chosen, pathlib.Path(directory), labels, latencies
    )


def saved_model(
    model: keras.Model, directory: str | os.PathLike, **options
) -> ArtefactReport:
    """Writes `directory/<version>/` for TF Serving, once it is proved.

    Args:
        model: a built model.
        directory: the base path of one served model.
        **options: `samples`, `labels`, `tokenizer`, `sequence_length`,
            `class_names`, `task`, `name`, `about`, `tokenizer_ops`, `pixels`
            and `latencies` as in `kbig.export.artefacts`.

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
