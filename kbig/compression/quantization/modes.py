"""What a quantized model does when it is called: one class a purpose.

Layers ask the mode in force for their weights and for the range of every
tensor: it is found while a sample runs (`discovery.Discovery`), rounded to in
training (`Training`) and written as constants (`Export`). Without a mode,
layers compute in float.
"""

import collections
import contextlib
import contextvars

import tensorflow as tf

from kbig.compression.quantization import fake
from kbig.compression.quantization import folding
from kbig.compression.quantization.quantize import Quantize
from kbig.compression.quantization.ranges import Progress
from kbig.compression.quantization.ranges import RangeSpec

# Ops of a file that bear this name may compute in float.
ISLAND = "kbig_float_island"
_CURRENT = contextvars.ContextVar("kbig_quantization_mode", default=None)


def current():
    """The mode in force in this thread, or None."""
    return _CURRENT.get()


@contextlib.contextmanager
def entered(mode):
    """Lets a mode be in force."""
    token = _CURRENT.set(mode)
    try:
        yield mode
    finally:
        _CURRENT.reset(token)


class Mode:
    """One forward pass of a quantized model."""

    def __init__(self):
        self._calls = collections.Counter()
        self._active = []
        self._prepared = {}

    @contextlib.contextmanager
    def calling(self, layer, spec):
        """One call of a layer, within which its weights are rounded."""
        index = self._calls[id(layer)]
        if not spec.repeats:
            self._calls[id(layer)] += 1
        prefix = f"{index}/" if index else ""
        quantize = Quantize(self, layer, prefix)
        self._active.append(quantize)
        try:
            yield quantize
        finally:
            self._active.pop()

    def quantize_of(self, layer):
        """The `Quantize` of a layer while it is called, otherwise None."""
        top = self._active[-1] if self._active else None
        return top if top is not None and top.layer is layer else None

    def weight(self, layer, name: str, read, channels):
        """A weight as the layer's computation sees it."""
        key = (id(layer), name)
        if key in self._prepared:
            return self._prepared[key]
        if self.quantize_of(layer) is None:
            return read()
        return self.rounded_weight(layer, name, read, channels)

    def same(self, x, y):
        """Tells that `y` has the range of `x`."""
        return y

    def made_by(self, layer, spec: RangeSpec, x):
        """Tells that `x` has a range of a layer."""
        return x

    def by_channel(self, x):
        """Tells that each channel of `x` had better have its own range."""
        return x

    def in_float(self, x):
        """Tells that an island gives `x`, to another one."""
        return x

    def is_in_float(self, x) -> bool:
        """Whether `x` comes out of an island, where that is to be told."""
        return False

    def read(self, x) -> None:
        """Tells that a tensor is needed rounded, if it is."""

    def settle(self, layer) -> None:
        """Tells that a loop around a layer has ended."""

    def island(self, layer):
        """A part of a layer that stays in float."""
        return contextlib.nullcontext()

    def released(self, x):
        """A tensor in an island, without its range."""
        return x

    def bias(self, layer, value):
        """A bias as the layer's computation sees it."""
        return value

    def prepare(self, layer, name: str, read, channels) -> None:
        """Rounds a weight once for all calls of a pass, as in a loop."""
        rounded = self.rounded_weight(layer, name, read, channels)
        self._prepared[id(layer), name] = rounded


class Training(Mode):
    """Rounds; in training it observes as well.

    Args:
        progress: of the training.
    """

    def __init__(self, progress: Progress):
        super().__init__()
        self._progress = progress

    def rounded_weight(self, layer, name, read, channels):
        """Reads a weight, and rounds it."""
        value = tf.convert_to_tensor(read())
        bits = layer.quantization.bits
        rounded = fake.fake_quantize_weight(value, channels, bits)
        return self._progress.rounded(rounded, value)

    def tensor(self, layer, spec: RangeSpec, x):
        """Rounds a tensor that has a range."""
        found = layer.quantization.ranges.get(spec.name)
        return x if found is None else found.apply(x, self._progress)

    input = output = tensor

    def settle(self, layer) -> None:
        """Ends a loop around a layer."""
        for found in layer.quantization.ranges.values():
            found.settle(self._progress)

    def bounds(self, layer, name: str, x):
        """The bounds of a tensor's range."""
        return layer.quantization.ranges[name].bounds()


