"""What a quantized model does when it is called: one class a purpose.

Layers ask the mode in force for their weights and for the range of every
tensor. It is found while a sample runs (`Discovery`), rounded to in training
(`Training`) and written as constants (`Export`). Without a mode, layers
compute in float.
"""

import collections
import contextlib
import contextvars
import dataclasses

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

    def read(self, x) -> None:
        """Tells that a tensor is needed rounded, if it is."""

    def settle(self, layer) -> None:
        """Tells that a loop around a layer has ended."""

    def island(self, layer):
        """A part of a layer that stays in float."""
        return contextlib.nullcontext()

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
        value = tf.convert_to_tensor(read())
        bits = layer.quantization.bits
        rounded = fake.fake_quantize_weight(value, channels, bits)
        return self._progress.rounded(rounded, value)

    def tensor(self, layer, spec: RangeSpec, x):
        found = layer.quantization.ranges.get(spec.name)
        return x if found is None else found.apply(x, self._progress)

    input = output = tensor

    def settle(self, layer) -> None:
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
        found = layer.quantization.ranges.get(spec.name)
        if found is None:
            return x
        if spec.fixed is None:
            found.include(x)
        return fake.fake_quantize(x, *found.bounds())

    input = output = tensor


class Export(Mode):
    """Rounds by constants, from which a converter reads the grids."""

    def rounded_weight(self, layer, name, read, channels):
        with tf.init_scope():
            rounded = fake.fake_quantize_weight(
                read(), channels, layer.quantization.bits
            ).numpy()
        return tf.constant(folding.weight(layer, name, rounded))

    def island(self, layer):
        return tf.name_scope(ISLAND)

    def bias(self, layer, value):
        return folding.bias(layer, value)

    def tensor(self, layer, spec: RangeSpec, x):
        found = layer.quantization.ranges.get(spec.name)
        if found is None:
            return x
        return fake.fake_quantize(x, *_numbers(found.bounds))

    input = output = tensor

    def bounds(self, layer, name: str, x):
        return _numbers(layer.quantization.ranges[name].bounds)


def _numbers(bounds) -> tuple[float, float]:
    with tf.init_scope():
        return tuple(float(bound) for bound in bounds())


@dataclasses.dataclass(eq=False)
class Source:
    """Where a tensor got its range, and who reads it.

    Args:
        layer: that computed it.
        spec: of its range.
        readers: layers, None for one that needs it rounded.
    """

    layer: object
    spec: RangeSpec
    readers: list

    def allows(self, spec: RangeSpec) -> bool:
        """Whether the range does, or can be made to do, for a reader."""
        if not spec.symmetric or self.spec.symmetric:
            return True
        if self.spec.fixed is not None:
            return False
        self.spec = dataclasses.replace(self.spec, symmetric=True)
        return True


class Discovery(Mode):
    """Finds the tensors that need a range, while a sample runs eagerly.

    A tensor is rounded where it is computed, once, whoever reads it; not at
    all when its only reader is folded into the op that computes it.
    """

    def __init__(self):
        super().__init__()
        self.found = {}

    def rounded_weight(self, layer, name, read, channels):
        return tf.convert_to_tensor(read())

    def tensor(self, layer, spec: RangeSpec, x):
        """Gives a tensor a range here, unless it has one already."""
        if not _is_float(x):
            return x
        source = getattr(x, "_kbig_source", None)
        if source is None or not source.allows(spec):
            return self._marked(layer, spec, x, [None])
        source.readers.append(None)
        return x

    def input(self, layer, spec: RangeSpec, x):
        """Like `tensor`; the layer may be folded into what computed it."""
        if not _is_float(x):
            return x
        if self._read(x, layer):
            return x
        return self._marked(layer, spec, x, [None])

    def output(self, layer, spec: RangeSpec, x):
        """Gives a tensor a range of its own, unless its reader is folded."""
        return self._marked(layer, spec, x, []) if _is_float(x) else x

    def read(self, x) -> bool:
        """Tells that a tensor is needed rounded; whether it is."""
        return self._read(x, None) or not _is_float(x)

    def same(self, x, y):
        """Tells that `y` has the range of `x`."""
        source = getattr(x, "_kbig_source", None)
        if source is not None:
            source.readers.append(None)
            y = y if y is x else tf.identity(y)
            y._kbig_source = source
        return y

    def made_by(self, layer, spec: RangeSpec, x):
        marked = tf.identity(x)
        marked._kbig_source = Source(layer, spec, [None])
        return marked

    def bounds(self, layer, name: str, x):
        return tf.reduce_min(x), tf.reduce_max(x)

    def _read(self, x, reader) -> bool:
        source = getattr(x, "_kbig_source", None)
        if source is not None:
            source.readers.append(reader)
        return source is not None

    def _marked(self, layer, spec, x, readers):
        marked = tf.identity(x)
        key = (id(layer), spec.name)
        # A loop comes by again.
        source = self.found.setdefault(key, Source(layer, spec, readers))
        marked._kbig_source = source
        return marked

    def sources(self) -> list["Source"]:
        """The tensors that are rounded."""
        return [x for x in self.found.values() if folded_reader(x) is None]

    def folded(self) -> list[tuple]:
        """Layers that are folded, each after the one it is folded into."""
        pairs = ((x.layer, folded_reader(x)) for x in self.found.values())
        return [pair for pair in pairs if pair[1] is not None]


def folded_reader(source: "Source"):
    """The layer that is folded into the one that computed a tensor."""
    if len(source.readers) != 1 or source.readers[0] is None:
        return None
    (reader,) = source.readers
    return reader if reader.spec.folds(reader, source.layer) else None


def _is_float(x) -> bool:
    return tf.is_tensor(x) and x.dtype.is_floating
