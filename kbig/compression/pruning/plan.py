"""Which kernels of a model are pruned, by which schedules."""

import dataclasses
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np

from kbig.compression.names import check_patterns
from kbig.compression.names import is_meant
from kbig.compression.names import several
from kbig.compression.pruning import patterns
from kbig.compression.pruning import schedules
from kbig.compression.pruning import targets
from kbig.compression.pruning.masks import global_masks
from kbig.errors import UsageError

Sparsity = float | Callable


@dataclasses.dataclass(frozen=True)
class Request:
    """What the caller of `Pruner` asks for, checked.

    Args:
        sparsity: by name pattern; a number or a schedule.
        pattern: in which weights are removed.
        is_global: whether all kernels are ranked together.
        names: the argument that has the name patterns; None takes all.
        embeddings: whether embeddings are pruned, too.
    """

    sparsity: Mapping[str, Sparsity]
    pattern: patterns.Pattern
    is_global: bool
    names: str | None
    embeddings: bool

    @property
    def is_plain(self) -> bool:
        """Whether each weight goes or stays by itself."""
        return str(self.pattern) == "unstructured"

    def choose(self, model: keras.Model) -> tuple[list, list, dict]:
        """Finds the kernels of a model.

        Returns:
            Kernels, the number or schedule of each, and by name why others
            are left alone.

        Raises:
            UsageError: there are none, a pattern means none, or one that is
                named cannot hold the pattern.
        """
        kernels, left_alone = targets.find(model, self.embeddings)
        if self.names is None:
            left_alone |= self._obstacles(kernels)
            kernels = [k for k in kernels if k.name not in left_alone]
        if not kernels:
            reasons = "; ".join(f"{k}: {v}" for k, v in left_alone.items())
            raise UsageError(
                "The model has no weights that can be pruned. Received: model="
                f"{model.name!r}{', where ' if reasons else ''}{reasons}. Pass "
                "one with trainable Dense, convolutional or recurrent layers."
            )
        if self.names is not None:
            layers = [k.layer for k in kernels]
            check_patterns(self.names, tuple(self.sparsity), layers)
        named = [k for k in kernels if is_meant(k.layer, self.sparsity)]
        self._check_holds(named)
        left_alone |= {
            kernel.name: "was not named"
            for kernel in kernels
            if kernel not in named
        }
        return named, [self._sparsity_of(k) for k in named], left_alone

    def masks(
        self,
        kernels: Sequence[targets.Kernel],
        scores: Mapping[int, np.ndarray],
        sparsities: Mapping[int, float],
    ) -> dict[int, np.ndarray]:
        """Which weights stay.

        Args:
            kernels: all.
            scores: by number of a kernel, shaped as its weight.
            sparsities: likewise.

        Returns:
            A bool mask for each kernel that has a sparsity.
        """
        if self.is_global:
            sparsity = next(iter(sparsities.values()))
            found = global_masks(list(scores.values()), sparsity)
            return dict(zip(scores, found))
        found = {}
        for number, sparsity in sparsities.items():
            kernel = kernels[number]
            matrix = kernel.to_matrix(scores[number])
            mask = self.pattern.mask(matrix, sparsity, kernel.run)
            found[number] = kernel.from_matrix(mask)
        return found

    def missed(
        self,
        kernels: Sequence[targets.Kernel],
        sparsities: Mapping[int, float],
    ) -> list[str]:
        """Which kernels hold numbers where there should be zeros.

        Args:
            kernels: all.
            sparsities: by number of a kernel.

        Returns:
            Their names.
        """
        sizes = {
            n: np.abs(np.asarray(kernels[n].variable, np.float32))
            for n in sparsities
        }
        masks = self.masks(kernels, sizes, sparsities)
        return [kernels[n].name for n in masks if sizes[n][~masks[n]].any()]

    def _sparsity_of(self, kernel) -> Sparsity:
        return next(
            sparsity
            for pattern, sparsity in self.sparsity.items()
            if is_meant(kernel.layer, [pattern])
        )

    def _obstacles(self, kernels) -> dict[str, str]:
        found = {
            k.name: self.pattern.obstacle(*k.shape, k.run) for k in kernels
        }
        return {
            name: f"cannot hold {self.pattern}: {why}"
            for name, why in found.items()
            if why
        }

    def _check_holds(self, kernels) -> None:
        for name, why in self._obstacles(kernels).items():
            raise UsageError(
                f"{name} {why}. Received: pattern={str(self.pattern)!r}. "
                "Leave its layer out of the name patterns, or pass another "
                "pattern."
            )