class Calibration(Training):
    """Widens every range to what it sees, then rounds."""

    def __init__(self):
        super().__init__(Progress(training=False))

    def tensor(self, layer, spec: RangeSpec, x):
        """Rounds a tensor that has a range."""
        found = layer.quantization.ranges.get(spec.name)
        if found is None:
            return x
        if spec.fixed is None:
            found.include(x)
        return found.rounded(x)

    input = output = tensor


class Export(Mode):
    """Rounds by constants, from which a converter reads the grids."""

    def rounded_weight(self, layer, name, read, channels):
        """Reads a weight, and rounds it."""
        with tf.init_scope():
            rounded = fake.fake_quantize_weight(
                read(), channels, layer.quantization.bits
            ).numpy()
        return tf.constant(folding.weight(layer, name, rounded))

    def island(self, layer):
        """A part whose operations bear a name in the file."""
        return tf.name_scope(ISLAND)

    def released(self, x):
        """Multiplied by a one that no converter knows beforehand.

        Where what is left in float is a single operation between two ranges,
        it would be computed in integers all the same.
        """
        if not tf.is_tensor(x) or not x.dtype.is_floating:
            return x
        first = tf.reshape(x, [-1])[:1]
        return x * tf.cast(tf.equal(first, first), x.dtype)

    def bias(self, layer, value):
        """A bias with what is folded into it."""
        return folding.bias(layer, value)

    def tensor(self, layer, spec: RangeSpec, x):
        """Rounds a tensor that has a range."""
        if spec.table:
            return fake.fake_quantize(x, *self._bounds_of(layer, spec.table))
        found = layer.quantization.ranges.get(spec.name)
        if found is None:
            return x
        if found.spec.channels:
            x = fake.fake_quantize(x, *fake.UNIT)
            return self._multiplied_out(layer, x)
        return fake.fake_quantize(x, *_numbers(found.bounds))

    def _multiplied_out(self, layer, x):
        """What is computed of a kernel divided by scales of channels."""
        largest = folding.largest_of_channels(layer)
        with self.island(layer):
            return x * tf.constant(largest, x.dtype)

    def _bounds_of(self, layer, table: str) -> tuple[float, float]:
        """The range of a weight, as integers hold it."""
        with tf.init_scope():
            largest = float(tf.reduce_max(tf.abs(getattr(layer, table))))
        return -largest * 128 / 127, largest

    input = output = tensor

    def bounds(self, layer, name: str, x):
        """The bounds of a tensor's range."""
        return _numbers(layer.quantization.ranges[name].bounds)


class FloatExport(Export):
    """The graph of `Export` without its rounding, to compare it with."""

    def rounded_weight(self, layer, name, read, channels):
        """Reads a weight."""
        with tf.init_scope():
            value = tf.convert_to_tensor(read()).numpy()
        return tf.constant(folding.weight(layer, name, value))

    def released(self, x):
        """As it is: no converter makes integers here."""
        return x

    def tensor(self, layer, spec: RangeSpec, x):
        """As it is."""
        found = layer.quantization.ranges.get(spec.name)
        if found is not None and found.spec.channels:
            # Or the converter would join the product with the kernel, and
            # what is compared by its name would be in other units.
            return self._multiplied_out(layer, super().released(x))
        return x

    input = output = tensor


def _numbers(bounds) -> tuple[float, float]:
    with tf.init_scope():
        return tuple(float(bound) for bound in bounds())
