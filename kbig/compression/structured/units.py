"""Units: what is removed or kept as one, wherever it shows up."""

import dataclasses
from collections.abc import Sequence

import numpy as np


class UnitTable:
    """Numbers for the units of every layer, and which must go together.

    A layer that makes channels asks for numbers, one a channel. Wherever the
    channels turn up, along an axis of a tensor or of a weight, an array says
    which number each entry has: after `Flatten` a number shows up many times,
    after `Concatenate` the numbers of several layers stand side by side. An
    addition ties numbers: both go, or neither.
    """

    def __init__(self):
        self._parents: list[int] = []
        self._pins: list[tuple[int, str]] = []

    def new(self, count: int) -> np.ndarray:
        """Makes numbers that nothing ties.

        Args:
            count: how many.

        Returns:
            int64 `(count,)`.
        """
        start = len(self._parents)
        self._parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Makes units go together, entry by entry.

        Args:
            first: numbers, of any shape.
            second: as many.
        """
        pairs = np.stack([np.ravel(first), np.ravel(second)], axis=1)
        for left, right in np.unique(pairs, axis=0).tolist():
            self._parents[self._root(left)] = self._root(right)

    def pin(self, units: np.ndarray, reason: str) -> None:
        """Keeps units whatever happens.

        Args:
            units: numbers, of any shape.
            reason: for the report.
        """
        self._pins += [(x, reason) for x in np.unique(units).tolist()]

    def classes(self) -> "Classes":
        """Gathers what is tied, once nothing more will be.

        Returns:
            The classes of all numbers made so far.
        """
        roots = [self._root(x) for x in range(len(self._parents))]
        _, class_of = np.unique(np.array(roots, int), return_inverse=True)
        reasons: dict[int, str] = {}
        for unit, reason in self._pins:
            reasons.setdefault(int(class_of[unit]), reason)
        return Classes(class_of, reasons)

    def _root(self, unit: int) -> int:
        parents = self._parents
        while parents[unit] != unit:
            parents[unit] = unit = parents[parents[unit]]
        return unit


@dataclasses.dataclass(frozen=True)
class Classes:
    """Units that go together, as one class each.

    Args:
        class_of: int `(numbers,)`; the class of each number.
        pinned: why a class stays, by class.
    """

    class_of: np.ndarray
    pinned: dict[int, str]

    def count(self) -> int:
        """Tells how many classes there are."""
        return int(self.class_of.max(initial=-1)) + 1


def connected(sets: Sequence[np.ndarray]) -> list[list[int]]:
    """Groups arrays that share a number, directly or through others.

    Args:
        sets: arrays of numbers.

    Returns:
        Positions in `sets`, a list a group, in order.

    Example:
    ```python
    connected([np.array([0, 1]), np.array([2]), np.array([1, 3])])
    # [[0, 2], [1]]
    ```
    """
    table, owner = UnitTable(), {}
    positions = table.new(len(sets))
    for position, numbers in enumerate(sets):
        first = {owner.setdefault(x, position) for x in np.unique(numbers)}
        for other in first - {position}:
            table.tie(positions[other], positions[position])
    groups: dict[int, list[int]] = {}
    for position, group in enumerate(table.classes().class_of.tolist()):
        groups.setdefault(group, []).append(position)
    return sorted(groups.values())
