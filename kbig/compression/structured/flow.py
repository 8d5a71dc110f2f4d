"""Records of what runs along the axes of tensors and of weights."""

import dataclasses

import keras
import numpy as np

PRODUCES = "produces"
CONSUMES = "consumes"
FOLLOWS = "follows"


@dataclasses.dataclass(frozen=True)
class Flow:
    """A tensor, as far as removing units is concerned.

    Args:
        shape: with the batch; None where a dimension is free.
        units: along each axis the number of the unit of each entry, or None
            along an axis that stays as it is.
    """

    shape: tuple[int | None, ...]
    units: tuple[np.ndarray | None, ...]

    @classmethod
    def fixed(cls, shape) -> "Flow":
        """A tensor that stays as it is.

        Args:
            shape: with the batch.
        """
        return cls(tuple(shape), (None,) * len(shape))

    def labelled(self) -> tuple[int, ...]:
        """The axes along which units could go."""
        return tuple(i for i, x in enumerate(self.units) if x is not None)


@dataclasses.dataclass
class Weight:
    """A variable, or a product without one, and the units along its axes.

    Args:
        variable: None where only the operations count.
        shape: of the whole.
        axes: the units by axis; None along an axis that stays.
        flops: floating point operations for each number of it.
    """

    variable: keras.Variable | None
    shape: tuple[int, ...]
    axes: dict[int, np.ndarray | None]
    flops: float = 0.0


@dataclasses.dataclass(frozen=True)
class Use:
    """What the entries of a variable have to do with units.

    Args:
        variable: the weight.
        axis: its axis.
        units: along it.
        role: `PRODUCES`, `CONSUMES` or `FOLLOWS`.
        path: of the layer that produces, or consumes.
    """

    variable: keras.Variable
    axis: int
    units: np.ndarray
    role: str
    path: str


@dataclasses.dataclass(frozen=True)
class Source:
    """The units that a layer makes.

    Args:
        path: of the layer.
        layer: it.
        units: their numbers.
    """

    path: str
    layer: keras.Layer
    units: np.ndarray
