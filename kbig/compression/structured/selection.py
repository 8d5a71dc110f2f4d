"""Which units go: a share of each group, or a budget over the model."""

import dataclasses
import heapq
import math
import numbers
from collections.abc import Collection
from collections.abc import Iterable

import numpy as np

from kbig.compression.structured.ledger import Ledger


@dataclasses.dataclass(frozen=True)
class Group:
    """Layers whose units go together.

    Args:
        paths: of the layers.
        classes: int, the units, each of which may be of several layers.
        pinned: units that stay, these or others.
        multiple: what the number of units that stay should be one of.
    """

    paths: tuple[str, ...]
    classes: tuple[int, ...]
    pinned: Collection[int]
    multiple: int = 1


def count_kept(keep: float | int, total: int) -> int:
    """Tells how many of some units a share is, at least one.

    Args:
        keep: a fraction, or an int for the number itself.
        total: how many there are.

    Returns:
        The nearest number; a half is rounded up.

    Example:
    ```python
    count_kept(0.5, 5)  # 3
    ```
    """
    if isinstance(keep, numbers.Integral):
        return int(keep)
    return max(1, math.floor(keep * total + 0.5))


def select_share(
    group: Group, kept: int, scores: np.ndarray, ledger: Ledger
) -> set[int]:
    """Removes the least important units of a group.

    Args:
        group: it.
        kept: how many units to leave.
        scores: by class.
        ledger: what is removed is removed there too.

    Returns:
        The classes that go; fewer where the others must stay, or a layer
        would be left without any.
    """
    removed: set[int] = set()
    for unit_class in sorted(group.classes, key=lambda x: (scores[x], x)):
        if len(group.classes) - len(removed) <= kept:
            break
        if unit_class not in group.pinned and ledger.can_go(unit_class):
            ledger.remove(unit_class)
            removed.add(unit_class)
    return removed


def select_budget(
    groups: Iterable[Group],
    budget: int,
    kind: str,
    scores: np.ndarray,
    ledger: Ledger,
) -> set[int]:
    """Removes units until a model costs no more than a budget.

    Next goes the unit that loses the least share of what its group still
    holds of importance, for what it saves. Norms and gradients of different
    layers do not compare, but such shares do; and the share of what is left
    grows as a group is emptied, so that no layer is used up while others
    have units to spare.

    Args:
        groups: whose units may go.
        budget: what the model may cost.
        kind: `PARAMETERS` or `FLOPS`.
        scores: by class, none of them negative.
        ledger: what is removed is removed there too.

    Returns:
        The classes that go. Where they all together do not suffice, the
        ledger's total is above the budget.
    """
    groups, removed, total = list(groups), set(), ledger.total(kind)
    left = [scores[list(x.classes)].sum() for x in groups]

    def price(queue: _Queue) -> float:
        score, rest = scores[queue.units[-1]], left[queue.group]
        saving = ledger.saving(queue.units[-1], kind)
        if saving <= 0:
            return math.inf
        return (score / rest if rest > 0 else 0.0) / saving

    queues = _queues(groups, scores, ledger)
    heap = [(price(queue), i) for i, queue in enumerate(queues)]
    heapq.heapify(heap)
    while total > budget and heap:
        _, i = heapq.heappop(heap)
        queue, now = queues[i], price(queues[i])
        # Prices only rise: what was cheapest long ago need not be now.
        if heap and (now, i) > heap[0]:
            heapq.heappush(heap, (now, i))
            continue
        if now == math.inf or not ledger.can_go(queue.units[-1]):
            continue
        unit_class = queue.units.pop()
        total -= ledger.saving(unit_class, kind)
        ledger.remove(unit_class)
        removed.add(unit_class)
        left[queue.group] -= scores[unit_class]
        if queue.units:
            heapq.heappush(heap, (price(queue), i))
    return removed


@dataclasses.dataclass(frozen=True)
class _Queue:
    """Units of a group that save the same, the least important one last."""

    group: int
    units: list[int]


def _queues(groups, scores, ledger) -> list[_Queue]:
    queues: dict[tuple, _Queue] = {}
    for number, group in enumerate(groups):
        free = [x for x in group.classes if x not in group.pinned]
        for unit_class in sorted(free, key=lambda x: (-scores[x], -x)):
            key = number, ledger.places(unit_class)
            queue = queues.setdefault(key, _Queue(number, []))
            queue.units.append(unit_class)
    return list(queues.values())
