"""How much of each layer to keep."""

import numbers
from collections.abc import Mapping
from collections.abc import Sequence

from kbig.compression.names import is_meant
from kbig.errors import UsageError


def keep_of(
    keep: float | Mapping[str, float | int], paths: Sequence[str]
) -> float | int:
    """Tells how much to keep of layers whose units go together.

    Args:
        keep: a fraction for all, or values by pattern, of which the first
            that matches a layer counts.
        paths: of the layers.

    Returns:
        A fraction, or an int for the number of units; 1.0 where no pattern
        matches.

    Raises:
        UsageError: the layers are given different values.
    """
    if not isinstance(keep, Mapping):
        return float(keep)
    values = {}
    for path in paths:
        for pattern, value in keep.items():
            if is_meant(path, [pattern]):
                values[path] = value
                break
    if len({(type(x), x) for x in values.values()}) > 1:
        raise UsageError(
            "Layers whose units go together must keep as many. Received: "
            f"keep={values}. Give them one value."
        )
    return next(iter(values.values()), 1.0)


def check_keep(keep) -> None:
    """Raises unless `keep` can be meant.

    Args:
        keep: as of `plan_shrink`.

    Raises:
        UsageError: a fraction is outside (0, 1], or a number of units below
            one.
    """
    if not isinstance(keep, Mapping):
        _check_fraction("keep", keep)
        return
    if not keep:
        raise UsageError(
            "`keep` must say something. Received: keep={}. Pass a fraction."
        )
    for pattern, value in keep.items():
        is_count = isinstance(value, numbers.Integral)
        if not is_count or isinstance(value, bool) or value < 1:
            _check_fraction(f"keep[{pattern!r}]", value)


def _check_fraction(name: str, value) -> None:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not 0 < value <= 1:
        raise UsageError(
            f"`{name}` must be a fraction in (0, 1]. "
            f"Received: {name}={value!r}. Pass 0.5 to keep half."
        )