def request(
    sparsity: Sparsity | Mapping[str, Sparsity] | None,
    pattern: str | tuple[int, int],
    scope: str,
    layers: str | Sequence[str] | None,
    embeddings: bool,
) -> Request:
    """Checks what the caller of `Pruner` asks for; the arguments are its.

    Raises:
        UsageError: as of `Pruner`.
    """
    pattern = patterns.parse(pattern)
    is_many_of_n = isinstance(pattern, patterns.ManyOfN)
    if sparsity is None and is_many_of_n:
        sparsity = pattern.sparsity
    by_name, names = _by_name(sparsity, layers)
    for value in by_name.values():
        if not callable(value):
            schedules.check_sparsity(value)
        if is_many_of_n:
            _check_amount(value, pattern)
    if scope not in ("layer", "global"):
        raise UsageError(
            'Weights are ranked by "layer", or by one "global" threshold. '
            f"Received: scope={scope!r}. Pass one of them."
        )
    is_plain = str(pattern) == "unstructured" and names != "sparsity"
    if scope == "global" and not is_plain:
        raise UsageError(
            "One threshold for all layers needs unstructured pruning and one "
            f'sparsity. Received: scope="global", pattern={str(pattern)!r}, '
            f'sparsity={sparsity!r}. Pass scope="layer".'
        )
    return Request(by_name, pattern, scope == "global", names, embeddings)


def due_updates(
    sparsities: Sequence[Sparsity], first: int, last: int
) -> list[tuple[int, dict[int, float]]]:
    """All updates of a run.

    Args:
        sparsities: of each kernel; a number is scheduled over the run.
        first: step of the optimizer before the run.
        last: step after it.

    Returns:
        Steps, rising, and by kernel's number the sparsity then.

    Raises:
        UsageError: a schedule ends after the run does.
    """
    by_step: dict[int, dict[int, float]] = {}
    known: dict[int, list] = {}
    for number, sparsity in enumerate(sparsities):
        if id(sparsity) not in known:
            schedule = sparsity
            if not callable(sparsity):
                schedule = schedules.over_run(sparsity, first, last)
            known[id(sparsity)] = schedules.updates(schedule, last)
        for step, value in known[id(sparsity)]:
            by_step.setdefault(step, {})[number] = value
    return sorted(by_step.items())


def _by_name(sparsity, layers) -> tuple[dict[str, Sparsity], str | None]:
    """By name pattern; and the argument that has the patterns."""
    if not isinstance(sparsity, Mapping):
        if layers is None:
            return {"*": sparsity}, None
        return dict.fromkeys(several("layers", layers), sparsity), "layers"
    if layers is not None:
        raise UsageError(
            "A mapping of sparsities names the layers itself. Received: "
            f"sparsity={dict(sparsity)!r}, layers={layers!r}. Pass one of them."
        )
    several("sparsity", sparsity)
    return dict(sparsity), "sparsity"


def _check_amount(sparsity: Sparsity, pattern: patterns.ManyOfN) -> None:
    amount = sparsity
    if callable(sparsity):
        end = getattr(sparsity, "end_step", -1)
        amount = schedules.sparsity_at(sparsity, max(end, 0))
    if abs(amount - pattern.sparsity) > 1e-6:
        raise UsageError(
            f"The pattern {pattern} is a sparsity of {pattern.sparsity:g}. "
            f"Received: sparsity={amount:g}. Leave it out, or pass a pattern "
            "that amounts to it."
        )
