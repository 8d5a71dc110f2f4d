"""When weights are removed, and how many by then."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from kbig.errors import UsageError

# What `Pruner(0.8)` does with a run: it begins after a fifth, and leaves three
# tenths to recover in. Between are so many updates, but not more often than
# every so many steps: one takes about half as long as a step.
_BEGIN, _END, _UPDATES, _STEPS = 0.2, 0.7, 30, 10


@dataclasses.dataclass(frozen=True)
class PolynomialSparsity:
    """Removes many weights at first and few at last.

    Args:
        final_sparsity: what it comes to, in [0, 1).
        begin_step: of the optimizer, where it is 0.
        end_step: where it is `final_sparsity`.
        frequency: steps from one update to the next.
        power: of the polynomial.

    Example:
    ```python
    PolynomialSparsity(0.8, begin_step=0, end_step=100)(50)  # (True, 0.7)
    ```

    Reference:
     - [Zhu and Gupta, 2017](https://arxiv.org/abs/1710.01878)
    """

    final_sparsity: float
    begin_step: int
    end_step: int
    frequency: int = 1
    power: int = 3

    def __post_init__(self):
        """Checks the numbers.

        Raises:
            UsageError: the sparsity is outside [0, 1), the end before the
                beginning, or the frequency below 1.
        """
        check_sparsity(self.final_sparsity, "final_sparsity")
        if self.begin_step > self.end_step or self.frequency < 1:
            raise UsageError(
                "A schedule goes from a step to one that is not before it, "
                "with updates every so many steps. Received: "
                f"begin_step={self.begin_step}, end_step={self.end_step}, "
                f"frequency={self.frequency}."
            )

    def __call__(self, step: int) -> tuple[bool, float]:
        """Whether to update at a step, and the sparsity then."""
        done = float(step >= self.end_step)
        if self.begin_step < step < self.end_step:
            whole = self.end_step - self.begin_step
            done = (step - self.begin_step) / whole
        is_due = (
            self.begin_step <= step <= self.end_step
            and (step - self.begin_step) % self.frequency == 0
        )
        return is_due, self.final_sparsity * (1 - (1 - done) ** self.power)


def over_run(sparsity: float, first: int, last: int) -> PolynomialSparsity:
    """Schedules over the middle of a run.

    Args:
        sparsity: what to come to.
        first: step of the optimizer before the run.
        last: step after it.

    Returns:
        A schedule that begins after a fifth of the run and ends with three
        tenths left, after a few dozen updates, or fewer in a short run.

    Example:
    ```python
    over_run(0.8, 0, 1000)  # from step 200 to 700
    ```
    """
    steps = last - first
    begin, end = first + int(_BEGIN * steps), first + math.ceil(_END * steps)
    frequency = max(_STEPS, (end - begin) // _UPDATES)
    return PolynomialSparsity(sparsity, begin, end, frequency)


def run_of(
    start: int, epoch: int, epochs: int, steps: int, batches: int = 1
) -> tuple[int, int]:
    """The steps of the optimizer before and after a whole run.

    A run that goes on in a later epoch began before it; an optimizer that was
    used before has steps that are not of this run.

    Args:
        start: steps of the optimizer as `fit` begins.
        epoch: in which it begins.
        epochs: in which it ends.
        steps: batches an epoch.
        batches: that make a step of the optimizer.

    Returns:
        The first step and the last.

    Example:
    ```python
    run_of(start=250, epoch=2, epochs=4, steps=100)  # (0, 400)
    run_of(start=900, epoch=0, epochs=4, steps=100)  # (900, 1300)
    ```
    """
    done = start - epoch * steps // batches
    # Less than an epoch: the run was interrupted within one.
    first = 0 if 0 <= done < max(1, steps // batches) else done
    return first, first + epochs * steps // batches


def updates(schedule: Callable, last: int) -> list[tuple[int, float]]:
    """All updates of a run.

    Args:
        schedule: from a step to whether to update and the sparsity, as
            TFMOT's `PolynomialDecay` and `ConstantSparsity` or
            `PolynomialSparsity`.
        last: the last step of the run.

    Returns:
        Steps and sparsities. The end of a schedule is always an update:
        TFMOT's stay below their target where `frequency` misses it.

    Raises:
        UsageError: the target would not be reached in the run.

    Example:
    ```python
    updates(PolynomialSparsity(0.5, 0, 3, frequency=2), last=10)
    # [(0, 0.0), (2, 0.48), (3, 0.5)]
    ```
    """
    begin = getattr(schedule, "begin_step", 0)
    end = getattr(schedule, "end_step", -1)
    # Of one that goes on forever, as `ConstantSparsity`, the target is there
    # from the start.
    is_gradual = end >= 0 and sparsity_at(schedule, begin) != sparsity_at(
        schedule, end
    )
    needed = end if is_gradual else begin
    if needed > last:
        raise UsageError(
            "The schedule ends after the run does, so its sparsity would not "
            f"be reached. Received: a schedule until step {needed} for a run "
            f"until step {last} of the optimizer. Let it end earlier, or "
            "train for longer."
        )
    until = min(last, end) if end >= 0 else last
    steps = range(begin, until + 1, getattr(schedule, "frequency", 1))
    due = [step for step in steps if _asks(schedule, step)]
    if end == until and end not in due:
        due.append(end)
    if not due:
        raise UsageError(
            "The schedule asks for no update in the run. Received: "
            f"{schedule!r} for a run until step {last} of the optimizer. Pass "
            "one that returns True at some of its steps."
        )
    found = [(step, sparsity_at(schedule, step)) for step in due]
    for _, sparsity in found:
        check_sparsity(sparsity, "sparsity of the schedule")
    return found


def check_sparsity(sparsity: float, name: str = "sparsity") -> float:
    """Raises unless it is a number in [0, 1).

    Args:
        sparsity: what was received.
        name: the argument's name, as the caller knows it.

    Returns:
        `sparsity` as a float.

    Raises:
        UsageError: it is not.
    """
    is_number = isinstance(sparsity, int | float | np.number)
    if isinstance(sparsity, bool) or not is_number or not 0 <= sparsity < 1:
        raise UsageError(
            f"`{name}` is the share of the weights to remove, at least 0 and "
            f"below 1. Received: {name}={sparsity!r}. Pass 0.8, for example."
        )
    return float(sparsity)


def sparsity_at(schedule: Callable, step: int) -> float:
    """The sparsity of a schedule at a step, free of float32's rounding.

    Args:
        schedule: as of `updates`.
        step: of the optimizer.

    Returns:
        A share, rounded to seven digits.

    Example:
    ```python
    sparsity_at(ConstantSparsity(0.8, begin_step=0), 10)  # 0.8
    ```
    """
    return round(float(schedule(_native(schedule, step))[1]), 7)


def _asks(schedule, step: int) -> bool:
    return bool(schedule(_native(schedule, step))[0])


def _native(schedule, step: int):
    """The step as the schedule takes it: TFMOT's want a tensor."""
    if isinstance(schedule, PolynomialSparsity):
        return step
    import tensorflow as tf

    return tf.constant(step, tf.int64)
