"""What the computation of a layer asks for a range with."""

import dataclasses
import functools

import keras

from kbig.compression.quantization.keras_masks import with_mask_of
from kbig.compression.quantization.ranges import RangeSpec


@dataclasses.dataclass(frozen=True, eq=False)
class Quantize:
    """Rounds the tensors of one call of a layer.

    A tensor that has a range already, since the layer before it rounds what
    it gives, is left as it is.

    Args:
        mode: in force.
        layer: that is called.
        prefix: of the names of ranges, when the layer is called once more.
    """

    mode: object
    layer: object
    prefix: str = ""

    def __call__(
        self,
        name: str,
        x,
        *,
        fixed: tuple[float, float] | None = None,
        margin: float = 0.0,
        symmetric: bool = False,
    ):
        """Rounds a tensor within the layer.

        Args:
            name: of its range, unique in the layer.
            x: float, any shape.
            fixed: bounds that need not be observed.
            margin: what is added below the values observed.
            symmetric: zero must lie in the middle of the range.

        Returns:
            A tensor like `x`.
        """
        loops = self.layer.quantization_spec.repeats
        spec = RangeSpec(
            f"{self.prefix}{name}", fixed, margin, symmetric, loops
        )
        return self.mode.tensor(self.layer, spec, x)

    def inputs(self, structure):
        """Rounds what a layer is given, in any structure of tensors."""
        flat = keras.tree.flatten(structure)
        rounded = [self._input(i, x) for i, x in enumerate(flat)]
        return keras.tree.pack_sequence_as(structure, rounded)

    def _input(self, index: int, x):
        spec = RangeSpec(f"{self.prefix}input_{index}")
        return with_mask_of(x, self.mode.input(self.layer, spec, x))

    def output(self, x, *, fixed: tuple[float, float] | None = None):
        """Rounds what a layer gives, unless the layer after it is folded."""
        spec = RangeSpec(f"{self.prefix}output", fixed)
        return self.mode.output(self.layer, spec, x)

    def entries(self, table: str, x):
        """Tells that a tensor consists of entries of a weight."""
        spec = RangeSpec(f"{self.prefix}output", table=table)
        return self.mode.output(self.layer, spec, x)

    def same(self, x, y):
        """Tells that `y`, made of `x`, has its range."""
        return self.mode.same(x, y)

    def by_channel(self, x):
        """Lets each channel of what a layer has just given have its own range.

        It is for tensors of which a few channels are far larger than all
        others. Only an island can read it: outside of one it is rounded once
        more. A tensor that cannot be so is left as it is.
        """
        return with_mask_of(x, self.mode.by_channel(x))

    def in_float(self, x):
        """Tells that `x`, made in an island, is for another island."""
        return with_mask_of(x, self.mode.in_float(x))

    def island_input(self, x):
        """What an island is given: rounded, unless another one gives it."""
        return x if self.mode.is_in_float(x) else self._input(0, x)

    def low(self, name: str, x):
        """The lower bound of a range, for what is to lie below all else."""
        return self.mode.bounds(self.layer, f"{self.prefix}{name}", x)[0]

    def read(self, structure) -> None:
        """Tells that tensors are read as they are rounded already, or not."""
        for x in keras.tree.flatten(structure):
            self.mode.read(x)

    def step(self, name: str, x):
        """The distance of neighbours in a range."""
        low, high = self.mode.bounds(self.layer, f"{self.prefix}{name}", x)
        return (high - low) / 255

    @property
    def islands(self) -> bool:
        """Whether steps that integers hold badly are computed in float."""
        return self.layer.quantization.islands

    def island(self):
        """A part that stays in float: the audit of a file lets it pass."""
        return self.mode.island(self.layer)

    def prepare(self, layer) -> None:
        """Rounds the weights of a layer once, for all steps of a loop."""
        for name, channels in layer.quantization_spec.weights.items():
            read = functools.partial(getattr, layer, name)
            self.mode.prepare(layer, name, read, channels(layer))

    def settle(self, layer) -> None:
        """The end of a loop around a layer."""
        self.mode.settle(layer)

    def made_by(self, layer, name: str, x):
        """Tells that `x` has a range of a layer within this one."""
        return self.mode.made_by(layer, RangeSpec(name), x)

    def released(self, x):
        """A tensor in an island, from which its range is not carried on."""
        return with_mask_of(x, self.mode.released(x))
