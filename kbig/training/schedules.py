"""Learning rates that warm up linearly, then decay."""

import math
from collections.abc import Callable

import keras
from keras import ops

from kbig.errors import UsageError


def linear_decay(progress, peak: float, end: float):
    """Falls from `peak` to `end` in a straight line.

    Args:
        progress: float32 scalar in [0, 1].
        peak: value at progress 0.
        end: value at progress 1.

    Returns:
        A float32 scalar.

    Example:
    ```python
    linear_decay(0.25, peak=1.0, end=0.0)  # 0.75
    ```
    """
    return peak + (end - peak) * progress


def cosine_decay(progress, peak: float, end: float):
    """Falls from `peak` to `end` along half a cosine.

    Args:
        progress: float32 scalar in [0, 1].
        peak: value at progress 0.
        end: value at progress 1.

    Returns:
        A float32 scalar.

    Example:
    ```python
    cosine_decay(0.5, peak=1.0, end=0.0)  # 0.5
    ```

    Reference:
     - [Loshchilov and Hutter, 2017](https://arxiv.org/abs/1608.03983)
    """
    return end + (peak - end) * (1.0 + ops.cos(math.pi * progress)) / 2.0


def warmup_then(
    decay: Callable,
    step,
    peak: float,
    warmup_steps: int,
    total_steps: int,
    end: float,
):
    """Rises from zero to `peak` in a straight line, then decays to `end`.

    Args:
        decay: a function of progress, peak and end, such as `linear_decay`.
        step: scalar, number of steps taken so far.
        peak: learning rate at step `warmup_steps`.
        warmup_steps: length of the rise.
        total_steps: step from which on the rate stays at `end`.
        end: learning rate at the end.

    Returns:
        The learning rate, a float32 scalar.

    Example:
    ```python
    warmup_then(linear_decay, 5, 1.0, 10, 100, 0.0)  # 0.5
    ```
    """
    step = ops.cast(step, "float32")
    rising = peak * step / max(warmup_steps, 1)
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    falling = decay(ops.clip(progress, 0.0, 1.0), peak, end)
    return ops.where(step < warmup_steps, rising, falling)


class _Warmup(keras.optimizers.schedules.LearningRateSchedule):
    decay: Callable

    def __init__(self, peak, warmup_steps, total_steps, end=0.0):
        super().__init__()
        _check_steps(warmup_steps, total_steps)
        _check_rates(peak, end)
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.end = end

    def __call__(self, step):
        return warmup_then(type(self).decay, step, **self.get_config())

    def get_config(self):
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "end": self.end,
        }


@keras.saving.register_keras_serializable("kbig")
class WarmupLinear(_Warmup):
    """Linear warm-up from zero, then linear decay: the schedule of BERT.

    A saved file that holds one loads after `import kbig.training`; `import
    kbig` alone does not make it known to Keras.

    Args:
        peak: learning rate after the warm-up.
        warmup_steps: steps of warm-up; 0 starts at the peak.
        total_steps: steps until `end` is reached, warm-up included.
        end: learning rate from there on.

    Raises:
        UsageError: when a rate is negative or the warm-up fills the run.

    Example:
    ```python
    rate = WarmupLinear(1e-4, warmup_steps=100, total_steps=1000)
    optimizer = keras.optimizers.AdamW(rate)
    ```

    Reference:
     - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
    """

    decay = staticmethod(linear_decay)


@keras.saving.register_keras_serializable("kbig")
class WarmupCosine(_Warmup):
    """Linear warm-up from zero, then decay along half a cosine.

    A saved file that holds one loads after `import kbig.training`; `import
    kbig` alone does not make it known to Keras.

    Args:
        peak: learning rate after the warm-up.
        warmup_steps: steps of warm-up; 0 starts at the peak.
        total_steps: steps until `end` is reached, warm-up included.
        end: learning rate from there on.

    Raises:
        UsageError: when a rate is negative or the warm-up fills the run.

    Example:
    ```python
    rate = WarmupCosine(0.1, warmup_steps=100, total_steps=1000)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    ```

    Reference:
     - [Loshchilov and Hutter, 2017](https://arxiv.org/abs/1608.03983)
    """

    decay = staticmethod(cosine_decay)


def _check_steps(warmup_steps: int, total_steps: int) -> None:
    if not 0 <= warmup_steps < total_steps:
        raise UsageError(
            "`warmup_steps` must be at least 0 and less than `total_steps`. "
            f"Received: warmup_steps={warmup_steps}, "
            f"total_steps={total_steps}. Shorten the warm-up."
        )


def _check_rates(peak: float, end: float) -> None:
    if not 0.0 <= end <= peak or peak == 0.0:
        raise UsageError(
            "`peak` must be positive and `end` between 0 and `peak`. "
            f"Received: peak={peak}, end={end}. Swap or correct them."
        )
