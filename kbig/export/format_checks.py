"""What formats, shapes and pixels may be asked for, before any is written."""

import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.export.formats import FORMATS
from kbig.export.formats import LITERT_MODES
from kbig.export.formats import Job
from kbig.export.formats import is_float
from kbig.export.lengths import check_lengths
from kbig.export.litert import FREE
from kbig.export.litert import INTEGER_MODES

_PIXELS = (
    "savedmodel",
    *(f"litert-{mode}" for mode in LITERT_MODES if mode not in INTEGER_MODES),
)


def check_formats(formats: Sequence[str], name: str) -> None:
    """Raises a UsageError for an unknown format, or a name that is a path."""
    unknown = [key for key in formats if key not in FORMATS]
    if unknown or not formats or len(set(formats)) < len(formats):
        raise UsageError(
            f"Expected one or more different formats among "
            f"{', '.join(FORMATS)}. Received: {', '.join(formats) or 'none'}."
        )
    if pathlib.PurePath(name).name != name or name.startswith("."):
        raise UsageError(
            "A name is one plain part of a file's name. "
            f"Received: name={name!r}."
        )


def check_shapes(
    job: Job,
    formats: Sequence[str],
    free: Sequence[str],
    lengths: Sequence[int],
    has_rows: bool = False,
) -> None:
    """Raises a UsageError for shapes that no file can have.

    Args:
        job: a model and its samples.
        formats: that are to be written.
        free: what LiteRT files are to leave free.
        lengths: of shorter rows that they are to have signatures for.
        has_rows: whether ranges are read from rows, all of one length.
    """
    for key in formats:
        _check_free(job.model, key.removeprefix("litert-"), free)
    check_lengths(job.model, job.samples, lengths, has_rows)
    if lengths and "length" in free:
        raise UsageError(
            "A file that leaves the length free needs no other signatures for "
            f"lengths. Received: free={free!r}, lengths={lengths!r}. Pass one "
            "of them."
        )
    options = {"free": free, "lengths": lengths}
    given = {name: value for name, value in options.items() if value}
    if given and not any(key.startswith("litert-") for key in formats):
        raise UsageError(
            f"{', '.join(given)}: an option of LiteRT files. Received: "
            f"{given} for {', '.join(formats)}. Leave it out: what is for "
            "servers takes any batch and length."
        )


def _check_free(model: keras.Model, mode: str, free: Sequence[str]) -> None:
    """Raises a UsageError for a dimension that cannot be left free."""
    if set(free) - {*FREE} or isinstance(free, str):
        raise UsageError(
            f"What may be free are dimensions among {', '.join(FREE)}, as a "
            f"tuple. Received: free={free!r}."
        )
    if "length" not in free:
        return
    if mode in INTEGER_MODES:
        raise UsageError(
            "The kernels of integers need to know the length. Received: "
            f"free={free!r} in mode {mode}. Leave the length out, or take "
            "mode dynamic."
        )
    if not any(None in x.shape[1:] for x in model.inputs):
        shapes = {x.name: tuple(x.shape) for x in model.inputs}
        raise UsageError(
            "The length of a file is free where it is in the model. Received: "
            f"free={free!r} and inputs of {shapes}. Build the model with None "
            "in that place, or leave the length out."
        )


def check_pixels(job: Job, formats: Sequence[str]) -> None:
    """Raises a UsageError where bytes cannot stand for what a model takes.

    Args:
        job: a model and its samples.
        formats: that are to take uint8; none are checked.
    """
    others = [key for key in formats if key not in _PIXELS]
    if others:
        raise UsageError(
            f"What can take uint8 is {', '.join(_PIXELS)}. Received: "
            f"pixels=True for {', '.join(others)}. Leave it out; mode int8 "
            "takes integers by integer_io=True."
        )
    taken = [x.name for x in job.model.inputs if is_float(x)]
    whole = all(_are_pixels(job.samples[name]) for name in taken)
    if formats and not (taken and whole):
        inputs = {x.name: x.dtype for x in job.model.inputs}
        raise UsageError(
            "Pixels are for models that take floats, whose samples are whole "
            f"numbers from 0 to 255. Received: inputs {inputs}. Pass such "
            "samples and build the model with rescale=1/255, or leave "
            "pixels out."
        )


def _are_pixels(array: np.ndarray) -> bool:
    return bool(((array >= 0) & (array <= 255) & (array % 1 == 0)).all())
