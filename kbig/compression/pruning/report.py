"""What pruning reached, weight by weight."""

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np

from kbig.reporting import Bytes
from kbig.reporting import Percent
from kbig.reporting import Table
from kbig.reporting.report import Report


@dataclasses.dataclass(frozen=True)
class PrunedWeight:
    """One weight that was pruned.

    Args:
        name: its path.
        shape: its shape.
        pattern: in which its zeros lie.
        target: the sparsity that was asked for.
        sparsity: the share of it that is zero.
        size: bytes of its numbers.
        gzip: bytes of them, compressed.
    """

    name: str
    shape: tuple[int, ...]
    pattern: str
    target: Percent
    sparsity: Percent
    size: Bytes
    gzip: Bytes


@dataclasses.dataclass(frozen=True)
class PruningReport(Report):
    """What `Pruner` did.

    Args:
        weights: those that were pruned.
        left_alone: by layer, why it was not.
        sparsity: the share of zeros in all that was pruned.
        size: bytes of their numbers.
        gzip: bytes of them, compressed.
        speed: what the pattern does for speed.
    """

    weights: tuple[PrunedWeight, ...]
    left_alone: Mapping[str, str]
    sparsity: Percent
    size: Bytes
    gzip: Bytes
    speed: str

    def tables(self) -> list[Table]:
        """A row a weight, and what was left alone."""
        columns = (
            "weight",
            "shape",
            "pattern",
            "target",
            "sparsity",
            "size",
            "gzip",
        )
        rows = [
            (
                weight.name,
                " x ".join(map(str, weight.shape)),
                *dataclasses.astuple(weight)[2:],
            )
            for weight in self.weights
        ]
        rows.append(
            ("all of them", "", "", "", self.sparsity, self.size, self.gzip)
        )
        tables = [Table("Pruning", columns, rows, self.speed)]
        if self.left_alone:
            rows = list(self.left_alone.items())
            tables.append(Table("Left alone", ("layer", "because it"), rows))
        return tables


def measured(
    name: str, value: np.ndarray, pattern: str, target: float
) -> PrunedWeight:
    """Looks at a weight.

    Args:
        name: its path.
        value: its numbers.
        pattern: in which it was pruned.
        target: the sparsity that was asked for.
    """
    content = np.ascontiguousarray(value).tobytes()
    return PrunedWeight(
        name,
        value.shape,
        pattern,
        Percent(target),
        Percent(np.count_nonzero(value == 0) / value.size),
        Bytes(len(content)),
        Bytes(len(zlib.compress(content))),
    )


def report_of(weights, left_alone, speed: str) -> PruningReport:
    """Sums up.

    Args:
        weights: of `measured`.
        left_alone: by layer, why it was not pruned.
        speed: what the pattern does for speed.
    """
    sizes = np.array([np.prod(weight.shape) for weight in weights])
    zeros = np.dot(sizes, [weight.sparsity for weight in weights])
    return PruningReport(
        tuple(weights),
        dict(left_alone),
        Percent(zeros / sizes.sum()),
        Bytes(sum(weight.size for weight in weights)),
        Bytes(sum(weight.gzip for weight in weights)),
        speed,
    )
