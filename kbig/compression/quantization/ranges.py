"""The range of one tensor: observed in training, rounded to always."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from kbig.compression.quantization import fake

# Values that a percentile is taken of: sorting all of them would cost more
# than the layer that made them.
_SORTED = 2**14


@dataclasses.dataclass(frozen=True)
class RangeSpec:
    """What is known of a range before anything was observed.

    Args:
        name: its place in the layer, as "output".
        fixed: bounds that need not be observed, as of a softmax.
        margin: added below what was observed.
        symmetric: zero lies in the middle, as some kernels need.
        loops: it is that of every step of a loop.
        table: attribute of the weight whose entries the tensor consists of:
            they are rounded already, and their range is the weight's.
        last: it is what the model gives.
        channels: entries of the last axis, each with bounds of its own; 0
            where they share them.
    """

    name: str
    fixed: tuple[float, float] | None = None
    margin: float = 0.0
    symmetric: bool = False
    loops: bool = False
    table: str = ""
    last: bool = False
    channels: int = 0


@dataclasses.dataclass(frozen=True)
class Observation:
    """How ranges are observed while a model is trained.

    Args:
        observer: a key of `OBSERVERS`.
        momentum: share of the old bounds in the new ones, for each step.
        delay: steps of training before anything is rounded.
        freeze_after: steps of training after which ranges stay; None is
            never.
    """

    observer: str = "ema"
    momentum: float = 0.99
    delay: int = 0
    freeze_after: int | None = None

    @property
    def counts(self) -> bool:
        """Whether steps of training make a difference."""
        return bool(self.delay) or self.freeze_after is not None


@dataclasses.dataclass(frozen=True, eq=False)
class Progress:
    """How far the training of a model has come.

    Args:
        training: whether it goes on.
        begun: a truth: rounding has begun; None without a delay.
        frozen: a truth: ranges stay; None where they never do.
    """

    training: bool
    begun: tf.Tensor | None = None
    frozen: tf.Tensor | None = None

    def rounded(self, rounded, x):
        """What is rounded, or from before rounding begins, what it was."""
        return (
            rounded if self.begun is None else tf.where(self.begun, rounded, x)
        )

    def unless_frozen(self, new, old):
        """A bound that has moved, or one that stays."""
        return new if self.frozen is None else tf.where(self.frozen, old, new)


def extremes(x: tf.Tensor, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The smallest and the largest value.

    Args:
        x: any shape, float32.
        channels: entries of the last axis that have bounds each; 0 is one
            pair for all.
    """
    # Not of a reshaped tensor, which XLA reads once more.
    axes = list(range(x.shape.rank - 1)) if channels else None
    return tf.reduce_min(x, axes), tf.reduce_max(x, axes)


