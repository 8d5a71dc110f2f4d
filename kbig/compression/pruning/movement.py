"""Scores of movement pruning: whether weights move away from zero."""

import os
import weakref
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kbig.compression.pruning.learned import Learned
from kbig.compression.pruning.learned import zeros
from kbig.compression.pruning.masked import finite
from kbig.compression.pruning.masked import is_of_this_run
from kbig.compression.pruning.targets import Kernel
from kbig.errors import UsageError

# Share of the scores of a kernel that may be the same as its limit.
_FEW = 0.001


class Movement:
    """Scores kernels by minus weight times gradient while a model trains.

    Scores learn as the paper's experiments have it, by Adam and at the rate of
    the optimizer: what counts is how steadily a weight moves, and a step of
    large gradients counts no more than another. A plain sum is ruled by the
    first steps of a fine-tuning, when the head knows nothing, and removes what
    matters most.

    What was removed keeps its last value aside, goes on being scored by it,
    and returns with it when its score has come to be high enough. Where weights
    `follow` their scores that is in each step: gradients of the weights of a
    unit have much in common, so that what is removed at once moves all that
    the unit gives to one side. The next gradients say so, and must be heard
    before more is removed.

    Args:
        kernels: to score. Make this in the scope of the model's strategy.
        masks: the variables of their masks.
        owner: the callback that prunes by them.
        state: what `save` wrote, to go on from.

    Attributes:
        updated: step of the optimizer at which the masks were updated last,
            whoever does that says it; -1 before.

    Reference:
     - [Sanh et al., 2020](https://arxiv.org/abs/2005.07683)
     - [Kingma and Ba, 2014](https://arxiv.org/abs/1412.6980)
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        masks: Sequence[keras.Variable],
        owner: keras.callbacks.Callback,
        state: Mapping | None = None,
    ):
        self._kernels = kernels
        self._masks = masks
        self._owner = weakref.ref(owner)
        self._learned = [Learned.of(k.variable) for k in kernels]
        self._steps = zeros("steps")
        self._open = [np.ones(k.variable.shape, bool) for k in kernels]
        self.updated = -1
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
            score = self._learned[number].score
            score.assign(np.where(mask, 0, -np.inf).astype(np.float32))

    def loaded_masks(
        self, magnitudes: Mapping[int, np.ndarray]
    ) -> dict[int, np.ndarray]:
        """What the earlier run had removed.

        Args:
            magnitudes: by number of a kernel, of its weights.

        Returns:
            By number of a kernel, bool, False where it is removed.

        Raises:
            UsageError: what it had removed is not zero.
        """
        masks = {number: _numpy(self._masks[number]) for number in magnitudes}
        for number, mask in masks.items():
            if magnitudes[number][~mask].any():
                raise UsageError(
                    "The saved scores are of another moment than the model. "
                    f"Received: {self._kernels[number].name} with weights "
                    "that had been removed. Load the model that was saved "
                    "when `save_state` was called."
                )
        return masks

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
            found = {
                places[id(variable)]: tf.convert_to_tensor(gradient)
                for gradient, variable in zip(grads, variables)
                if id(variable) in places and gradient is not None
            }
            self._learn(found, optimizer.learning_rate)
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
            UsageError: another one is not finite.
        """
        scores = _numpy(self._learned[number].score)
        name = f"the gradient of {self._kernels[number].name}"
        finite(scores[self._open[number]], name)
        return scores

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
        aside = self._learned[number].removed
        removed = _numpy(aside)
        whole = np.where(removed != 0, removed, weight)
        zero = whole.dtype.type(0)
        aside.assign(np.where(mask, zero, whole))
        return np.where(mask, whole, zero)

    def stay(self, number: int) -> None:
        """Lets no weight of a kernel go or return until the next update."""
        self._learned[number].limit.assign(np.full(3, np.nan))

    def follow(
        self,
        number: int,
        scores: np.ndarray,
        mask: np.ndarray,
        next_mask: np.ndarray,
        steps: int,
    ) -> None:
        """Has weights go and return in each step until the next update.

        Args:
            number: of the kernel.
            scores: of its weights now.
            mask: bool, False for the lowest of them, which are removed now.
            next_mask: the same of the next update, with the scores of now.
            steps: until then. The limit goes evenly from the one to the other.
        """
        first, last = scores[mask].min(), scores[next_mask].min()
        # Equal scores, as all are at first, say nothing.
        ties = np.count_nonzero(scores[~next_mask] == last)
        if next_mask.all() or ties > _FEW * scores.size:
            self.stay(number)
        else:
            limit = self._learned[number].limit
            limit.assign([first, (last - first) / steps, last])

    def save(self, path: str | os.PathLike) -> None:
        """Writes all that it knows into an .npz file."""
        arrays = {"steps": _numpy(self._steps), "updated": self.updated}
        for number, learned in enumerate(self._learned):
            arrays[f"open_{number}"] = self._open[number]
            arrays[f"mask_{number}"] = _numpy(self._masks[number])
            for name, variable in vars(learned).items():
                # NumPy's files know no bfloat16.
                wide = "float64" if name == "removed" else "float32"
                arrays[f"{name}_{number}"] = _numpy(variable).astype(wide)
        with open(path, "wb") as file:
            np.savez(file, **arrays)

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        for number, kernel in enumerate(self._kernels):
            expected = tuple(kernel.variable.shape)
            found = np.shape(arrays.get(f"mask_{number}"))
            if found != expected:
                raise UsageError(
                    "The saved scores are of another model, or of other "
                    f"layers of it. Received: {found or 'nothing'} for "
                    f"{kernel.name} of shape {expected}. Pass `load_state` "
                    "the file that was saved with this model."
                )
        for number, learned in enumerate(self._learned):
            self._open[number] = arrays[f"open_{number}"]
            self._masks[number].assign(arrays[f"mask_{number}"])
            for name, variable in vars(learned).items():
                variable.assign(arrays[f"{name}_{number}"])
        self._steps.assign(arrays["steps"])
        self.updated = int(arrays["updated"])

    def _learn(self, gradients: Mapping[int, tf.Tensor], rate) -> None:
        """Scores each kernel, and has its weights go and return."""
        replica = tf.distribute.get_replica_context()
        if replica.num_replicas_in_sync > 1:
            # All have the same weights, so they must agree which.
            gradients = replica.all_reduce("SUM", gradients)
        steps = self._steps.value.handle
        tf.raw_ops.AssignAddVariableOp(resource=steps, value=tf.ones(()))
        step = tf.raw_ops.ReadVariableOp(resource=steps, dtype="float32")
        for number, gradient in gradients.items():
            self._learned[number].learn(
                self._kernels[number].variable,
                self._masks[number],
                gradient,
                tf.cast(rate, "float32"),
                step,
            )


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


def _numpy(variable: keras.Variable) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(variable))
