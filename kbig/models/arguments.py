"""Checks of builders' arguments, in one voice."""

import numbers
from collections.abc import Iterable
from collections.abc import Sequence

from kbig.errors import UsageError


def check_positive(name: str, value: int) -> None:
    """Raises unless `value` is an integer of at least one.

    Args:
        name: the argument's name, as the caller knows it.
        value: what was received.

    Raises:
        UsageError: for zero, negative, fractional and non-numeric values.
    """
    if not _is_integer(value) or value < 1:
        raise UsageError(
            f"`{name}` must be a positive integer. "
            f"Received: {name}={value!r}. Pass 1 or more."
        )


def check_each_positive(name: str, values: Sequence[int]) -> None:
    """Raises unless `values` is a sequence of integers of at least one.

    Args:
        name: the argument's name, as the caller knows it.
        values: what was received.

    Raises:
        UsageError: for anything else, an empty sequence included.
    """
    valid = isinstance(values, Sequence) and not isinstance(values, str)
    if (
        not valid
        or not values
        or any(not _is_integer(value) or value < 1 for value in values)
    ):
        raise UsageError(
            f"`{name}` must be a sequence of positive integers. "
            f"Received: {name}={values!r}. Pass at least one, as in (64, 32)."
        )


def check_shape(name: str, shape: Sequence[int | None], rank: int) -> None:
    """Raises unless `shape` has `rank` positive dimensions, the last known.

    Args:
        name: the argument's name, as the caller knows it.
        shape: a shape without the batch; None stands for any length.
        rank: how many dimensions are expected.

    Raises:
        UsageError: when the rank differs, a dimension is not positive, or the
            last one (features or channels) is None.
    """
    valid = isinstance(shape, Sequence) and not isinstance(shape, str)
    valid = valid and len(shape) == rank and shape[-1] is not None
    if not valid or any(
        size is not None and (not _is_integer(size) or size < 1)
        for size in shape
    ):
        raise UsageError(
            f"`{name}` must be {rank} positive integers, without the batch. "
            f"Received: {name}={shape!r}. All but the last may be None."
        )


def check_rate(name: str, value: float) -> None:
    """Raises unless `value` is a fraction in [0, 1).

    Args:
        name: the argument's name, as the caller knows it.
        value: what was received.

    Raises:
        UsageError: for anything else.
    """
    if not isinstance(value, numbers.Real) or not 0 <= value < 1:
        raise UsageError(
            f"`{name}` must be a fraction in [0, 1). "
            f"Received: {name}={value!r}. Pass 0.0 to switch it off."
        )


def check_choice(name: str, value, allowed: Iterable) -> None:
    """Raises unless `value` is one of `allowed`.

    Args:
        name: the argument's name, as the caller knows it.
        value: what was received.
        allowed: what may be passed.

    Raises:
        UsageError: for anything else; the message lists what is allowed.
    """
    allowed = tuple(allowed)
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise UsageError(
            f"`{name}` is unknown. Received: {name}={value!r}. "
            f"Pass one of {choices}."
        )


def check_tokens_or_features(
    vocabulary_size: int | None, input_shape: Sequence[int | None] | None
) -> None:
    """Raises unless exactly one kind of sequence is described, and well.

    Args:
        vocabulary_size: number of token ids, or None for features.
        input_shape: `(steps, channels)`, or None for tokens.

    Raises:
        UsageError: when both or neither are given, or one is malformed.
    """
    if (vocabulary_size is None) == (input_shape is None):
        raise UsageError(
            "Exactly one of `vocabulary_size` and `input_shape` must be "
            f"given. Received: vocabulary_size={vocabulary_size!r}, "
            f"input_shape={input_shape!r}. Pass `vocabulary_size` for token "
            "ids, `input_shape=(steps, channels)` for feature sequences."
        )
    if input_shape is None:
        check_positive("vocabulary_size", vocabulary_size)
    else:
        check_shape("input_shape", input_shape, rank=2)


def _is_integer(value) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
