"""Numbers of units that kernels of convolutions and products work well with."""

import math
from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from kbig.compression.structured.ledger import Ledger
from kbig.compression.structured.selection import Group
from kbig.compression.structured.selection import select_share


def nearest(count: int, group: Group) -> int:
    """The nearest multiple to a number of units, never none.

    Args:
        count: how many shall stay.
        group: of its `multiple`.

    Returns:
        How many stay: a multiple, or all.

    Example:
    ```python
    nearest(22, Group(("conv",), tuple(range(32)), {}, multiple=8))  # 24
    ```
    """
    size = group.multiple
    rounded = max(size, size * math.floor(count / size + 0.5))
    return min(rounded, len(group.classes))


def to_multiples(
    groups: Sequence[Group],
    removed: set[int],
    budget: int,
    kind: str,
    scores: np.ndarray,
    ledger: Callable[[], Ledger],
) -> set[int]:
    """Leaves each group a multiple of units, within a budget.

    All are rounded down at first. What that saves buys units back, as many as
    make a multiple: first where they are the largest share of the importance
    of their group for what they cost.

    Args:
        groups: whose units may go.
        removed: classes that go without rounding.
        budget: what the model may cost.
        kind: `PARAMETERS` or `FLOPS`.
        scores: by class.
        ledger: makes a new one, from which nothing is removed.

    Returns:
        The classes that go.
    """

    def cost(counts) -> tuple[int, set[int], Ledger]:
        book, gone = ledger(), set()
        for group, count in zip(groups, counts):
            gone |= select_share(group, count, scores, book)
        return book.total(kind), gone, book

    counts = [_down(group, removed) for group in groups]
    _, gone, book = cost(counts)
    values = [
        _value(group, gone, kind, scores, book) if group.multiple > 1 else 0.0
        for group in groups
    ]
    order = [i for i in np.argsort(values)[::-1] if groups[i].multiple > 1]
    bought = True
    while bought:
        bought = False
        for i in order:
            more = list(counts)
            size = groups[i].multiple
            more[i] = min(counts[i] + size, len(groups[i].classes))
            if more[i] > counts[i] and cost(more)[0] <= budget:
                counts, bought = more, True
    return cost(counts)[1]


def _down(group: Group, removed: set[int]) -> int:
    total = len(group.classes)
    count = total - len(removed & set(group.classes))
    if count == total:
        return total
    return max(
        min(group.multiple, total), count // group.multiple * group.multiple
    )


def _value(group, gone, kind, scores, book) -> float:
    """What the best units that went are worth for what they cost."""
    inside = [x for x in group.classes if x not in gone]
    outside = sorted((x for x in group.classes if x in gone), key=scores.item)
    back = outside[-group.multiple :]
    saving = book.saving(inside[0], kind) * len(back)
    whole = scores[inside].sum() or 1.0
    return scores[back].sum() / whole / saving if saving > 0 else 0.0
