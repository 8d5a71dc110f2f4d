"""Weights that are held at zero inside the training step."""

import weakref

import keras
import numpy as np
from keras import ops

from kbig.compression.pruning.targets import Kernel
from kbig.errors import UsageError


class MaskedWeights:
    """The masks of some kernels, as constraints that Keras applies.

    A constraint is part of the graph of the training step, so that masks hold
    within `steps_per_execution` and under XLA. It is not saved with a model.

    Args:
        kernels: whose weights to hold. Make this in the scope of the model's
            strategy.
        owner: the callback that does it.

    Attributes:
        masks: a bool variable a kernel, False where it is held at zero.
    """

    def __init__(self, kernels: list[Kernel], owner: keras.callbacks.Callback):
        self._owner = weakref.ref(owner)
        self._kernels = kernels
        self._variables = [kernel.variable for kernel in kernels]
        self.masks = [
            keras.Variable(
                np.ones(variable.shape, bool),
                trainable=False,
                dtype="bool",
                name="mask",
            )
            for variable in self._variables
        ]

    def check_free(self) -> None:
        """Raises where another callback of this run holds a weight.

        Raises:
            UsageError: one does.
        """
        for kernel, variable in zip(self._kernels, self._variables):
            held = variable.constraint
            if isinstance(held, _Masked) and is_of_this_run(
                held.owner(), self._owner()
            ):
                raise UsageError(
                    "A weight is pruned by one Pruner at a time. Received: "
                    f"two for {kernel.name}. Pass one, with a mapping of name "
                    "patterns to sparsities."
                )

    def attach(self) -> None:
        """Makes the masks part of training steps that are traced from now."""
        for variable, mask in zip(self._variables, self.masks):
            inner = variable.constraint
            variable.constraint = _Masked(mask, inner, self._owner)

    def detach(self) -> None:
        """Gives the weights back the constraints that they had."""
        for variable in self._variables:
            held = variable.constraint
            # Another run may have taken over since.
            if isinstance(held, _Masked) and held.owner() is self._owner():
                variable.constraint = held.inner

    def mask(self, number: int) -> np.ndarray:
        """Of a kernel: bool, False where it is held at zero."""
        return np.asarray(ops.convert_to_numpy(self.masks[number]))

    def value(self, number: int) -> np.ndarray:
        """Of a kernel, in its own data type."""
        return np.asarray(ops.convert_to_numpy(self._variables[number]))

    def magnitude(self, number: int) -> np.ndarray:
        """Of a kernel's weights: float32.

        Raises:
            UsageError: one is not finite.
        """
        return finite(
            np.abs(np.asarray(self.value(number), np.float32)),
            self._kernels[number].name,
        )

    def assign(self, number: int, mask: np.ndarray, value: np.ndarray) -> None:
        """Replaces both."""
        self.masks[number].assign(mask)
        zero = value.dtype.type(0)
        self._variables[number].assign(np.where(mask, value, zero))

    def is_held(self, number: int) -> bool:
        """Whether what the mask removes of a kernel is zero."""
        return not np.any(self.value(number)[~self.mask(number)])

    def hold(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Zeroes what was averaged, too, and what was averaged into weights.

        An optimizer with `use_ema` averages weights before their constraint,
        and `fit` ends by putting the averages into the weights.
        """
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        averages = getattr(optimizer, "_model_variables_moving_average", ())
        if not (optimizer.use_ema and averages):
            return
        for number, variable in enumerate(self._variables):
            average = averages[optimizer._get_variable_index(variable)]
            mask = self.mask(number)
            for held in (average, variable):
                value = np.asarray(ops.convert_to_numpy(held))
                held.assign(np.where(mask, value, 0).astype(value.dtype))


def release_weights(
    model: keras.Model, owner: keras.callbacks.Callback
) -> None:
    """Gives weights back the constraints that they had before another run.

    Args:
        model: that may hold what an interrupted run has left.
        owner: the callback that begins. What callbacks of the same run hold
            stays.
    """
    for variable in model.variables:
        held = variable.constraint
        if isinstance(held, _Masked) and not is_of_this_run(
            held.owner(), owner
        ):
            variable.constraint = held.inner


def finite(scores: np.ndarray, name: str) -> np.ndarray:
    """Raises unless all scores are finite.

    Args:
        scores: of the weights of a kernel.
        name: of the kernel.

    Returns:
        The scores.

    Raises:
        UsageError: one is not.
    """
    if not np.isfinite(scores).all():
        raise UsageError(
            "Weights that are not finite cannot be ranked. Received: "
            f"{name} with NaN or infinity. Take weights from before training "
            "diverged, and a lower learning rate."
        )
    return scores


def is_of_this_run(other, own) -> bool:
    """Tells whether another callback is of the same run of `fit`.

    Args:
        other: it, or None when it is gone.
        own: the one that asks.

    Returns:
        Whether both were given the same parameters by `fit`.
    """
    return other not in (None, own) and other.params is own.params


class _Masked:
    """A constraint: another one first, then zeros."""

    def __init__(self, mask: keras.Variable, inner, owner):
        self.mask, self.inner, self.owner = mask, inner, owner

    def __call__(self, variable):
        value = variable if self.inner is None else self.inner(variable)
        # Not a product, which would leave -0.0: that compresses badly.
        return ops.where(self.mask, value, ops.zeros((), variable.dtype))
