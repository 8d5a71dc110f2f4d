"""What a model costs, and what removing a class of units would save."""

import dataclasses
import math
from collections.abc import Iterable

import keras
import numpy as np

from kbig.compression.structured.trace import Trace
from kbig.compression.structured.units import Classes

PARAMETERS = "parameters"
FLOPS = "flops"


@dataclasses.dataclass
class _Product:
    """The size of a weight: what is fixed times the units along each axis."""

    fixed: int
    counts: list[int]
    flops: float
    is_variable: bool

    def cost(self, kind: str, counts) -> float:
        each = self.is_variable if kind == PARAMETERS else self.flops
        return each * self.fixed * math.prod(counts)


class Ledger:
    """Counts parameters and FLOPs while classes of units are removed."""

    def __init__(self, model: keras.Model, trace: Trace, classes: Classes):
        self._products: list[_Product] = []
        # By class: product, which of its counts, and how many of it.
        self._entries: dict[int, list[tuple[int, int, int]]] = {}
        self._class_of = classes.class_of
        labelled = set(trace.weights)
        for record in trace.weights.values():
            self._add(record)
        for variable in model.weights:
            if id(variable) not in labelled:
                size = math.prod(variable.shape)
                self._products.append(_Product(size, [], 0.0, True))
        for source in trace.sources.values():
            # It costs nothing, but must not become empty.
            self._products.append(_Product(0, [], 0.0, False))
            self._label(source.units)

    def total(self, kind: str) -> int:
        """Sums up what is left.

        Args:
            kind: `PARAMETERS` or `FLOPS`.
        """
        return round(sum(x.cost(kind, x.counts) for x in self._products))

    def saving(self, unit_class: int, kind: str) -> float:
        """Tells what removing a class would save now.

        Args:
            unit_class: it is still there.
            kind: `PARAMETERS` or `FLOPS`.
        """
        return sum(
            product.cost(kind, product.counts) - product.cost(kind, counts)
            for product, counts in self._without(unit_class)
        )

    def places(self, unit_class: int) -> tuple:
        """Tells where a class has entries: where alike, savings are alike.

        Args:
            unit_class: any.
        """
        return tuple(self._entries[unit_class])

    def can_go(self, unit_class: int) -> bool:
        """Tells whether every axis of every weight keeps an entry.

        Args:
            unit_class: it is still there.
        """
        return all(min(c) > 0 for _, c in self._without(unit_class))

    def remove(self, unit_class: int) -> None:
        """Takes a class away.

        Args:
            unit_class: it is still there.
        """
        for product, counts in list(self._without(unit_class)):
            product.counts = counts

    def _add(self, record) -> None:
        axes = {i: x for i, x in record.axes.items() if x is not None}
        fixed = math.prod(
            n for i, n in enumerate(record.shape) if i not in axes
        )
        self._products.append(
            _Product(fixed, [], record.flops, record.variable is not None)
        )
        for units in axes.values():
            self._label(units)

    def _label(self, units: np.ndarray) -> None:
        index = len(self._products) - 1
        counts = self._products[index].counts
        present, times = np.unique(self._class_of[units], return_counts=True)
        for unit_class, number in zip(present.tolist(), times.tolist()):
            entry = (index, len(counts), number)
            self._entries.setdefault(unit_class, []).append(entry)
        counts.append(len(units))

    def _without(self, unit_class) -> Iterable[tuple[_Product, list[int]]]:
        left: dict[int, list[int]] = {}
        for index, axis, number in self._entries[unit_class]:
            counts = left.setdefault(index, list(self._products[index].counts))
            counts[axis] -= number
        return [(self._products[i], counts) for i, counts in left.items()]
