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

# Of Adam. Weight times gradient is far below Adam's usual epsilon.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-16


class Movement:
    """Scores kernels by minus weight times gradient while a model trains.

    Scores learn as the paper's experiments have it, by Adam: what counts is
    how steadily a weight moves, and a step of large gradients counts no more
    than another. A plain sum is ruled by the first steps of a fine-tuning, when
    the head knows nothing, and removes what matters most. On several replicas
    each goes by the gradients that it computed.

    What was removed keeps its last value aside, goes on being scored by it,
    and returns with it when its score has come to be high enough.

    Args:
        kernels: to score. Make this in the scope of the model's strategy.
        owner: the callback that prunes by them.
        state: what `save` wrote, to go on from.

    Reference:
     - [Sanh et al., 2020](https://arxiv.org/abs/2005.07683)
     - [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980)
    """

    def __init__(
        self,
        kernels: list[Kernel],
        owner: keras.callbacks.Callback,
        state: Mapping | None = None,
    ):
        self._kernels = kernels
        self._owner = weakref.ref(owner)
        # Each replica has its own; the sum over all is read.
        self._scores = [_own("movement", k, "sum") for k in kernels]
        self._means = [_own("movement_mean", k) for k in kernels]
        self._squares = [_own("movement_square", k) for k in kernels]
        self._steps = _own("movement_steps")
        self._removed = [
            keras.Variable(
                np.zeros(k.variable.shape, np.float32),
                trainable=False,
                dtype=k.variable.dtype,
                name="removed",
            )
            for k in kernels
        ]
        self._open = [np.ones(k.variable.shape, bool) for k in kernels]
        self._optimizer = None
        if state is not None:
            self._restore(state)

    def close(self, masks: Mapping[int, np.ndarray]) -> None:
        """Lets no weight return that was zero before the first run.

        Args:
            masks: by number of a kernel, bool, False where it was.
        """
        for number, mask in masks.items():
            self._open[number] = mask

    def check_free(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Raises where another callback of this run reads the gradients.

        Raises:
            UsageError: one does.
        """
        other = _attached_to(optimizer)
        if other and is_of_this_run(other._owner(), self._owner()):
            raise UsageError(
                "Gradients are read by one Pruner at a time. Received: two "
                'with method="movement". Pass one, with a mapping of name '
                "patterns to sparsities."
            )

    def attach(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Has the optimizer hand over its gradients first."""
        apply = optimizer.apply
        places = {id(k.variable): n for n, k in enumerate(self._kernels)}

        def scored(grads, trainable_variables=None):
            variables = trainable_variables
            if variables is None:
                variables = optimizer._trainable_variables
            self._steps.assign_add(1.0)
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
        if optimizer is not None and _attached_to(optimizer) is self:
            del optimizer.apply

    def scores(self, number: int) -> np.ndarray:
        """What a kernel's weights have come to: float32 of its shape.

        Returns:
            Minus infinity for those that were zero before the first run.

        Raises:
            UsageError: one is not finite.
        """
        return np.where(self._open[number], self._learned(number), -np.inf)

    def mask(self, number: int) -> np.ndarray:
        """Of a kernel: bool, False where it was zero before the first run."""
        return self._open[number]

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
        arrays = {"steps": ops.convert_to_numpy(self._steps)}
        for number, removed in enumerate(self._removed):
            arrays[f"scores_{number}"] = self._learned(number)
            arrays[f"open_{number}"] = self._open[number]
            for name, moments in self._moments().items():
                value = ops.convert_to_numpy(moments[number])
                arrays[f"{name}_{number}"] = value
            value = ops.convert_to_numpy(removed)
            arrays[f"removed_{number}"] = np.asarray(value, np.float64)
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        for number, removed in enumerate(self._removed):
            expected = tuple(removed.shape)
            found = np.shape(arrays.get(f"open_{number}"))
            if found != expected:
                raise UsageError(
                    "The saved scores are of another model, or of other "
                    f"layers of it. Received: {found or 'nothing'} for "
                    f"{self._kernels[number].name} of shape {expected}. Pass "
                    "`load_state` the file that was saved with this model."
                )
        for number, removed in enumerate(self._removed):
            self._scores[number].assign(arrays[f"scores_{number}"])
            self._open[number] = arrays[f"open_{number}"]
            for name, moments in self._moments().items():
                moments[number].assign(arrays[f"{name}_{number}"])
            removed.assign(arrays[f"removed_{number}"])
        self._steps.assign(arrays["steps"])

    def _learned(self, number: int) -> np.ndarray:
        scores = np.asarray(ops.convert_to_numpy(self._scores[number]))
        return finite(scores, f"the gradient of {self._kernels[number].name}")

    def _moments(self) -> dict[str, list[keras.Variable]]:
        return {"means": self._means, "squares": self._squares}

    def _add(self, number: int, gradient) -> None:
        gradient = ops.cast(tf.convert_to_tensor(gradient), "float32")
        weight = ops.cast(self._kernels[number].variable, "float32")
        whole = weight + ops.cast(self._removed[number], "float32")
        change = gradient * whole
        moved = []
        for variable, value, beta in (
            (self._means[number], change, _BETAS[0]),
            (self._squares[number], change * change, _BETAS[1]),
        ):
            variable.assign(beta * variable + (1 - beta) * value)
            moved.append(variable / (1 - beta**self._steps))
        mean, square = moved
        self._scores[number].assign_sub(mean / (ops.sqrt(square) + _EPSILON))


def release_gradients(
    optimizer: keras.optimizers.Optimizer, owner: keras.callbacks.Callback
) -> None:
    """Gives an optimizer back its own method, which another run replaced.

    Args:
        optimizer: that may hold what an interrupted run has left.
        owner: the callback that begins. What callbacks of the same run hold
            stays.
    """
    left = _attached_to(optimizer)
    if left is not None and not is_of_this_run(left._owner(), owner):
        left.detach()


def _attached_to(optimizer) -> Movement | None:
    return getattr(vars(optimizer).get("apply"), "movement", None)


def _own(
    name: str, kernel: Kernel | None = None, aggregation: str = "mean"
) -> keras.Variable:
    """Zeros of a kernel's shape, or one, of which each replica has its own."""
    return keras.Variable(
        np.zeros(kernel.variable.shape if kernel else (), np.float32),
        trainable=False,
        dtype="float32",
        name=name,
        synchronization="on_read",
        aggregation=aggregation,
    )
