"""A model as structured pruning sees it: groups of units, scores, costs."""

import dataclasses
from collections.abc import Collection
from collections.abc import Sequence

import keras
import numpy as np

from kbig.compression.names import check_patterns
from kbig.compression.names import is_meant
from kbig.compression.structured.graph import traced
from kbig.compression.structured.importance import averaged
from kbig.compression.structured.importance import check_finite
from kbig.compression.structured.importance import given
from kbig.compression.structured.importance import magnitudes
from kbig.compression.structured.importance import taylor
from kbig.compression.structured.ledger import Ledger
from kbig.compression.structured.plan import KeptWhole
from kbig.compression.structured.plan import ShrunkGroup
from kbig.compression.structured.plan import Surgery
from kbig.compression.structured.rebuild import Edits
from kbig.compression.structured.selection import Group
from kbig.compression.structured.trace import Trace
from kbig.compression.structured.units import Classes
from kbig.compression.structured.units import connected
from kbig.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model, what its layers' rules told, and which units go together.

    Args:
        model: it.
        trace: of it.
        classes: of its units.
    """

    model: keras.Model
    trace: Trace
    classes: Classes

    @classmethod
    def of(cls, model: keras.Model, free_dimension: int) -> "Subject":
        """Follows the units of a model.

        Args:
            model: Functional or Sequential, built.
            free_dimension: what a free dimension counts as.

        Raises:
            UsageError: it has no graph.
        """
        trace = traced(model, free_dimension)
        return cls(model, trace, trace.units.classes())

    @property
    def paths(self) -> list[str]:
        """The layers that have units."""
        return list(self.trace.sources)

    def ledger(self, removed: Collection[int] = ()) -> Ledger:
        """Counts what the model costs.

        Args:
            removed: classes of units to leave out.
        """
        ledger = Ledger(self.model, self.trace, self.classes)
        for unit_class in removed:
            ledger.remove(unit_class)
        return ledger

    def groups(
        self, layers: str | Sequence[str] | None, multiple: int = 1
    ) -> tuple[list[Group], tuple[KeptWhole, ...]]:
        """Gathers the layers whose units go together.

        Args:
            layers: patterns that all layers of a group must match, or None.
            multiple: what the number of units that stay should be one of.

        Returns:
            Groups of which something can go, and what stays and why.

        Raises:
            UsageError: a pattern matches no layer.
        """
        patterns = [layers] if isinstance(layers, str) else layers
        if patterns is not None:
            check_patterns("layers", patterns, self.paths)
        kept = [KeptWhole(path, x) for path, x in self.trace.kept.items()]
        groups = []
        for group in self._all_groups(multiple):
            reason = self._reason_to_keep(group, patterns)
            if reason:
                kept += [KeptWhole(path, reason) for path in group.paths]
            else:
                groups.append(group)
        return groups, tuple(kept)

    def scores(self, importance, batches, loss, groups) -> np.ndarray:
        """Judges the units.

        Args:
            importance: as of `plan_shrink`.
            batches: likewise.
            loss: likewise.
            groups: each of which needs scores.

        Returns:
            float64 `(classes,)`; NaN where none is needed.

        Raises:
            UsageError: scores are lacking, or cannot be computed, as of
                weights that are not finite.
        """
        if isinstance(importance, str):
            check_finite(self.trace)
        if importance == "taylor":
            return taylor(self.model, self.trace, self.classes, batches, loss)
        if importance == "magnitude":
            by_path = magnitudes(self.trace)
        else:
            by_path = given(self.trace.sources.values(), importance)
        scores = averaged(by_path, self.trace, self.classes)
        for group in groups:
            if np.isnan(scores[list(group.classes)]).any():
                raise UsageError(
                    "`importance` must score every layer that is shrunk, or "
                    "one of those whose units go together. Received: scores "
                    f"of {sorted(by_path)}, none of {', '.join(group.paths)}. "
                    "Add them, or restrict `layers`."
                )
        return scores

    def shrunk(self, group: Group, removed: Collection[int]) -> ShrunkGroup:
        """Reports what happens to a group.

        Args:
            group: it.
            removed: classes that go.
        """
        left = len(set(group.classes) - set(removed))
        kept = tuple(
            tuple(self._kept(self.trace.sources[path].units, removed).tolist())
            for path in group.paths
        )
        return ShrunkGroup(group.paths, len(group.classes), left, kept)

    def surgery(self, model, cut, removed: Collection[int]) -> Surgery:
        """Says how to build the smaller model.

        Args:
            model: as the caller gave it.
            cut: the copy of it that this is about, or None.
            removed: classes that go.
        """
        sizes = {}
        for layer, entries in self.trace.sizes.items():
            labelled = {i: x for i, x in entries.items() if x is not None}
            left = {i: len(self._kept(x, removed)) for i, x in labelled.items()}
            if any(left[i] < len(x) for i, x in labelled.items()):
                sizes[layer] = left
        kept = {
            key: {
                axis: self._kept(units, removed)
                for axis, units in weight.axes.items()
                if units is not None
            }
            for key, weight in self.trace.weights.items()
            if weight.variable is not None
        }
        return Surgery(model, cut, Edits(sizes=sizes), kept)

    def _kept(self, units, removed) -> np.ndarray:
        """Positions of the entries that stay."""
        gone = np.isin(self.classes.class_of[units], list(removed))
        return np.flatnonzero(~gone)

    def _all_groups(self, multiple: int) -> list[Group]:
        sources = list(self.trace.sources.values())
        members = [self.classes.class_of[x.units] for x in sources]
        groups = []
        for group in connected(members):
            units = tuple(
                np.unique(np.concatenate([members[i] for i in group]))
            )
            # Heads are few, and each is many columns wide.
            are_heads = any(
                isinstance(sources[i].layer, keras.layers.MultiHeadAttention)
                for i in group
            )
            is_small = are_heads or len(units) < 2 * multiple
            groups.append(
                Group(
                    tuple(sources[i].path for i in group),
                    units,
                    self.classes.pinned,
                    1 if is_small else multiple,
                )
            )
        return groups

    def _reason_to_keep(self, group: Group, patterns) -> str:
        pinned = self.classes.pinned
        if all(x in pinned for x in group.classes):
            reasons = dict.fromkeys(pinned[x] for x in group.classes)
            return "; ".join(reasons)
        others = [
            path
            for path in group.paths
            if patterns is not None and not is_meant(path, patterns)
        ]
        return f"`layers` leaves out {', '.join(others)}" if others else ""
