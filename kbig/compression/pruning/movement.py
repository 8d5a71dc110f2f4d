"""Scores of movement pruning: whether weights move away from zero."""

import os
import weakref
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kbig.compression.pruning.masked import finite
from kbig.compression.pruning.masked import is_of_this_run
from kbig.compression.pruning.targets import Kernel
from kbig.errors import UsageError


class Movement:
    """Adds up minus weight times gradient of kernels while a model trains.

    What was removed keeps its last value aside, goes on being scored by it,
    and returns with it when its score has come to be high enough, as in the
    paper.

    Args:
        kernels: to score. Make this in the scope of the model's strategy.
        owner: the callback that prunes by them.
        state: what `save` wrote, to go on from.

    Reference:
     - [Sanh et al., 2020](https://arxiv.org/abs/2005.07683)
    """

    def __init__(
        self,
        kernels: list[Kernel],
        owner: keras.callbacks.Callback,
        state: Mapping | None = None,
    ):
        self._kernels = kernels
        self._owner = weakref.ref(owner)
        # Each replica adds up its own; the sum over all is read.
        self._scores = [
            keras.Variable(
                np.zeros(k.variable.shape, np.float32),
                trainable=False,
                dtype="float32",
                name="movement",
                synchronization="on_read",
                aggregation="sum",
            )
            for k in kernels
        ]
        self._removed = [
            keras.Variable(
                np.zeros(k.variable.shape, np.float32),
                trainable=False,
                dtype=k.variable.dtype,
                name="removed",
            )
            for k in kernels
        ]
        self._optimizer = None
        if state is not None:
            self._restore(state)

    def check_free(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Raises where another callback of this run reads the gradients.

        Raises:
            UsageError: one does.
        """
        other = getattr(vars(optimizer).get("apply"), "movement", None)
        if other and is_of_this_run(other._owner(), self._owner()):
            raise UsageError(
                "Gradients are read by one Pruner at a time. Received: two "
                'with method="movement". Pass one, with a mapping of name '
                "patterns to sparsities."
            )

    def attach(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Has the optimizer hand over its gradients first."""
        left = getattr(vars(optimizer).get("apply"), "movement", None)
        if left is not None:  # By a run that was interrupted.
            left.detach()
        apply = optimizer.apply
        places = {id(k.variable): n for n, k in enumerate(self._kernels)}

        def scored(grads, trainable_variables=None):
            variables = trainable_variables
            if variables is None:
                variables = optimizer._trainable_variables
            for gradient, variable in zip(grads, variables):
                if id(variable) in places and gradient is not None:
                    self._add(places[id(variable)], gradient)
            return apply(grads, trainable_variables)

        scored.movement = self
        optimizer.apply = scored
        self._optimizer = optimizer

    def detach(self) -> None:
        """Gives the optimizer back its own method."""
        optimizer, self._optimizer = self._optimizer, None
        held = vars(optimizer).get("apply") if optimizer is not None else None
        if getattr(held, "movement", None) is self:
            del optimizer.apply

    def scores(self, number: int) -> np.ndarray:
        """What a kernel's weights have come to: float32 of its shape.

        Raises:
            UsageError: one is not finite.
        """
        scores = np.asarray(ops.convert_to_numpy(self._scores[number]))
        return finite(scores, f"the gradient of {self._kernels[number].name}")

    def exchange(self, number: int, weight: np.ndarray, mask: np.ndarray):
        """Puts what is removed aside, and takes back what returns.

        Args:
            number: of the kernel.
            weight: its value, 0 where it was removed before.
            mask: bool, False where it is to be removed now.

        Returns:
            The new value.
        """
        removed = np.asarray(ops.convert_to_numpy(self._removed[number]))
        whole = np.where(removed != 0, removed, weight)
        zero = whole.dtype.type(0)
        self._removed[number].assign(np.where(mask, zero, whole))
        return np.where(mask, whole, zero)

    def save(self, path: str | os.PathLike) -> None:
        """Writes all that it knows into an .npz file."""
        arrays = {}
        for number, removed in enumerate(self._removed):
            arrays[f"scores_{number}"] = self.scores(number)
            value = ops.convert_to_numpy(removed)
            arrays[f"removed_{number}"] = np.asarray(value, np.float64)
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        for number, removed in enumerate(self._removed):
            expected = tuple(removed.shape)
            found = np.shape(arrays.get(f"removed_{number}"))
            if found != expected:
                raise UsageError(
                    "The saved scores are of another model, or of other "
                    f"layers of it. Received: {found or 'nothing'} for "
                    f"{self._kernels[number].name} of shape {expected}. Pass "
                    "`load_state` the file that was saved with this model."
                )
        for number, removed in enumerate(self._removed):
            self._scores[number].assign(arrays[f"scores_{number}"])
            removed.assign(arrays[f"removed_{number}"])

    def _add(self, number: int, gradient) -> None:
        gradient = ops.cast(tf.convert_to_tensor(gradient), "float32")
        weight = ops.cast(self._kernels[number].variable, "float32")
        whole = weight + ops.cast(self._removed[number], "float32")
        self._scores[number].assign_sub(gradient * whole)
