"""The table of formats: how each is written, and gets its final name."""

import dataclasses
import pathlib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import keras

from kbig.compression.quantization.model import is_quantized
from kbig.errors import UsageError
from kbig.export.litert import INTEGER_MODES
from kbig.export.litert import write_litert
from kbig.export.litert_metadata import add_metadata
from kbig.export.litert_metadata import texts_of
from kbig.export.onnx import ONNX_MODES
from kbig.export.onnx import OPSETS
from kbig.export.onnx import write_onnx
from kbig.export.record import write_assets
from kbig.export.record import write_record
from kbig.export.samples import has_nan
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures
from kbig.export.staging import publish_file
from kbig.export.staging import publish_version
from kbig.export.warmup import warmup_note
from kbig.export.warmup import write_warmup


@dataclasses.dataclass(frozen=True)
class Job:
    """A model and all that its artefacts need to know."""

    model: keras.Model
    name: str
    samples: Mapping
    tokenizer: object
    sequence_length: int | None
    class_names: Sequence[str]
    task: str | None
    representative: Mapping | None = None
    integer_io: bool = False
    files: Mapping[str, str] | None = None
    free: Sequence[str] = ()
    lengths: Sequence[int] = ()
    pixels: bool = False
    about: Mapping = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Format:
    """How a format is written aside, and how it gets its final name.

    Args:
        write: of a job and a folder; returns what it wrote there.
        publish: of this and the directory; returns the final path.
        ending: of a file, after the job's name; empty for a version.
    """

    write: Callable[[Job, pathlib.Path], pathlib.Path]
    publish: Callable[[pathlib.Path, pathlib.Path], pathlib.Path]
    ending: str = ""


def _saved_model(job: Job, aside: pathlib.Path) -> pathlib.Path:
    signatures = model_signatures(
        job.model,
        tokenizer=job.tokenizer,
        sequence_length=job.sequence_length,
        class_names=job.class_names,
        task=job.task,
        pairs="text_pair" in job.samples,
        check_ids=True,
        keep_nan=not has_nan(job.samples),
        pixels=job.pixels,
    )
    folder = aside / "saved_model"
    pieces = job.tokenizer.get_vocabulary() if job.tokenizer else ()
    assets = write_assets(aside, pieces, job.class_names)
    write_saved_model(signatures, folder, [job.tokenizer], assets)
    write_record(
        signatures,
        folder,
        name=job.name,
        class_names=job.class_names,
        task=job.task,
        about=job.about,
    )
    if not warmup_note():
        write_warmup(signatures, job.model, job.samples, folder, job.name)
    return folder


def litert_format(mode: str, ending: str = "") -> Format:
    """The format of a LiteRT file.

    Args:
        mode: one of `LITERT_MODES`.
        ending: of the file, after the job's name; by default with the mode.
    """
    ending = ending or f"-{mode}.tflite"

    def write(job: Job, aside: pathlib.Path) -> pathlib.Path:
        file = aside / f"{job.name}{ending}"
        _check_mode(job, mode)
        write_litert(
            job.model,
            file,
            mode,
            job.samples,
            representative=job.representative,
            integer_io=job.integer_io,
            free=job.free,
            pixels=job.pixels,
            lengths=job.lengths,
        )
        texts, lowercase = _texts(job), _lowers_case(job.tokenizer)
        add_metadata(file, job.name, job.samples, texts, lowercase)
        return file

    return Format(write, publish_file, ending)


def _texts(job: Job) -> dict[str, str]:
    """What travels in a LiteRT file: what it needs, and what was given."""
    tokens = job.tokenizer.get_vocabulary() if job.tokenizer else ()
    return {**texts_of(job.class_names, tokens), **(job.files or {})}


def _lowers_case(tokenizer) -> bool:
    """Whether a tokenizer folds the case; what `files` alone are of does."""
    # KerasHub's own have only the one, those of kbig both.
    own = getattr(tokenizer, "lowercase", tokenizer is None)
    return getattr(tokenizer, "lowers_case", own)


def onnx_format(mode: str, ending: str = "", opset: int = OPSETS[0]) -> Format:
    """The format of an ONNX file.

    Args:
        mode: one of `kbig.export.onnx.ONNX_MODES`.
        ending: of the file, after the job's name; by default with the mode.
        opset: of the standard operators.
    """
    ending = ending or f"-{mode}.onnx"

    def write(job: Job, aside: pathlib.Path) -> pathlib.Path:
        file = aside / f"{job.name}{ending}"
        write_onnx(job.model, file, mode, job.samples, opset)
        return file

    return Format(write, publish_file, ending)


def _check_mode(job: Job, mode: str) -> None:
    """Integers need ranges, and ranges mean integers."""
    quantized = is_quantized(job.model)
    given = job.representative is not None
    if mode == "int8" and quantized == given:
        raise UsageError(
            "int8 needs the ranges of all tensors, from one side. Received: "
            f"a {'quantized' if quantized else 'float'} model "
            f"{'and' if given else 'without'} representative rows. Pass a "
            "model of `kbig.compression.quantize_aware`, or a float one with "
            "representative=rows."
        )
    if mode == "int16" and (quantized or not given):
        raise UsageError(
            "int16 needs a float model, and rows to find its ranges in. "
            f"Received: a {'quantized' if quantized else 'float'} model "
            f"{'and' if given else 'without'} representative rows. Pass the "
            "float model with representative=rows."
        )
    taken = [x.name for x in job.model.inputs if not is_float(x)]
    if mode == "int16" and taken:
        raise UsageError(
            "The converter knows int16 only of models that take floats. "
            f"Received: inputs of integers, {', '.join(taken)}. Take mode "
            "int8 or dynamic."
        )
    if mode != "int8" and job.integer_io:
        raise UsageError(
            "Integers are given and taken in mode int8. Received: "
            f"integer_io=True, mode={mode!r}. Leave one of them out."
        )
    if (
        job.integer_io
        and quantized
        and job.model.quantization.plan.float_outputs
    ):
        raise UsageError(
            "Integers are given where the last layer rounds. Received: "
            f"integer_io=True, and {job.model.name!r}, which ends in float. "
            "Leave integer_io out, or end the model in another layer."
        )
    if mode not in INTEGER_MODES and (quantized or given):
        raise UsageError(
            f"A quantized model is written in mode int8. Received: {mode}. "
            "Export the model that it was made of."
        )


LITERT_MODES = (
    "float32",
    "float16",
    "dynamic",
    "int8",
    "int8-weights",
    "int16",
)
# A new format is one line here.
FORMATS = {
    "savedmodel": Format(_saved_model, publish_version),
    **{
        f"litert-{mode}": litert_format(mode)
        for mode in LITERT_MODES
        if mode != "int16"  # Its ranges come from rows that no run keeps.
    },
    **{f"onnx-{mode}": onnx_format(mode) for mode in ONNX_MODES},
}


def is_float(x: keras.KerasTensor) -> bool:
    """Whether a tensor of a model holds floats."""
    return keras.backend.is_float_dtype(x.dtype)
