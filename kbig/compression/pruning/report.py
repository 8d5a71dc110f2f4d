"""What pruning reached, weight by weight."""

import dataclasses
import gzip
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from keras import ops

from kbig.compression.pruning.plan import Request
from kbig.compression.pruning.targets import Kernel
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
        below_target: names of weights that have fewer zeros than was asked
            for, or other ones than the pattern takes.
    """

    weights: tuple[PrunedWeight, ...]
    left_alone: Mapping[str, str]
    sparsity: Percent
    size: Bytes
    gzip: Bytes
    speed: str
    below_target: tuple[str, ...] = ()

    def tables(self) -> list[Table]:
        """A row a weight, what missed its target, what was left alone."""
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
        if self.below_target:
            tables.append(self._missed())
        if self.left_alone:
            rows = list(self.left_alone.items())
            tables.append(Table("Left alone", ("layer", "because it"), rows))
        return tables

    def _missed(self) -> Table:
        rows = [
            (weight.name, weight.target, weight.sparsity)
            for weight in self.weights
            if weight.name in self.below_target
        ]
        note = (
            "Training stopped before the last weights were removed, or a "
            "callback has put back weights from before, such as "
            "`EarlyStopping` with `restore_best_weights`."
        )
        columns = ("weight", "target", "sparsity")
        return Table("Target not reached", columns, rows, note)


def report_of(
    request: Request,
    kernels: Sequence[Kernel],
    targets: Mapping[int, float],
    left_alone: Mapping[str, str],
) -> PruningReport:
    """Looks at weights as they are now.

    Args:
        request: what was asked for.
        kernels: that were pruned.
        targets: by number of a kernel, its last sparsity.
        left_alone: by layer, why it was not pruned.
    """
    weights = [
        _measured(kernel, str(request.pattern), targets[number])
        for number, kernel in enumerate(kernels)
    ]
    sizes = np.array([np.prod(weight.shape) for weight in weights])
    zeros = np.dot(sizes, [weight.sparsity for weight in weights])
    return PruningReport(
        tuple(weights),
        dict(left_alone),
        Percent(zeros / sizes.sum()),
        Bytes(sum(weight.size for weight in weights)),
        Bytes(sum(weight.gzip for weight in weights)),
        request.pattern.speed,
        tuple(request.missed(kernels, targets)),
    )


def _measured(kernel: Kernel, pattern: str, target: float) -> PrunedWeight:
    value = ops.convert_to_numpy(kernel.variable)
    content = np.ascontiguousarray(value).tobytes()
    return PrunedWeight(
        kernel.name,
        value.shape,
        pattern,
        Percent(target),
        Percent(np.count_nonzero(value == 0) / value.size),
        Bytes(len(content)),
        Bytes(len(gzip.compress(content, mtime=0))),
    )
