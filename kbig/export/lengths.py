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
    if not lengths:
        return
    steps = {x.shape[1] for x in _sequences(model, samples).values()}
    if not steps or has_rows:
        raise UsageError(
            "Other lengths are for models that leave the length free, and are "
            f"not with representative rows. Received: lengths={lengths!r}, "
            f"inputs {[tuple(x.shape) for x in model.inputs]}. Leave them out."
        )
    whole = all(
        isinstance(x, int) and 0 < x < min(steps) and not isinstance(x, bool)
        for x in lengths
    )
    if not whole or len(set(lengths)) < len(lengths):
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
    """Cuts rows to the first half of their steps."""
    steps = max(x.shape[1] for x in _sequences(model, samples).values())
    return shortened(model, samples, (steps + 1) // 2)


def with_lengths(
    model: keras.Model, samples: Mapping, signatures: Iterable[str]
) -> dict[str, np.ndarray]:
    """Adds what signatures for lengths are fed with.

    Args:
        model: built.
        samples: arrays by input name.
        signatures: names of those to feed.

    Returns:
        The samples, with `<signature>/<input>` beside them.
    """
    own = [x.name for x in model.inputs]
    added = {
        f"{signature}/{name}": shortened(model, samples, length)[name]
        for signature, length in _for_lengths(signatures)
        for name in own
    }
    return {**samples, **added}


def outputs_by_length(
    compute, model: keras.Model, samples: Mapping, signatures: Iterable[str]
) -> dict[str, dict[str, np.ndarray]]:
    """What signatures for lengths should give.

    Args:
        compute: from samples to the outputs of the model.
        model: built.
        samples: arrays by input name.
        signatures: names, of others too.
    """
    return {
        signature: compute(shortened(model, samples, length))
        for signature, length in _for_lengths(signatures)
    }


def _for_lengths(signatures: Iterable[str]) -> list[tuple[str, int]]:
    found = [(name, length_of(name)) for name in signatures]
    return [(name, length) for name, length in found if length is not None]


def _sequences(model, samples) -> dict[str, np.ndarray]:
    """Samples whose number of steps the model leaves free."""
    return {
        x.name: samples[x.name] for x in model.inputs if None in x.shape[1:2]
    }
