"""AdamW as BERT uses it, in one pass over each variable."""

import re
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import tensorflow as tf

from kbig.errors import UsageError
from kbig.training import adam

# Biases, and the weights of normalization layers. In a training step Keras
# matches TensorFlow's names, as in "dense/bias:0" or "norm/beta/replica_1:0".
NOT_DECAYED = r"(^|/)(\w*bias|gamma|beta|scale)(/replica_\d+)?(:\d+)?$"


def rate_factor(path: str, multipliers: Mapping[str, float]) -> float:
    """Finds the factor of a variable's learning rate.

    Args:
        path: of the variable, as `"dense/kernel"`.
        multipliers: regular expressions and the factors of the variables
            whose path they are found in; the first that is found wins.

    Returns:
        The factor; 1.0 where no expression is found.

    Example:
    ```python
    rate_factor("encoder/kernel", {"encoder/": 0.1})  # 0.1
    ```
    """
    for pattern, factor in multipliers.items():
        if re.search(pattern, path):
            return factor
    return 1.0


@keras.saving.register_keras_serializable("kbig")
class SelectiveAdamW(keras.optimizers.AdamW):
    """AdamW that never decays biases and normalization weights.

    Keras forgets `exclude_from_weight_decay` when it saves an optimizer; this
    class makes the exclusion again when it is loaded. Variables, their order
    and the numbers are those of `keras.optimizers.AdamW`, but for:

    - A variable and its moments are updated in one pass, where Keras makes
      two dozen: by a compiled loop where they are large and on a CPU,
      otherwise by TensorFlow's kernel. With `amsgrad` Keras's code runs.
    - Gradients of embeddings, which TensorFlow hands over as slices, are
      summed first. Keras adds the squares of slices of the same row, and so
      takes second moments and the clipping norm too large or too small.
    - Under a `tf.distribute` strategy the gradients of all replicas are
      summed before they are clipped, as those of one whole batch; Keras clips
      each replica's own. Gradient accumulation works there too.

    A saved file that holds one loads after `import kbig.training`; `import
    kbig` alone does not make it known to Keras.

    Args:
        *args: as of `keras.optimizers.AdamW`.
        multipliers: regular expressions on `variable.path`, and the factor
            of the learning rate, and so of the decay, where one is found;
            the first wins. A mapping, or a sequence of pairs.
        **kwargs: as of `keras.optimizers.AdamW`.

    Raises:
        UsageError: when a multiplier is negative or its expression wrong, or
            when `use_ema` and `gradient_accumulation_steps` meet.

    Example:
    ```python
    optimizer = SelectiveAdamW(1e-4, weight_decay=0.01)
    ```
    """

    def __init__(
        self,
        *args,
        multipliers: Mapping[str, float] | Sequence | None = None,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        multipliers = dict(multipliers or {})
        _check_multipliers(multipliers)
        _check_accumulation(self.gradient_accumulation_steps, self.use_ema)
        # A tuple: Keras would turn a dict into one that it tracks.
        self.multipliers = tuple(multipliers.items())
        self.exclude_from_weight_decay(var_names=[NOT_DECAYED])

    def build(self, variables):
        """Makes the variables, and finds each weight's factor."""
        if not self.built:
            multipliers = dict(self.multipliers)
            self._factors = tuple(
                rate_factor(getattr(v, "path", v.name), multipliers)
                for v in variables
            )
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        """Decays one weight, then updates it and its moments."""
        gradient = adam.Scaled.of(gradient)
        index = self._get_variable_index(variable)
        rate = tf.cast(learning_rate, variable.dtype) * self._factors[index]
        decay = None
        if self.weight_decay and self._use_weight_decay(variable):
            decay = rate * self.weight_decay
        if self.amsgrad:
            if decay is not None:
                variable.assign_sub(variable * decay)
            super().update_step(gradient.product(), variable, rate)
            return
        adam.update(
            variable,
            (self._momentums[index].value, self._velocities[index].value),
            gradient,
            rate,
            decay,
            (self.beta_1, self.beta_2),
            self.epsilon,
            self.iterations + 1,
        )

    def get_config(self):
        """Returns the arguments."""
        return {**super().get_config(), "multipliers": self.multipliers}

    def _backend_apply_gradients(self, grads, trainable_variables):
        grads = [tf.convert_to_tensor(gradient) for gradient in grads]
        # Before they are clipped; here the numbers are a replica's tensors.
        pairs = self._all_reduce_sum_gradients(zip(grads, trainable_variables))
        grads = [gradient for gradient, _ in pairs]
        if self.gradient_accumulation_steps:
            self._accumulate(grads, trainable_variables)
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._distributed_tf_update_step,
            self._distribution_strategy,
            list(zip(grads, map(_native, trainable_variables))),
            learning_rate,
        )

    def _apply_weight_decay(self, variables):
        """Does nothing: `update_step` decays."""

    def _clip_gradients(self, grads):
        """As Keras, but leaves it to `update_step` to scale all alike."""
        clips_each = self.clipnorm is not None and self.clipnorm > 0
        limit = self.global_clipnorm or 0
        if clips_each or limit <= 0:
            return super()._clip_gradients(grads)
        halves = [tf.nn.l2_loss(tf.cast(g, "float32")) for g in grads]
        norm = tf.sqrt(2 * tf.add_n(halves))
        # What is added is zero, or not a number where the norm is not finite.
        scale = tf.minimum(1.0, limit / norm) + (norm - norm)
        return [adam.Scaled(gradient, scale) for gradient in grads]

    def _accumulate(self, grads, trainable_variables):
        """Adds the gradients up, and takes a step every so many batches.

        Keras enters the strategy's merge call within a condition, which
        TensorFlow forbids; here the condition is within the merge call.
        """
        count = self.gradient_accumulation_steps
        takes_step = (self._iterations + 1) % count == 0
        sums = [
            self._accumulated_gradients[self._get_variable_index(variable)]
            + gradient
            for gradient, variable in zip(grads, trainable_variables)
        ]
        gradients = tf.cond(
            takes_step,
            lambda: [
                adam.Scaled.of(gradient)
                for gradient in self._clip_gradients(
                    [total / count for total in sums]
                )
            ],
            lambda: [adam.Scaled.of(total) for total in sums],
        )
        tf.__internal__.distribute.interim.maybe_merge_call(
            self._step_or_keep,
            self._distribution_strategy,
            gradients,
            [_native(variable) for variable in trainable_variables],
            takes_step,
            self.learning_rate,
        )

    def _step_or_keep(
        self, distribution, gradients, variables, takes_step, learning_rate
    ):
        accumulators = [
            self._accumulated_gradients[self._get_variable_index(v)].value
            for v in variables
        ]

        def update(variable, assign, *args):
            distribution.extended.update(
                variable, assign, args=args, group=False
            )

        def step():
            self._distributed_tf_update_step(
                distribution, list(zip(gradients, variables)), learning_rate
            )
            for accumulator in accumulators:
                update(accumulator, lambda v: v.assign(tf.zeros_like(v)))

        def keep():
            for accumulator, gradient in zip(accumulators, gradients):
                update(accumulator, lambda v, g: v.assign(g), gradient.tensor)

        tf.cond(
            distribution.experimental_local_results(takes_step)[0], step, keep
        )


