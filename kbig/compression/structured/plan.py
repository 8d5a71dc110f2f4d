"""What will be removed from a model: a report that can be carried out."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from kbig.compression.structured.rebuild import Copy
from kbig.compression.structured.rebuild import Edits
from kbig.compression.structured.rebuild import edited
from kbig.reporting import Percent
from kbig.reporting import Table
from kbig.reporting.report import Report
from kbig.reporting.report import plain


@dataclasses.dataclass(frozen=True)
class ShrunkGroup:
    """Layers whose units go together.

    Args:
        layers: their paths.
        units: of the group, each of which may be of several layers.
        units_after: how many stay.
        kept: for each of the layers the units that stay, by position.
    """

    layers: tuple[str, ...]
    units: int
    units_after: int
    kept: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class KeptWhole:
    """A layer that stays as it is, or the part of it that does.

    Args:
        layer: its path.
        reason: why.
    """

    layer: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Surgery:
    """How to carry a plan out.

    Args:
        model: as it was given.
        cut: a copy of it with fewer encoder layers, or None.
        edits: of the sizes of its layers.
        kept: by the id of a weight and by axis, the entries that stay.
    """

    model: keras.Model
    cut: Copy | None
    edits: Edits
    kept: Mapping[int, Mapping[int, np.ndarray]]

    def value_of(self, variable: keras.Variable) -> np.ndarray:
        """Gives what is left of a weight.

        Args:
            variable: of the model, or of the copy that has been cut.
        """
        value = np.asarray(variable)
        for axis, entries in self.kept.get(id(variable), {}).items():
            value = np.take(value, entries, axis)
        return value


@dataclasses.dataclass(frozen=True)
class ShrinkPlan(Report):
    """What `plan_shrink` found can be removed, and what it chose.

    Args:
        importance: how units were judged.
        parameters: of the model.
        parameters_after: of the smaller one.
        flops: floating point operations of the matrix products and
            convolutions for one example; a multiplication and an addition are
            two. Layers that no rule is known for are not counted.
        flops_after: of the smaller one.
        encoder_layers: names of the encoder layers that stay, as of the
            model; empty if all do.
        groups: what can be shrunk.
        kept_whole: what cannot, and why.
        notes: what the smaller model needs to be loaded, and what it is no
            more.
    """

    importance: str
    parameters: int
    parameters_after: int
    flops: int
    flops_after: int
    encoder_layers: tuple[str, ...]
    groups: tuple[ShrunkGroup, ...]
    kept_whole: tuple[KeptWhole, ...]
    notes: tuple[str, ...]
    _surgery: Surgery = dataclasses.field(repr=False, compare=False)

    def apply(self) -> keras.Model:
        """Builds the smaller model, with the weights as they are now.

        Returns:
            A new model that is not compiled; the model of the plan stays as
            it is.
        """
        surgery = self._surgery
        if surgery.cut is not None:
            surgery.cut.assign()
        source = surgery.cut.model if surgery.cut else surgery.model
        smaller = edited(source, surgery.edits)
        smaller.assign(surgery.value_of)
        return smaller.model

    def tables(self) -> list[Table]:
        """Returns the totals, the groups, and what is kept whole."""
        tables = [self._totals()]
        if self.groups:
            rows = [
                (", ".join(x.layers), x.units, x.units_after)
                for x in self.groups
            ]
            columns = ("layers", "units", "after")
            tables.append(Table("Units that go together", columns, rows))
        if self.kept_whole:
            rows = [(x.layer, x.reason) for x in self.kept_whole]
            tables.append(Table("Kept whole", ("layer", "reason"), rows))
        return tables

    def to_dict(self) -> dict:
        """Returns the fields as plain values, ready for JSON."""
        names = [x.name for x in dataclasses.fields(self)]
        return plain(
            {x: getattr(self, x) for x in names if not x.startswith("_")}
        )

    def _totals(self) -> Table:
        pairs = {
            "parameters": (self.parameters, self.parameters_after),
            "FLOPs": (self.flops, self.flops_after),
        }
        rows = [
            (name, old, new, Percent(new / old if old else 1.0))
            for name, (old, new) in pairs.items()
        ]
        note = f"importance: {self.importance}"
        if self.encoder_layers:
            note += f"; encoder layers: {', '.join(self.encoder_layers)}"
        note = " ".join((f"{note}.", *self.notes)) if self.notes else note
        columns = ("of the model", "before", "after", "left")
        return Table("Shrink plan", columns, rows, note)