def percentiles(x: tf.Tensor, channels: int, outside: float = 1e-3):
    """Bounds that leave a share of the values outside on either side.

    Args:
        x: any shape, float32. Of many values an even sample is taken.
        channels: as of `extremes`.
        outside: the share.
    """
    values = tf.reshape(x, (-1, channels) if channels else (-1,))
    # Odd, or of rows of 128 steps the same few would be seen.
    stride = tf.bitwise.bitwise_or(1, tf.shape(values)[0] // _SORTED)
    values = tf.sort(values[::stride], 0)
    last = tf.cast(tf.shape(values)[0] - 1, tf.float32)
    return (
        values[tf.cast(tf.round(outside * last), tf.int32)],
        values[tf.cast(tf.round((1 - outside) * last), tf.int32)],
    )


# By name: what is read off a batch, and whether it moves the bounds or only
# ever widens them.
OBSERVERS: dict[str, tuple[Callable, bool]] = {
    "ema": (extremes, True),
    "min_max": (extremes, False),
    "percentile": (percentiles, True),
}


class Range(keras.layers.Layer):
    """Bounds of one tensor, as weights that are not trained.

    Args:
        spec: what is known beforehand.
        observation: how the bounds are found in training.
    """

    def __init__(self, spec: RangeSpec, observation: Observation, **options):
        super().__init__(
            name=spec.name.replace("/", "_"),
            dtype="float32",
            trainable=False,
            **options,
        )
        self.spec = spec
        self.observation = observation
        shape = (spec.channels,) if spec.channels else ()
        self.seen = ()
        if spec.fixed is None:
            self.low = state_variable("low", shape)
            self.high = state_variable("high", shape)
        if spec.fixed is None and spec.loops:
            self.seen = (
                state_variable("seen_low", shape),
                state_variable("seen_high", shape),
            )
        self.built = True

    def apply(self, x: tf.Tensor, progress: Progress) -> tf.Tensor:
        """Rounds, and in training observes first."""
        if progress.training and self.spec.fixed is None:
            seen = self._seen(tf.stop_gradient(tf.cast(x, tf.float32)))
            if self.seen:
                self._collect(*seen)
            else:
                self._move(*seen, progress)
        if progress.training and self.spec.last and self.spec.fixed:
            # A probability that is rounded to 0 has no gradient.
            return x
        return progress.rounded(self.rounded(x), x)

    def rounded(self, x: tf.Tensor) -> tf.Tensor:
        """Rounds to the bounds in force."""
        low, high = self.bounds()
        if self.spec.channels:
            return fake.fake_quantize_channels(x, high)
        return fake.fake_quantize(x, low, high)

    def bounds(self) -> tuple:
        """The bounds in force: numbers or tensors, vectors with channels."""
        if self.spec.fixed is not None:
            return self.spec.fixed
        low = tf.convert_to_tensor(self.low) - self.spec.margin
        high = tf.convert_to_tensor(self.high)
        if self.spec.symmetric:
            high = tf.maximum(-low, high)
            low = -high * (128 / 127)
        return low, high

    def include(self, x: tf.Tensor) -> None:
        """Widens the bounds to what the observer reads off a tensor."""
        low, high = self._seen(tf.cast(x, tf.float32))
        self.low.assign(tf.minimum(self.low, low))
        self.high.assign(tf.maximum(self.high, high))

    def settle(self, progress: Progress) -> None:
        """The end of a loop: what its steps were seen in is one batch."""
        if self.seen and progress.training:
            self._move(*map(tf.convert_to_tensor, self.seen), progress)
            for bound in self.seen:
                bound.assign(tf.zeros_like(bound))

    def _collect(self, low, high) -> None:
        """Steps of a loop differ: their range is that of all of them."""
        for bound, new, wider in zip(
            self.seen, (low, high), (tf.minimum, tf.maximum)
        ):
            new = tf.where(tf.math.is_finite(new), new, bound)
            bound.assign(wider(bound, new))

    def _move(self, low, high, progress: Progress) -> None:
        for bound, new in zip((self.low, self.high), self._merged(low, high)):
            # A batch that diverged, which the optimizer may leave out.
            new = tf.where(tf.math.is_finite(new), new, bound)
            bound.assign(progress.unless_frozen(new, bound))

    def _merged(self, low, high) -> tuple:
        """The bounds after one more batch."""
        _, moves = OBSERVERS[self.observation.observer]
        if not moves:
            return tf.minimum(self.low, low), tf.maximum(self.high, high)
        share = self.observation.momentum
        return (
            share * self.low + (1 - share) * low,
            share * self.high + (1 - share) * high,
        )

    def _seen(self, x) -> tuple:
        """Bounds of a batch that hold zero and leave room for a grid."""
        read, _ = OBSERVERS[self.observation.observer]
        low, high = read(x, self.spec.channels)
        low = tf.minimum(low, 0.0)
        high = tf.maximum(high, 0.0)
        return low, tf.maximum(high, low + fake.SMALLEST_RANGE)


def state_variable(name: str, shape: tuple[int, ...] = ()) -> keras.Variable:
    """Numbers that are saved with a model, and not trained.

    Replicas see different batches; what is read is their mean.
    """
    return keras.Variable(
        "zeros",
        shape=shape,
        dtype="float32",
        trainable=False,
        aggregation="mean",
        synchronization="on_read",
        autocast=False,
        name=name,
    )
