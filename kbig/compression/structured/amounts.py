"""How much to remove: a share of each group, or a budget for the model."""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.compression.names import check_patterns
from kbig.compression.structured.keep import check_keep
from kbig.compression.structured.keep import keep_of
from kbig.compression.structured.ledger import FLOPS
from kbig.compression.structured.ledger import PARAMETERS
from kbig.compression.structured.multiples import nearest
from kbig.compression.structured.multiples import to_multiples
from kbig.compression.structured.selection import Group
from kbig.compression.structured.selection import count_kept
from kbig.compression.structured.selection import select_budget
from kbig.compression.structured.selection import select_share
from kbig.compression.structured.subject import Subject
from kbig.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Share:
    """A part of the units of each group.

    Args:
        keep: as of `plan_shrink`.
    """

    keep: float | Mapping[str, float | int]

    def removed(
        self,
        original: Subject,
        subject: Subject,
        groups: Sequence[Group],
        scores: np.ndarray,
    ) -> set[int]:
        """Chooses the units that go.

        Args:
            original: the model as it was given.
            subject: the model, without the encoder layers that go.
            groups: whose units may go.
            scores: by class.

        Raises:
            UsageError: a pattern matches nothing, values contradict each
                other, or there are not as many units.
        """
        if isinstance(self.keep, Mapping):
            check_patterns("keep", self.keep, subject.paths)
        counts = [self._count(group) for group in groups]
        ledger, removed = subject.ledger(), set()
        for group, count in zip(groups, counts):
            removed |= select_share(group, count, scores, ledger)
        return removed

    def _count(self, group: Group) -> int:
        keep, total = keep_of(self.keep, group.paths), len(group.classes)
        count = count_kept(keep, total)
        if count > total:
            raise UsageError(
                f"{', '.join(group.paths)} cannot keep more units than there "
                f"are. Received: keep={count} of {total}. Pass {total} or "
                "fewer."
            )
        return nearest(count, group)


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the smaller model may cost.

    Args:
        kind: `PARAMETERS` or `FLOPS`.
        value: a fraction of what the model costs, or an int.
    """

    kind: str
    value: float | int

    def removed(
        self,
        original: Subject,
        subject: Subject,
        groups: Sequence[Group],
        scores: np.ndarray,
    ) -> set[int]:
        """Chooses the units that go.

        Args:
            original: the model as it was given.
            subject: the model, without the encoder layers that go.
            groups: whose units may go.
            scores: by class.

        Raises:
            UsageError: the budget is no fraction and no number below what
                the model costs, or smaller than can be reached.
        """
        limit, ledger = self._limit(original), subject.ledger()
        removed = select_budget(groups, limit, self.kind, scores, ledger)
        fewest = "one unit"
        if any(group.multiple > 1 for group in groups):
            removed = to_multiples(
                groups, removed, limit, self.kind, scores, subject.ledger
            )
            ledger, fewest = subject.ledger(removed), "the least multiple"
        smallest = ledger.total(self.kind)
        if smallest > limit:
            raise UsageError(
                f"`{self.kind}` is smaller than can be reached: with {fewest} "
                f"left in each layer the model has {smallest}. Received: "
                f"{self.kind}={self.value!r}, which is {limit}. Pass "
                f"{self.kind}={smallest} or more."
            )
        return removed

    def _limit(self, original: Subject) -> int:
        total, value = original.ledger().total(self.kind), self.value
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            is_count = isinstance(value, numbers.Integral)
            if is_count and 1 <= value <= total:
                return int(value)
            if not is_count and 0 < value <= 1:
                return math.floor(value * total)
        raise UsageError(
            f"`{self.kind}` must be a fraction in (0, 1], or an int from 1 to "
            f"what the model has, {total}. Received: {self.kind}={value!r}. "
            "Pass 0.5 for half."
        )


def amount_of(
    keep: float | Mapping[str, float | int] | None,
    parameters: float | int | None,
    flops: float | int | None,
) -> Share | Budget:
    """Tells how much is to be removed.

    Args:
        keep: as of `plan_shrink`.
        parameters: likewise.
        flops: likewise.

    Raises:
        UsageError: not exactly one of them is given, or `keep` is out of its
            range.
    """
    given = {"keep": keep, PARAMETERS: parameters, FLOPS: flops}
    given = {name: x for name, x in given.items() if x is not None}
    if len(given) != 1:
        raise UsageError(
            "Exactly one of `keep`, `parameters` and `flops` must say how "
            f"much to leave. Received: {given or 'none of them'}. Pass "
            "keep=0.5 for half of each layer, flops=0.5 for half of the cost."
        )
    ((name, value),) = given.items()
    if name != "keep":
        return Budget(name, value)
    check_keep(keep)
    return Share(keep)
