"""Series of numbers on their way into a plot: checked and thinned."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError

MAX_POINTS = 600


def finite(name: str, values: Sequence[float]) -> np.ndarray:
    """Checks that a series can be drawn.

    Args:
        name: what the message calls the series.
        values: (n,) numbers, at least one.

    Returns:
        (n,) float64 array.

    Raises:
        UsageError: if `values` is empty, not one-dimensional, not numeric
            or not finite.

    Example:
        ```python
        finite("loss", [0.9, 0.5])
        ```
    """
    expected = f"{name} must be one or more finite numbers in a row. "
    try:
        array = np.asarray(values, "float64")
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{expected}Received: {name}={values!r}. Pass a list of numbers."
        ) from error
    if array.ndim != 1 or not array.size:
        raise UsageError(
            f"{expected}Received: {name} of shape {array.shape}. "
            "Pass a list of numbers, or leave the series out."
        )
    if not np.isfinite(array).all():
        index = int(np.argmin(np.isfinite(array)))
        raise UsageError(
            f"{expected}Received: {name}[{index}]={array[index]}. "
            "Cut the series off before it, or leave it out of the plot."
        )
    return array


def check_length(name: str, values: Sequence, other: str, others: Sequence):
    """Checks that two series are equally long.

    Args:
        name: what the message calls the series.
        values: the series.
        other: what the message calls the one that it must match.
        others: the series that it must match.

    Raises:
        UsageError: if they are not.

    Example:
        ```python
        check_length("names", ["a", "b"], "values", [1, 2])
        ```
    """
    if len(values) != len(others):
        raise UsageError(
            f"{name} must be as long as {other}. Received: "
            f"len({name})={len(values)}, len({other})={len(others)}. "
            "Pass one entry of each for every point."
        )


def flatten(
    series: Mapping[str, Sequence[float] | Mapping[str, Sequence[float]]],
    x: Sequence[float] | None = None,
) -> dict[str, np.ndarray]:
    """Reduces one history, or several by name, to curves by name.

    Args:
        series: `{"loss": [...], "val_loss": [...]}`, or histories of that
            kind by name. The curves of one history are equally long.
        x: positions that every curve has to match, if there are any.

    Returns:
        Curves by name; out of several histories the name of the history
        comes behind that of the curve, as in `val_loss, pruned`.

    Raises:
        UsageError: if there is no curve, or a curve is not finite or of
            another length.

    Example:
        ```python
        flatten({"dense": {"loss": [0.9, 0.5]}})  # {'loss, dense': ...}
        ```
    """
    nested = all(isinstance(entry, Mapping) for entry in series.values())
    histories = series if nested else {"": series}
    curves = {}
    for run, history in histories.items():
        for name, values in history.items():
            label = f"{name}, {run}" if run else name
            curves[label] = finite(label, values)
            if x is None:
                first = next(iter(history))
                check_length(label, values, first, history[first])
            else:
                check_length(label, values, "x", x)
    if not curves:
        raise UsageError(
            "A plot needs at least one curve. "
            f"Received: series={series!r}. Pass a history such as "
            "{'loss': [0.9, 0.5]}, or leave the plot out."
        )
    return curves


def thin(
    x: np.ndarray, y: np.ndarray, limit: int = MAX_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """Drops points that a plot cannot show, and keeps every peak.

    Of each stretch of the curve only the least and the greatest value stay,
    and of the whole curve its two ends.

    Args:
        x: (n,) positions, increasing.
        y: (n,) values.
        limit: how many points may stay, at least 4.

    Returns:
        The positions and values that stay, in order.

    Example:
        ```python
        steps = np.arange(100_000.0)
        thin(steps, np.sin(steps))[0].size  # at most 600
        ```
    """
    if len(y) <= limit:
        return x, y
    edges = np.linspace(0, len(y), (limit - 2) // 2 + 1).astype(int)
    keep = {0, len(y) - 1}
    for start, stop in zip(edges, edges[1:]):
        keep.add(start + int(np.argmin(y[start:stop])))
        keep.add(start + int(np.argmax(y[start:stop])))
    kept = sorted(keep)
    return x[kept], y[kept]
