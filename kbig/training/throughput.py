"""How fast a run trains."""

import math
import statistics
import time
from collections.abc import Sequence

import keras

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive

UNITS = ("examples", "tokens")


def steps_per_second(marks: Sequence[tuple[float, int]]) -> float:
    """Measures from the first to the last mark.

    Args:
        marks: pairs of a time in seconds and the steps taken by then, in
            order.

    Returns:
        Steps a second; NaN where no step lies between two marks.

    Example:
    ```python
    steps_per_second([(10.0, 0), (11.0, 1), (12.0, 3)])  # 1.5
    ```
    """
    if len(marks) < 2:
        return math.nan
    (start, first), (stop, last) = marks[0], marks[-1]
    return (last - first) / (stop - start)


class Throughput(keras.callbacks.Callback):
    """Measures how many examples or real tokens a second are trained on.

    Only the caller knows how many there are in a step: Keras tells a callback
    neither the batch size nor which tokens are padding. Validation and the
    time between epochs do not count, nor do the first steps, in which
    TensorFlow compiles.

    Each epoch's logs get `examples_per_second` or `tokens_per_second`, and
    `matmul_share` where operations and peak are known; NaN where every step
    was skipped. Put it before callbacks that record logs.

    Args:
        per_step: examples in one step of all replicas together, or real (not
            padding) tokens; an average where steps differ, as in
            `num_tokens / num_steps`.
        unit: "examples" or "tokens": what `per_step` counts.
        skip_steps: first steps of the run to leave out.
        window: steps over which one rate is taken for the median.
        flops_per_unit: floating point operations to train on one example or
            token, forward and backward, or None.
        peak_gflops: matmul peak of the machine in GFLOP/s, or None.

    Raises:
        UsageError: when an argument is out of its range, or when only one of
            `flops_per_unit` and `peak_gflops` is given.

    Example:
    ```python
    throughput = Throughput(per_step=32)
    model.fit(x, y, batch_size=32, callbacks=[throughput])
    throughput.report()  # {"examples_per_second": 1234.5}
    ```
    """

    def __init__(
        self,
        per_step: float,
        unit: str = "examples",
        skip_steps: int = 5,
        window: int = 10,
        flops_per_unit: float | None = None,
        peak_gflops: float | None = None,
    ):
        super().__init__()
        check_choice("unit", unit, UNITS)
        check_positive("window", window)
        _check_numbers(per_step, skip_steps)
        _check_peak(flops_per_unit, peak_gflops)
        self.per_step = per_step
        self.unit = unit
        self.skip_steps = skip_steps
        self.window = window
        self.flops_per_unit = flops_per_unit
        self.peak_gflops = peak_gflops
        self._rates = []

    def on_train_begin(self, logs=None):
        """Forgets an earlier run."""
        self._rates = []
        self._skip = self.skip_steps

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's marks."""
        self._marks = []

    def on_train_batch_begin(self, batch, logs=None):
        """Marks the start of the epoch's first step."""
        if not self._marks:
            self._marks.append((time.perf_counter(), batch))

    def on_train_batch_end(self, batch, logs=None):
        """Marks the end of a step."""
        # `batch` leaps where an execution takes several steps.
        self._marks.append((time.perf_counter(), batch + 1))

    def on_epoch_end(self, epoch, logs=None):
        """Adds the epoch's rate to the logs."""
        first = self._marks[0][1]
        steps = self._marks[-1][1] - first
        marks = [
            (seconds, step)
            for seconds, step in self._marks
            if step - first >= self._skip
        ]
        self._skip = max(0, self._skip - steps)
        self._rates.extend(_window_rates(marks, self.window))
        if logs is not None:
            logs.update(self._speed(steps_per_second(marks)))

    def report(self) -> dict[str, float]:
        """The median over all windows of the run so far.

        Returns:
            `examples_per_second` or `tokens_per_second`, NaN for a run too
            short to measure; and `matmul_share`, the part of the peak in
            use, where operations and peak are known.

        Example:
        ```python
        Throughput(per_step=32).report()  # {"examples_per_second": nan}
        ```
        """
        median = statistics.median(self._rates) if self._rates else math.nan
        return self._speed(median)

    def _speed(self, steps: float) -> dict[str, float]:
        units = self.per_step * steps
        speed = {f"{self.unit}_per_second": units}
        if self.peak_gflops is not None:
            flops = units * self.flops_per_unit
            speed["matmul_share"] = flops / (1e9 * self.peak_gflops)
        return speed


def _window_rates(marks, window: int) -> list[float]:
    # An epoch shorter than a window is one window.
    starts = range(0, max(len(marks) - window, 1), window)
    rates = [steps_per_second(marks[i : i + window + 1]) for i in starts]
    return [rate for rate in rates if not math.isnan(rate)]


def _check_numbers(per_step: float, skip_steps: int) -> None:
    if per_step <= 0 or skip_steps < 0:
        raise UsageError(
            "`per_step` must be positive and `skip_steps` not negative. "
            f"Received: per_step={per_step}, skip_steps={skip_steps}. Pass "
            "the batch size, or the average number of real tokens."
        )


def _check_peak(
    flops_per_unit: float | None, peak_gflops: float | None
) -> None:
    if (flops_per_unit is None) != (peak_gflops is None):
        raise UsageError(
            "`flops_per_unit` and `peak_gflops` belong together. Received: "
            f"flops_per_unit={flops_per_unit}, peak_gflops={peak_gflops}. "
            "Pass both or neither."
        )
