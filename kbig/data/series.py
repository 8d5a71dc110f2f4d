"""Windows of a time series: what was seen, and what is to be forecast."""

import datetime
import math
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.dataset import SPLITS
from kbig.data.dataset import Dataset
from kbig.data.dataset import from_parts
from kbig.data.splits import block_splits
from kbig.data.tables import Table
from kbig.data.tables import read_table
from kbig.errors import DataError
from kbig.errors import UsageError


def read_series(
    path: pathlib.Path,
    *,
    value_column: str | Sequence[str],
    time_column: str | None = None,
    past: int = 336,
    every: int = 4,
    horizon: int = 48,
    period: int = 336,
) -> Dataset:
    """Reads a series of numbers and cuts windows and targets of it.

    A window holds every `every`-th of the `past` steps before the target,
    the newest always included. Of every five blocks of `period` steps the
    first three are for training, the fourth for validation and the fifth
    for test: a window belongs to the split in which its whole target lies.

    Args:
        path: a table with one row a step.
        value_column: column of the values, or several: the channels, of
            which the first is the one to forecast.
        time_column: column of ISO 8601 times or numbers, checked to be
            sorted and evenly spaced; `None` takes the steps as they come.
        past: steps that a window reaches back.
        every: steps from one value in the window to the next.
        horizon: steps of a target, from the one after the window.
        period: steps of a block.

    Returns:
        A `Dataset` of kind `"series"`.

    Raises:
        DataError: naming the file and the line, or if a split stays empty.
        UsageError: if a number of steps is not a whole number above zero,
            or `horizon` is longer than `period`.

    Example:
    ```python
    data = kbig.data.load(
        "load.csv", kind="series", value_column="kWh", past=168, every=1,
        horizon=24, period=168,
    )
    ```
    """
    _check_steps(past=past, every=every, horizon=horizon, period=period)
    table = read_table(path)
    names = [value_column] if isinstance(value_column, str) else value_column
    values = np.stack([_numbers(table, name) for name in names], axis=1)
    if time_column is not None:
        _check_times(table, time_column)
    offsets = window_offsets(past, every)
    starts = np.arange(-offsets[0], len(values) - horizon + 1)
    splits = block_splits(starts, starts + horizon - 1, period)
    _check_sizes(path, len(values), splits, period)
    element = _element(values.astype(np.float32), offsets, horizon)
    return from_parts(
        {
            split: tf.data.Dataset.from_tensor_slices(
                starts[splits == split]
            ).map(element, num_parallel_calls=tf.data.AUTOTUNE)
            for split in SPLITS
        },
        name=str(path),
        kind="series",
        class_names=(),
        licence="unknown",
        source=str(path),
        split=_rule(period),
    )


def window_offsets(past: int, every: int) -> np.ndarray:
    """Places the values of a window relative to the first target step.

    Args:
        past: steps that the window may reach back.
        every: steps from one value to the next.

    Returns:
        Negative offsets in order of time; the last is -1.

    Example:
    ```python
    window_offsets(6, 2)  # [-5, -3, -1]
    ```
    """
    return np.arange(-1, -1 - past, -every)[::-1]


def _element(values, offsets, horizon):
    values = tf.constant(values)
    future = np.arange(horizon)

    def element(start):
        window = tf.gather(values, start + offsets)
        target = tf.gather(values[:, 0], start + future)
        return window, target

    return element


def _numbers(table: Table, name):
    numbers = []
    for row, value in enumerate(table.column(name)):
        number = _number(value)
        if not math.isfinite(number):
            raise DataError(
                f"{table.where(row)}: {name!r} must be a finite number. "
                f"Received: {name}={value!r}. Fill or cut out the gap."
            )
        numbers.append(number)
    return np.array(numbers)


def _number(value):
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _check_times(table: Table, name):
    times = [
        _time(table, row, value) for row, value in enumerate(table.column(name))
    ]
    for row in range(1, len(times)):
        step, usual = times[row] - times[row - 1], times[1] - times[0]
        if step <= 0 or not math.isclose(step, usual, rel_tol=1e-6):
            raise DataError(
                f"{table.where(row)}: times must rise in even steps. "
                f"Received: {name}={table.rows[row][name]!r} after "
                f"{table.rows[row - 1][name]!r}. Sort and fill the rows, or "
                "leave `time_column` out to take them as even steps."
            )


def _time(table: Table, row, value):
    number = _number(value)
    if math.isfinite(number):
        return number
    try:
        time = datetime.datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{table.where(row)}: expected an ISO 8601 time or a number. "
            f"Received: {value!r}"
        ) from error
    # A time without a zone must not depend on the zone of the machine.
    return time.replace(tzinfo=time.tzinfo or datetime.UTC).timestamp()


def _check_steps(**steps):
    for name, value in steps.items():
        if not isinstance(value, int) or value < 1:
            raise UsageError(
                f"`{name}` must be a whole number of steps above zero. "
                f"Received: {name}={value!r}"
            )
    if steps["horizon"] > steps["period"]:
        raise UsageError(
            "`horizon` must not be longer than `period`, or no target lies "
            f"within a block. Received: horizon={steps['horizon']}, "
            f"period={steps['period']}"
        )


def _check_sizes(path, length, splits, period):
    for split in SPLITS:
        if not np.any(splits == split):
            raise DataError(
                f"{path}: no window is left for {split}. Received: {length} "
                f"rows, blocks of period={period} steps. There must be more "
                "than five blocks, each longer than `horizon`; lower "
                "`period`, `past` or `horizon`."
            )


def _rule(period):
    return (
        f"Of every five blocks of {period} steps the first three train, the "
        "fourth validates and the fifth tests; a window belongs to the split "
        "in which its whole target lies, and to none if that crosses splits. "
        "A window is older than its target and may reach back across splits: "
        "validation comes before test, so a test window of up to one block "
        "holds no target of training."
    )
