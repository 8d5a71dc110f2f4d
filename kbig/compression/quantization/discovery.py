"""Which tensors need a range: found while a sample runs eagerly."""

import dataclasses

import tensorflow as tf

from kbig.compression.quantization import activations
from kbig.compression.quantization.modes import Mode
from kbig.compression.quantization.ranges import RangeSpec

# Readers that are no layers: one that gives the values on, and an island that
# would have every channel on its own grid.
PASSED_ON, BY_CHANNEL = object(), object()
NO_LAYERS = (None, PASSED_ON, BY_CHANNEL)


@dataclasses.dataclass(eq=False)
class Source:
    """Where a tensor got its range, and who reads it.

    Args:
        layer: that computed it.
        spec: of its range.
        readers: layers, None for one that needs it rounded, `PASSED_ON` or
            `BY_CHANNEL`.
        channels: entries of its last axis.
    """

    layer: object
    spec: RangeSpec
    readers: list
    channels: int = 0

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
        """Reads a weight, and rounds it."""
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

    def last(self, x) -> bool:
        """Tells that the model gives a tensor; whether it has a range."""
        source = getattr(x, "_kbig_source", None)
        if source is not None:
            source.spec = dataclasses.replace(source.spec, last=True)
        return self.read(x)

    def read(self, x) -> bool:
        """Tells that a tensor is needed rounded; whether it is."""
        return self._read(x, None) or not _is_float(x)

    def same(self, x, y):
        """Tells that `y` has the range of `x`."""
        source = getattr(x, "_kbig_source", None)
        if source is not None:
            if self._active and source.readers[-1:] == [self._active[-1].layer]:
                source.readers.pop()
            source.readers.append(PASSED_ON)
            y = y if y is x else tf.identity(y)
            y._kbig_source = source
        return self.in_float(y) if self.is_in_float(x) else y

    def made_by(self, layer, spec: RangeSpec, x):
        """Gives a tensor the range of a layer within this one."""
        marked = tf.identity(x)
        marked._kbig_source = Source(layer, spec, [None])
        return marked

    def by_channel(self, x):
        """Tells that an island reads a tensor, a grid for each channel."""
        source = getattr(x, "_kbig_source", None)
        if source is None:
            return x
        source.readers.append(BY_CHANNEL)
        return self.in_float(x)

    def in_float(self, x):
        """Tells that an island gives a tensor, to another one."""
        marked = tf.identity(x)
        marked._kbig_float = True
        return marked

    def is_in_float(self, x) -> bool:
        """Whether a tensor comes out of an island as it is."""
        return getattr(x, "_kbig_float", False)

    def bounds(self, layer, name: str, x):
        """The bounds of a tensor's range."""
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
        channels = x.shape[-1] if x.shape.rank else 0
        source = self.found.setdefault(
            key, Source(layer, spec, readers, channels)
        )
        marked._kbig_source = source
        return marked

    def sources(self) -> list["Source"]:
        """The tensors that are rounded."""
        return [x for x in self.found.values() if self._folded(x) is None]

    def spec_of(self, source: "Source") -> RangeSpec:
        """The range of a tensor: of channels, if only islands read it so.

        Its layer's kernel is then divided by their scales, which calls with
        others must not share.
        """
        layer = source.layer
        by_channel = (
            BY_CHANNEL in source.readers
            and all(x in (PASSED_ON, BY_CHANNEL) for x in source.readers)
            and bool(layer.quantization_spec.normalized)
            and activations.is_linear(layer)
            and self._calls[id(layer)] <= 1
        )
        if not by_channel:
            return source.spec
        return dataclasses.replace(
            source.spec, symmetric=True, channels=source.channels
        )

    def folded(self) -> list[tuple]:
        """Layers that are folded, each after the one it is folded into."""
        pairs = ((x.layer, self._folded(x)) for x in self.found.values())
        return [pair for pair in pairs if pair[1] is not None]

    def _folded(self, source: "Source"):
        """The layer that is folded into the one that computed a tensor."""
        reader = folded_reader(source)
        once = [self._calls[id(x)] <= 1 for x in (source.layer, reader)]
        return reader if all(once) else None


def folded_reader(source: "Source"):
    """The layer that could be folded into the one that computed a tensor."""
    if len(source.readers) != 1 or source.readers[0] in NO_LAYERS:
        return None
    (reader,) = source.readers
    return (
        reader if reader.quantization_spec.folds(reader, source.layer) else None
    )


def _is_float(x) -> bool:
    return tf.is_tensor(x) and x.dtype.is_floating