def adamw(
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    weight_decay: float = 0.01,
    epsilon: float = 1e-6,
    global_clipnorm: float | None = None,
    multipliers: Mapping[str, float] | None = None,
    **options,
) -> SelectiveAdamW:
    """Makes the optimizer of BERT: AdamW that spares biases and norms.

    With `gradient_accumulation_steps=n` the gradients of n batches are
    averaged, and every n-th batch ends with a step, as of one batch n times
    as large. A schedule counts batches, as it does in Keras: `total_steps`
    is that of `fit`. It also works under a strategy and with `jit_compile`.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: share of a weight to take off each step, times the
            learning rate.
        epsilon: added to the root of the second moment.
        global_clipnorm: largest norm of all gradients together, those of
            all replicas summed; BERT used 1.0. None does not clip.
        multipliers: regular expressions on `variable.path`, and the factor
            of the learning rate, and so of the decay, where one is found;
            the first wins.
        **options: further ones of `keras.optimizers.AdamW`.

    Returns:
        A `keras.optimizers.AdamW`, not yet built.

    Raises:
        UsageError: when the weight decay or a multiplier is negative, an
            expression is wrong, or `use_ema` and
            `gradient_accumulation_steps` meet.

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
        multipliers=multipliers,
        **options,
    )


def _native(variable) -> tf.Variable:
    return variable.value if isinstance(variable, keras.Variable) else variable


def _check_multipliers(multipliers: Mapping) -> None:
    for pattern, factor in multipliers.items():
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise UsageError(
                "`multipliers` must map regular expressions to factors. "
                f"Received: {pattern!r}, which is wrong: {error}. Escape what "
                "is meant literally with `re.escape`."
            ) from error
        if not factor >= 0:
            raise UsageError(
                "The factors of `multipliers` must not be negative. Received: "
                f"{pattern!r}: {factor!r}. Pass 0.0 to leave weights as they "
                "are."
            )


def _check_accumulation(steps: int | None, use_ema: bool) -> None:
    if steps and use_ema:
        raise UsageError(
            "`use_ema` averages after every batch, also where accumulated "
            "gradients wait. Received: use_ema=True, "
            f"gradient_accumulation_steps={steps}. Pass one of them."
        )
