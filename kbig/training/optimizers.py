"""AdamW as BERT uses it."""

import keras

from kbig.errors import UsageError

# Biases, and the weights of normalization layers. In a training step Keras
# matches TensorFlow's names, as in "dense/bias:0" or "norm/beta/replica_1:0".
NOT_DECAYED = r"(^|/)(\w*bias|gamma|beta|scale)(/replica_\d+)?(:\d+)?$"


@keras.saving.register_keras_serializable("kbig")
class SelectiveAdamW(keras.optimizers.AdamW):
    """AdamW that never decays biases and normalization weights.

    Keras forgets `exclude_from_weight_decay` when it saves an optimizer; this
    class makes the exclusion again when it is loaded.

    Args:
        *args: as of `keras.optimizers.AdamW`.
        **kwargs: as of `keras.optimizers.AdamW`.

    Example:
    ```python
    optimizer = SelectiveAdamW(1e-4, weight_decay=0.01)
    ```
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.exclude_from_weight_decay(var_names=[NOT_DECAYED])


def adamw(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.01,
    epsilon: float = 1e-6,
    global_clipnorm: float | None = None,
    **options,
) -> keras.optimizers.AdamW:
    """Makes the optimizer of BERT: AdamW that spares biases and norms.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: share of a weight to take off each step, times the
            learning rate.
        epsilon: added to the root of the second moment.
        global_clipnorm: largest norm of all gradients together; BERT used
            1.0. None does not clip.
        **options: further ones of `keras.optimizers.AdamW`.

    Returns:
        A `keras.optimizers.AdamW`, not yet built.

    Raises:
        UsageError: when the weight decay is negative.

    Example:
    ```python
    rate = WarmupLinear(1e-4, warmup_steps=100, total_steps=1000)
    optimizer = adamw(rate, global_clipnorm=1.0)
    ```

    Reference:
     - [Loshchilov and Hutter, 2019](https://arxiv.org/abs/1711.05101)
     - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
    """
    if weight_decay < 0:
        raise UsageError(
            "`weight_decay` must not be negative. "
            f"Received: weight_decay={weight_decay}. Pass 0 to switch it off."
        )
    return SelectiveAdamW(
        learning_rate,
        weight_decay=weight_decay,
        epsilon=epsilon,
        global_clipnorm=global_clipnorm,
        **options,
    )
