"""Signatures of a LiteRT file for shorter rows: `steps_<length>`.

Kernels of integers need to know how long rows are. A file can have graphs for
several lengths, which share their weights.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.models.arguments import check_each_positive

# Behind `serving_default` in the alphabet: its graph must be the first one, as
# callers without signatures run that.
_PREFIX = "steps_"


def signature_of(length: int) -> str:
    """The name of the signature for rows of a length."""
    return f"{_PREFIX}{length}"


def length_of(signature: str) -> int | None:
    """The length that a signature is for, None where it is another one."""
    digits = signature.removeprefix(_PREFIX)
    is_one = digits != signature and digits.isdecimal()
    return int(digits) if is_one else None


def check_lengths(
    model: keras.Model,
    samples: Mapping[str, np.ndarray],
    lengths: Sequence[int],
    has_rows: bool = False,
) -> None:
    """Makes sure that a file can have graphs for some lengths.

    Args:
        model: built.
        samples: arrays by input name, `(rows, ...)`.
        lengths: that signatures are wanted for.
        has_rows: whether ranges are read from rows, all of one length.

    Raises:
        UsageError: it cannot.
    """
    if isinstance(lengths, Sequence) and not lengths:
        return
    steps = {x.shape[1] for x in _sequences(model, samples).values()}
    if len(steps) != 1 or has_rows:
        raise UsageError(
            "Other lengths are for models that leave one length free, of all "
            "their sequences, and are not with representative rows. Received: "
            f"lengths={lengths!r}, inputs "
            f"{[tuple(x.shape) for x in model.inputs]}. Leave them out."
        )
    check_each_positive("lengths", lengths)
    if max(lengths) >= min(steps) or len(set(lengths)) < len(lengths):
        raise UsageError(
            "Lengths are different numbers of steps below that of the "
            f"samples, {min(steps)}. Received: lengths={lengths!r}. The "
            "samples' own has a signature anyway."
        )


def shortened(
    model: keras.Model, samples: Mapping[str, np.ndarray], length: int
) -> dict[str, np.ndarray]:
    """Cuts rows to their first steps, where the model leaves them free.

    Args:
        model: built.
        samples: arrays by input name; those of no input stay as they are.
        length: steps that are left.
    """
    cut = {k: x[:, :length] for k, x in _sequences(model, samples).items()}
    return {**samples, **cut}


def half_of(model: keras.Model, samples: Mapping) -> dict[str, np.ndarray]:
    """Cuts what the model takes to half of every axis that it leaves free.

    Args:
        model: built.
        samples: arrays by input name; others are left out.
    """
    return {x.name: _half(x.shape, samples[x.name]) for x in model.inputs}


def _half(shape, array: np.ndarray) -> np.ndarray:
    cut = [
        slice(None if side else (steps + 1) // 2)
        for side, steps in zip(shape[1:], array.shape[1:])
    ]
    return array[(slice(None), *cut)]


def rows_by_length(
    model: keras.Model, samples: Mapping, signatures: Iterable[str]
) -> dict[str, dict[str, np.ndarray]]:
    """What the model is given where signatures are for lengths.

    Args:
        model: built.
        samples: arrays by input name.
        signatures: names, of others too.

    Returns:
        Arrays by input name, for each signature that is for a length.
    """
    own = {x.name: samples[x.name] for x in model.inputs}
    lengths = {name: length_of(name) for name in signatures}
    return {
        name: shortened(model, own, length)
        for name, length in lengths.items()
        if length is not None
    }


def named_by_signature(rows: Mapping) -> dict[str, np.ndarray]:
    """Names arrays `<signature>/<input>`, as processes of artefacts do.

    Args:
        rows: of `rows_by_length`.
    """
    return {
        f"{signature}/{name}": x
        for signature, arrays in rows.items()
        for name, x in arrays.items()
    }


def _sequences(model, samples) -> dict[str, np.ndarray]:
    """Samples whose number of steps the model leaves free."""
    return {
        x.name: samples[x.name] for x in model.inputs if None in x.shape[1:2]
    }
