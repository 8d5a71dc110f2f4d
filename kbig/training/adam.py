"""Adam's update of one variable, in as few passes over memory as it takes."""

import functools
from typing import NamedTuple

import tensorflow as tf

# Numbers of a variable that is worth a loop of its own: compiling one takes
# some 50 ms, and a call of it as long as the passes over a small variable.
LARGE = 1 << 16


class Scaled(NamedTuple):
    """A gradient, and what it has still to be multiplied by, in float32."""

    tensor: tf.Tensor
    scale: tf.Tensor

    @classmethod
    def of(cls, gradient) -> "Scaled":
        """Makes one of a gradient that is not one yet."""
        if isinstance(gradient, cls):
            return gradient
        return cls(gradient, tf.ones(()))

    def product(self) -> tf.Tensor:
        """Returns the gradient."""
        return self.tensor * tf.cast(self.scale, self.tensor.dtype)


def update(
    variable: tf.Variable,
    moments: tuple[tf.Variable, tf.Variable],
    gradient: Scaled,
    rate,
    decay,
    betas: tuple[float, float],
    epsilon: float,
    step,
) -> None:
    """Decays a variable, then updates it and its moments.

    A large one on a CPU gets a loop of its own: TensorFlow's kernel neither
    scales a gradient nor decays, and each of them is two passes over it.

    Args:
        variable: floating-point.
        moments: the means of gradients and of their squares.
        gradient: of the variable.
        rate: the learning rate.
        decay: share of the variable to take off first; None takes nothing.
        betas: how much of each mean is kept.
        epsilon: added to the root of the mean of squares, before that is
            corrected for its bias, as Keras does.
        step: number of the step, from 1.

    Example:
    ```python
    gradient = Scaled.of(tf.ones((2, 2)))
    update(weight, (mean, square), gradient, 1e-3, None, (0.9, 0.99), 1e-7, 1)
    ```
    """
    dtype = variable.dtype
    handles = [each.handle for each in (variable, *moments)]
    betas = [tf.cast(beta, dtype) for beta in betas]
    powers = [tf.pow(beta, tf.cast(step, dtype)) for beta in betas]
    if is_large(variable):
        _loop(
            handles,
            Scaled(*(tf.cast(each, dtype) for each in gradient)),
            tf.zeros((), dtype) if decay is None else decay,
            rate * tf.sqrt(1 - powers[1]) / (1 - powers[0]),
            betas,
            tf.cast(epsilon, dtype),
        )
        return
    if decay is not None:
        variable.assign_sub(variable * decay)
    tf.raw_ops.ResourceApplyAdam(
        **dict(zip(("var", "m", "v"), handles)),
        beta1_power=powers[0],
        beta2_power=powers[1],
        lr=rate,
        beta1=betas[0],
        beta2=betas[1],
        epsilon=tf.cast(epsilon, dtype),
        grad=tf.cast(gradient.product(), dtype),
    )


def is_large(variable: tf.Variable) -> bool:
    """Whether one compiled loop updates a variable faster than kernels do.

    Args:
        variable: of a known shape.

    Returns:
        False where there is a GPU: whose memory is ten times as fast.

    Example:
    ```python
    is_large(tf.Variable(tf.zeros((1024, 1024))))  # True on a CPU
    ```
    """
    has_gpu = bool(tf.config.list_logical_devices("GPU"))
    return variable.shape.num_elements() >= LARGE and not has_gpu


@functools.partial(tf.function, jit_compile=True, autograph=False)
def _loop(handles, gradient, decay, rate, betas, epsilon):
    """Writes where it reads."""
    scaled = gradient.product()
    weight, mean, square = (
        tf.raw_ops.ReadVariableOp(resource=handle, dtype=scaled.dtype)
        for handle in handles
    )
    weight -= weight * decay
    mean += (scaled - mean) * (1 - betas[0])
    square += (scaled * scaled - square) * (1 - betas[1])
    weight -= mean * rate / (tf.sqrt(square) + epsilon)
    for handle, value in zip(handles, (weight, mean, square)):
        tf.raw_ops.AssignVariableOp(resource=handle, value=value)
