"""The one way to a final name: written aside, verified, renamed."""

import pathlib

from kbig.compression.quantization.model import is_quantized
from kbig.data.core_tokens import CoreTokens
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.errors import WriteError
from kbig.export.decisions import task_of
from kbig.export.formats import FORMATS
from kbig.export.formats import Job
from kbig.export.lengths import half_of
from kbig.export.report import VerifyReport
from kbig.export.samples import checked_labels
from kbig.export.samples import named_samples
from kbig.export.samples import synthetic_samples
from kbig.export.samples import text_samples
from kbig.export.signatures import check_class_names
from kbig.export.signatures import output_names
from kbig.export.staging import staging
from kbig.export.twin import float32_twin
from kbig.export.verify import verify
from kbig.export.warmup import warmup_note
from kbig.writing import write_error

# Whose ops the tokenizer inside a SavedModel has.
TOKENIZER_OPS = {"text": lambda tokenizer: tokenizer, "core": CoreTokens}
# What to do when a file is too far from its model, by what it is made of.
_ROUNDED = (
    "Rounded without training it is too far from the model. Train for int8 "
    "(`kbig.compression.quantize_aware`), or take mode dynamic."
)
_TRAINED = (
    "Train the quantized model on, or leave layers in float with skip=[...] of "
    "`kbig.compression.quantize_aware`."
)
_REMEDIES = {
    "float16": "Take mode float32.",
    "int8": "Take mode float32.",
    "integers": _ROUNDED,
    "int16": _ROUNDED,
}


def publish_proved(
    job, formats, directory, labels, latencies: bool = False
) -> VerifyReport:
    """Writes aside, verifies, and renames only when every gate held.

    Args:
        job: a model, and what its artefacts need to know.
        formats: what to write of it.
        directory: where to.
        labels: of the job's samples, or None.
        latencies: whether to measure them by threads and rows, too.

    Returns:
        What was measured, with the final paths.

    Raises:
        UsageError: labels that do not fit, a directory that cannot be
            written.
        GateError: a conversion or a comparison failed; nothing was written.
    """
    rows = len(next(iter(job.samples.values())))
    labels = checked_labels(labels, rows)
    task_of(job.task, labels, output_names(job.model), job.class_names)
    check_targets(job.name, formats, directory)
    with staging(directory) as aside:
        staged = [format.write(job, aside) for format in formats]
        report = _verified(job, staged, job.samples, labels, latencies)
        if "length" in job.free:
            files = [path for path in staged if path.suffix == ".tflite"]
            _verified(job, files, half_of(job.model, job.samples))
        paths = _published(formats, staged, directory)
        return report.published(paths, notes=_notes(formats))


def check_targets(name: str, formats, directory: pathlib.Path) -> None:
    """Raises a UsageError where a folder has the name of a file to come.

    Args:
        name: of the job.
        formats: that are to be written.
        directory: where to.
    """
    files = [directory / f"{name}{x.ending}" for x in formats if x.ending]
    taken = [str(file) for file in files if file.is_dir()]
    if taken:
        raise UsageError(
            "What is written must not be a folder yet. Received: "
            f"{', '.join(taken)}. Move it away, or pass another name or "
            "directory."
        )


def _published(formats, staged, directory) -> list[pathlib.Path]:
    """Renames versions last: clients are to load what is whole."""
    done = {}
    order = sorted(range(len(formats)), key=lambda i: not formats[i].ending)
    for i in order:
        try:
            done[i] = formats[i].publish(staged[i], directory)
        except OSError as error:
            failed = write_error(error, directory, staged[i])
            if failed is None or not done:
                raise
            left = (
                f"Published before that: {', '.join(map(str, done.values()))}."
            )
            raise WriteError(failed.path, failed.reason, left) from error
    return [done[i] for i in range(len(formats))]


def _verified(
    job, staged, samples, labels=None, latencies=False
) -> VerifyReport:
    report = verify(
        job.model,
        staged,
        samples,
        labels=labels,
        class_names=job.class_names,
        task=job.task,
        latencies=latencies,
    )
    _require_passed(report, is_quantized(job.model))
    return report


def _notes(formats) -> tuple[str, ...]:
    has_saved_model = FORMATS["savedmodel"] in formats
    return (warmup_note(),) if has_saved_model and warmup_note() else ()


def job_of(
    model,
    name,
    samples,
    tokenizer=None,
    sequence_length=None,
    class_names=(),
    task=None,
    tokenizer_ops="text",
) -> Job:
    """Collects what is to be written, in float32 and with samples to run.

    Args:
        model: a built model.
        name: of its files.
        samples: see `kbig.export.artefacts`, as all that follow.
        tokenizer: of texts.
        sequence_length: of the rows that it fills.
        class_names: of the logits.
        task: what the first output means.
        tokenizer_ops: a key of `TOKENIZER_OPS`.

    Returns:
        A job.

    Raises:
        UsageError: samples or class names that do not fit, unknown ops, or a
            choice of them without a tokenizer.
    """
    check_class_names(model, class_names)
    _check_ops(tokenizer_ops, tokenizer)
    model = float32_twin(model)
    if tokenizer is not None:
        samples = text_samples(model, samples, tokenizer, sequence_length)
        tokenizer = TOKENIZER_OPS[tokenizer_ops](tokenizer)
    elif samples is None:
        samples = synthetic_samples(model)
    samples = named_samples(model, samples)
    return Job(
        model, name, samples, tokenizer, sequence_length, class_names, task
    )


def _check_ops(tokenizer_ops, tokenizer) -> None:
    if tokenizer_ops not in TOKENIZER_OPS:
        raise UsageError(
            f"Expected tokenizer_ops among {', '.join(TOKENIZER_OPS)}. "
            f"Received: tokenizer_ops={tokenizer_ops!r}."
        )
    if tokenizer is None and tokenizer_ops != "text":
        raise UsageError(
            "The ops of a tokenizer are chosen where there is one. Received: "
            f"tokenizer_ops={tokenizer_ops!r} and no tokenizer. Leave it out."
        )


def _require_passed(report: VerifyReport, trained: bool) -> None:
    failed = [artefact for artefact in report.artefacts if not artefact.passed]
    if not failed:
        return
    faults = [f"{x.name}: {'; '.join(x.faults)}" for x in failed]
    remedies = dict.fromkeys(_remedy(x.weights, trained) for x in failed)
    said = [f"Nothing was written. {' / '.join(faults)}.", *remedies]
    raise GateError(" ".join(filter(None, said)), report)


def _remedy(weights: str, trained: bool) -> str:
    """Of float32 none is known that helps."""
    in_integers = trained and weights == "integers"
    return _TRAINED if in_integers else _REMEDIES.get(weights, "")
