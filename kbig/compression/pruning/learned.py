"""What movement pruning knows of a kernel, and how it learns in a step."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from kbig.training import adam

# Of Adam. Weight times gradient is far below Adam's usual epsilon.
_BETAS = (0.9, 0.999)
_EPSILON = 1e-16


@dataclasses.dataclass
class Learned:
    """What is known of the weights of a kernel.

    Args:
        score: float32, a number a weight, as are the next two.
        mean: of weight times gradient.
        square: of its square.
        removed: the weights that are removed, as they were; 0 for others.
        limit: three numbers. Below the first a score's weight goes, above it
            returns; with each step it grows by the second, up to the third.
            Not a number where nothing goes or returns.
    """

    score: keras.Variable
    mean: keras.Variable
    square: keras.Variable
    removed: keras.Variable
    limit: keras.Variable

    @classmethod
    def of(cls, kernel: keras.Variable) -> "Learned":
        """Knows nothing of a kernel yet, and lets nothing go or return."""
        limit = zeros("limit", (3,))
        limit.assign([np.nan] * 3)
        return cls(
            **{
                name: zeros(name, kernel.shape)
                for name in ("score", "mean", "square")
            },
            removed=zeros("removed", kernel.shape, kernel.dtype),
            limit=limit,
        )

    def learn(
        self,
        kernel: keras.Variable,
        mask: keras.Variable,
        gradient: tf.Tensor,
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        """Scores the weights, and has them go and return.

        Args:
            kernel: to change, together with its mask.
            mask: bool, False for what is removed.
            gradient: of the kernel.
            rate: how much this step counts.
            step: number of it, from 1.
        """
        weight = kernel.value
        handles = {name: v.value.handle for name, v in vars(self).items()}
        handles |= {"mask": mask.value.handle, "weight": weight.handle}
        move = _compiled if adam.is_large(weight) else _move
        move(handles, gradient, rate, step)


def zeros(name: str, shape=(), dtype="float32") -> keras.Variable:
    """Makes a variable of the current strategy.

    Args:
        name: behind "movement_".
        shape: of it.
        dtype: of it.

    Returns:
        One that is not trained.
    """
    return keras.Variable(
        np.zeros(shape, np.float32),
        trainable=False,
        dtype=dtype,
        name=f"movement_{name}",
    )


def _move(handles, gradient, rate, step) -> None:
    """One loop over memory, where it is compiled."""

    def read(name, dtype="float32"):
        return tf.raw_ops.ReadVariableOp(resource=handles[name], dtype=dtype)

    mask = read("mask", "bool")
    whole = tf.where(
        mask, *(read(name, gradient.dtype) for name in ("weight", "removed"))
    )
    change = tf.cast(gradient, "float32") * tf.cast(whole, "float32")
    mean = _BETAS[0] * read("mean") + (1 - _BETAS[0]) * change
    square = _BETAS[1] * read("square") + (1 - _BETAS[1]) * change * change
    deviation = tf.sqrt(square / (1 - _BETAS[1] ** step)) + _EPSILON
    score = read("score") - rate * mean / (1 - _BETAS[0] ** step) / deviation
    limit, growth, last = tf.unstack(read("limit"))
    limit = tf.clip_by_value(
        limit + growth, tf.minimum(limit, last), tf.maximum(limit, last)
    )
    moved = (score > limit) | (mask & (score >= limit))
    mask = tf.where(tf.math.is_nan(limit), mask, moved)
    zero = tf.zeros((), whole.dtype)
    for name, value in {
        "mean": mean,
        "square": square,
        "score": score,
        "limit": tf.stack([limit, growth, last]),
        "mask": mask,
        "removed": tf.where(mask, zero, whole),
        "weight": tf.where(mask, whole, zero),
    }.items():
        tf.raw_ops.AssignVariableOp(resource=handles[name], value=value)


_compiled = tf.function(_move, jit_compile=True, autograph=False)
