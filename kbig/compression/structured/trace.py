"""What flows along the axes of a model's tensors, and into which weights."""

import dataclasses
import math
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kbig.compression.structured.flow import CONSUMES
from kbig.compression.structured.flow import FOLLOWS
from kbig.compression.structured.flow import PRODUCES
from kbig.compression.structured.flow import Flow
from kbig.compression.structured.flow import Source
from kbig.compression.structured.flow import Use
from kbig.compression.structured.flow import Weight
from kbig.compression.structured.units import UnitTable


class Trace:
    """Collects what the rules tell about each call of each layer."""

    def __init__(self, free_dimension: int):
        self.free_dimension = free_dimension
        self.units = UnitTable()
        self.weights: dict[int, Weight] = {}
        self.uses: list[Use] = []
        self.sources: dict[str, Source] = {}
        # By layer, entries of its configuration that count units.
        self.sizes: dict[int, dict[tuple, np.ndarray]] = {}
        self.kept: dict[str, str] = {}

    def positions(self, shape) -> int:
        """Multiplies dimensions, free ones at the size they count as.

        Args:
            shape: any part of a shape without the batch.
        """
        return math.prod(x or self.free_dimension for x in shape)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer or an operation, as the rules see it.

    Args:
        trace: where to write.
        layer: a layer, or an operation of `keras.ops`.
        path: its name, after those of the models and layers that hold it.
        args: of the call, tensors as `Flow`.
        kwargs: likewise.
        shapes: of the outputs.
        owner: the layer whose configuration holds that of `layer`.
        prefix: where in there.
        repeats: how often the layer runs in one call of its owner.
    """

    trace: Trace
    layer: Any
    path: str
    args: tuple
    kwargs: Mapping
    shapes: tuple
    owner: Any
    prefix: tuple = ()
    repeats: int = 1

    @property
    def flows(self) -> list[Flow]:
        """All tensors that are given to the call, flat."""
        leaves = keras.tree.flatten((self.args, dict(self.kwargs)))
        return [x for x in leaves if isinstance(x, Flow)]

    @property
    def flow(self) -> Flow:
        """The tensor that the call is about; what it gets beside stays."""
        first, *others = self.flows
        for other in others:
            self.pin_axes(other, f"given to {self.path} beside its input")
        return first

    def produce(self, count: int, layer=None) -> np.ndarray:
        """Numbers the units that the layer makes, the same in each call.

        Args:
            count: how many.
            layer: the part of the layer that makes them.
        """
        path = f"{self.path}/{layer.name}" if layer is not None else self.path
        sources = self.trace.sources
        if path not in sources:
            units = self.trace.units.new(count)
            sources[path] = Source(path, layer or self.layer, units)
        return sources[path].units

    def fixed(self, count: int) -> np.ndarray:
        """Numbers entries that stay, beside others that need not.

        Args:
            count: how many.
        """
        units = self.trace.units.new(count)
        self.pin(units, f"{self.path} reads what is never removed")
        return units

    def pin(self, units: np.ndarray | None, reason: str) -> None:
        """Keeps units.

        Args:
            units: their numbers; None is none.
            reason: for the report.
        """
        if units is not None:
            self.trace.units.pin(units, reason)

    def pin_axes(self, flow: Flow, reason: str, but=()) -> None:
        """Keeps the units along the axes of a tensor.

        Args:
            flow: the tensor.
            reason: for the report.
            but: axes along which they may go, as not negative numbers.
        """
        for axis in flow.labelled():
            if axis not in but:
                self.pin(flow.units[axis], reason)

    def tie(self, first, second, reason: str) -> np.ndarray | None:
        """Lets entries of two axes go together; what stays keeps the other.

        Args:
            first: units along one axis, or None.
            second: units along the other, or None.
            reason: why it is kept, for the report.
        """
        if first is None or second is None or len(first) != len(second):
            self.pin(first, reason)
            self.pin(second, reason)
            return None
        self.trace.units.tie(first, second)
        return first

    def weight(
        self,
        variable,
        *,
        produces=None,
        consumes=None,
        follows=None,
        positions: float = 0,
        part=None,
    ) -> None:
        """Tells which units are along the axes of a variable.

        Args:
            variable: None is passed over.
            produces: by axis, the units that it makes.
            consumes: by axis, the units that it reads; None along an axis
                that stays.
            follows: by axis, units that are changed one by one.
            positions: how often an input is multiplied by each number.
            part: the part of the layer that holds it.
        """
        if variable is None:
            return
        path = f"{self.path}/{part.name}" if part is not None else self.path
        weights = self.trace.weights
        record = weights.setdefault(
            id(variable), Weight(variable, tuple(variable.shape), {})
        )
        record.flops += 2.0 * positions * self.repeats
        roles = (PRODUCES, produces), (CONSUMES, consumes), (FOLLOWS, follows)
        for role, axes in roles:
            for axis, units in (axes or {}).items():
                axis %= len(variable.shape)
                if axis in record.axes:
                    reason = f"{self.path} is shared with what must stay"
                    self.tie(record.axes[axis], units, reason)
                    continue
                record.axes[axis] = units
                if units is not None:
                    use = Use(variable, axis, units, role, path)
                    self.trace.uses.append(use)

    def operations(self, units: np.ndarray, flops: float) -> None:
        """Counts operations that no weight stands for.

        Args:
            units: each costs as much.
            flops: floating point operations a unit.
        """
        flops *= self.repeats
        record = Weight(None, (len(units),), {0: units}, flops)
        self.trace.weights[-1 - len(self.trace.weights)] = record

    def size(self, entry: tuple, units: np.ndarray) -> None:
        """Tells that an entry of the configuration counts units.

        Args:
            entry: keys and positions that lead to it.
            units: what it counts.
        """
        sizes = self.trace.sizes.setdefault(id(self.owner), {})
        sizes[self.prefix + entry] = units

    def whole(self, reason: str) -> list[Flow]:
        """Keeps what the call reads, and takes what it makes for fixed.

        Args:
            reason: for the report.

        Returns:
            The outputs.
        """
        for flow in self.flows:
            self.pin_axes(flow, f"read by {self.path}, {reason}")
        weights = getattr(self.layer, "weights", ())
        for variable in weights:
            # It may be another layer's, as an embedding that is tied.
            axes = range(len(variable.shape))
            self.weight(variable, consumes=dict.fromkeys(axes))
        if weights or any(flow.labelled() for flow in self.flows):
            self.trace.kept.setdefault(self.path, reason)
        return [Flow.fixed(shape) for shape in self.shapes]

    def part(
        self, layer, flows, shapes, prefix: tuple, repeats: int = 1
    ) -> "Call":
        """The call of a layer inside this one.

        Args:
            layer: the inner layer.
            flows: what it is given.
            shapes: of its outputs.
            prefix: where its configuration is in that of this layer.
            repeats: how often it runs.
        """
        return dataclasses.replace(
            self,
            layer=layer,
            path=f"{self.path}/{layer.name}",
            args=tuple(flows),
            kwargs={},
            shapes=tuple(shapes),
            prefix=self.prefix + prefix,
            repeats=self.repeats * repeats,
        )


Rule = Callable[[Call], "list[Flow]"]
