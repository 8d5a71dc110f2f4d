"""Weights that are held at zero inside the training step."""

import keras
import numpy as np
from keras import ops

from kbig.compression.pruning.masks import kept
from kbig.compression.pruning.targets import Kernel


class MaskedWeights:
    """The masks of some kernels, as constraints that Keras applies.

    A constraint is part of the graph of the training step, so that masks hold
    within `steps_per_execution` and under XLA. It is not saved with a model.

    Args:
        kernels: whose weights to hold. Make this in the scope of the model's
            strategy.
    """

    def __init__(self, kernels: list[Kernel]):
        self._variables = [kernel.variable for kernel in kernels]
        self._masks = [
            keras.Variable(
                np.ones(variable.shape, bool),
                trainable=False,
                dtype="bool",
                name="mask",
            )
            for variable in self._variables
        ]

    def attach(self) -> None:
        """Makes the masks part of training steps that are traced from now."""
        for variable, mask in zip(self._variables, self._masks):
            # One that a run left which was interrupted has no say any more.
            inner = getattr(variable.constraint, "inner", variable.constraint)
            variable.constraint = _Masked(mask, inner)

    def detach(self) -> None:
        """Gives the weights back the constraints that they had."""
        for variable in self._variables:
            if isinstance(variable.constraint, _Masked):
                variable.constraint = variable.constraint.inner

    def mask(self, number: int) -> np.ndarray:
        """Of a kernel: bool, False where it is held at zero."""
        return np.asarray(ops.convert_to_numpy(self._masks[number]))

    def value(self, number: int) -> np.ndarray:
        """Of a kernel: float32."""
        value = ops.convert_to_numpy(self._variables[number])
        return np.asarray(value, np.float32)

    def keep_zeros(self, number: int, sparsity: float) -> None:
        """Holds what is zero, unless that is more than there shall be."""
        value = self.value(number)
        mask = value != 0
        if np.count_nonzero(mask) < kept(mask.size, sparsity):
            mask = np.ones(mask.shape, bool)
        self.assign(number, mask, value)

    def assign(self, number: int, mask: np.ndarray, value: np.ndarray) -> None:
        """Replaces both."""
        self._masks[number].assign(mask)
        self._variables[number].assign(np.where(mask, value, 0))

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


class _Masked:
    """A constraint: another one first, then zeros."""

    def __init__(self, mask: keras.Variable, inner):
        self.mask, self.inner = mask, inner

    def __call__(self, variable):
        value = variable if self.inner is None else self.inner(variable)
        # Not a product, which would leave -0.0: that compresses badly.
        return ops.where(self.mask, value, ops.zeros((), variable.dtype))
