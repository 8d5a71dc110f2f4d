"""Where a run stands: what was removed before it, and what is still due."""

import dataclasses
import warnings
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from keras import ops

from kbig.compression.pruning.plan import Request
from kbig.compression.pruning.plan import Sparsity
from kbig.compression.pruning.plan import due_updates
from kbig.compression.pruning.schedules import run_of
from kbig.compression.pruning.targets import Kernel
from kbig.errors import UsageError

# The paper has tens of thousands; in 744 magnitude does better (README).
ENOUGH_STEPS = 5_000


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of `fit`, in batches and in steps of the optimizer.

    Args:
        start: steps of the optimizer before it.
        epoch: in which it begins.
        epochs: in which it ends.
        steps: batches an epoch.
        batches: that make a step of the optimizer.
    """

    start: int
    epoch: int
    epochs: int
    steps: int
    batches: int

    @classmethod
    def of(cls, params: Mapping, epoch: int, optimizer) -> "Run":
        """The run that a callback is in.

        Args:
            params: what `fit` tells its callbacks.
            epoch: in which it begins.
            optimizer: that takes the steps.

        Raises:
            UsageError: `fit` does not know how many batches there are.
        """
        steps = params.get("steps")
        if not steps:
            raise UsageError(
                "`fit` must know how many steps an epoch has, to prune over "
                f"the run. Received: steps_per_epoch={steps}. Pass "
                "`steps_per_epoch`."
            )
        start = int(ops.convert_to_numpy(optimizer.iterations))
        batches = optimizer.gradient_accumulation_steps or 1
        return cls(start, epoch, params["epochs"], steps, batches)

    @property
    def end(self) -> int:
        """Steps of the optimizer after it."""
        left = (self.epochs - self.epoch) * self.steps // self.batches
        return self.start + left


@dataclasses.dataclass(frozen=True)
class Standing:
    """What is removed already, and what is to be removed.

    Args:
        due: steps, rising, and by number of a kernel the sparsity then.
        targets: by number of a kernel, the last sparsity.
        masks: likewise, bool, False where a weight is held at zero from the
            beginning.
        is_resumed: whether weights were removed before, by the same schedule.
    """

    due: list[tuple[int, dict[int, float]]]
    targets: dict[int, float]
    masks: dict[int, np.ndarray]
    is_resumed: bool

    def check_is_new(self, run: Run) -> None:
        """Raises where scores were added up before the run.

        Args:
            run: that begins.

        Raises:
            UsageError: they were.
        """
        if self.is_resumed or (run.epoch > 0 and run.start > 0):
            raise UsageError(
                "Movement pruning that goes on needs the scores it had. "
                f"Received: a run that begins in epoch {run.epoch}, at step "
                f"{run.start} of the optimizer. Call `load_state` with what "
                "`save_state` wrote, or compile the model anew."
            )
        # A dense model that was trained before looks the same.
        if run.epoch == 0 and 0 < run.start < run.steps // run.batches:
            warnings.warn(
                "Movement pruning begins with new scores, at step "
                f"{run.start} of the optimizer. If this run goes on with one "
                "that was interrupted within its first epoch, the scores of "
                "that are lost: call `load_state` with what `save_state` "
                "wrote. Otherwise compile the model anew, and nothing is said.",
                stacklevel=2,
            )
        _warn_of_few(run.epochs * run.steps // run.batches)


def _warn_of_few(steps: int) -> None:
    if steps < ENOUGH_STEPS:
        warnings.warn(
            "Movement pruning takes thousands of steps. Received: a run of "
            f"{steps}, in which scores are mostly noise and removing by "
            f"magnitude does better. Train for {ENOUGH_STEPS:,} or more, or "
            'take method="magnitude".',
            stacklevel=3,
        )


def standing(
    request: Request,
    kernels: Sequence[Kernel],
    sparsities: Sequence[Sparsity],
    magnitudes: Mapping[int, np.ndarray],
    run: Run,
    known: Mapping[int, np.ndarray] | None = None,
) -> Standing:
    """Finds out whether a run goes on with an earlier one.

    It does when what the schedule had removed by now is zero. A share that is
    spread over a run is otherwise spread over what is left of it.

    Args:
        request: what was asked for.
        kernels: to prune.
        sparsities: of each kernel, a share or a schedule.
        magnitudes: by number of a kernel, of its weights.
        run: that begins.
        known: by number of a kernel, bool, False for what an earlier run is
            known to have removed.

    Raises:
        UsageError: a schedule ends after the run, or ended before it.
    """
    first, last = run_of(
        run.start, run.epoch, run.epochs, run.steps, run.batches
    )
    due = due_updates(sparsities, first, last)
    removed = known
    if known is None:
        past = _merged(due, run.start)
        removed = _removed(request, kernels, magnitudes, past)
    if removed is None:
        due = due_updates(sparsities, run.start, run.end)
        _check_goes_on(kernels, due, run.start)
    targets = _merged(due, due[-1][0] + 1, zero=True)
    masks = _with_zeros(request, kernels, magnitudes, targets)
    return Standing(
        [(step, now) for step, now in due if step >= run.start],
        targets,
        {**masks, **(removed or {})},
        bool(removed),
    )


def warn_of_end(step: int, due: int | None, is_held: bool) -> None:
    """Says what is not as it should be when a run ends.

    Args:
        step: of the optimizer.
        due: step at which the last weights were to be removed; None if they
            were.
        is_held: whether all that was removed is zero.
    """
    if due is not None and step == 0:
        warnings.warn(
            "Nothing was removed: the optimizer of the model took no step. "
            "Compile it with the one that trains the weights to prune.",
            stacklevel=3,
        )
    elif due is not None:
        warnings.warn(
            f"Training stopped at step {step}, before the last weights were "
            f"to be removed at step {due}. The report says what sparsity was "
            "reached.",
            stacklevel=3,
        )
    if not is_held:
        warnings.warn(
            "A callback has put back weights that were removed, such as "
            "`EarlyStopping` with `restore_best_weights`. The report says "
            "what sparsity is left.",
            stacklevel=3,
        )


def _merged(due, end: int, zero: bool = False) -> dict[int, float]:
    """The last sparsity of each kernel before a step."""
    found: dict[int, float] = {}
    for step, now in due:
        if step < end:
            found |= now
    return {n: s for n, s in found.items() if zero or s}


def _removed(request, kernels, magnitudes, past) -> dict | None:
    """The masks of what was removed; None when it is not zero."""
    if not past:
        return {}
    scores = {number: magnitudes[number] for number in past}
    masks = request.masks(kernels, scores, past)
    for number, mask in masks.items():
        if magnitudes[number][~mask].any():
            return None
    return masks


def _with_zeros(request, kernels, magnitudes, targets) -> dict:
    """Holds what is zero, unless that is more than there shall be.

    A kernel that starts as zeros, or as an identity, must be trained first.
    """
    masks = {n: magnitude != 0 for n, magnitude in magnitudes.items()}
    if all(mask.all() for mask in masks.values()):
        return masks
    for number, final in request.masks(kernels, magnitudes, targets).items():
        if final[~masks[number]].any():
            masks[number] = np.ones(final.shape, bool)
    return masks


def _check_goes_on(kernels, due, start: int) -> None:
    for number, kernel in enumerate(kernels):
        steps = [step for step, now in due if number in now]
        if steps[-1] < start:
            raise UsageError(
                f"The schedule of {kernel.name} ended at step {steps[-1]} of "
                "the optimizer, and what it was to remove is still there. "
                f"Received: a run that begins at step {start}. Pass a later "
                "schedule, or compile the model anew."
            )
