"""Which matrices are replaced, at what rank, and what that loses."""

import dataclasses
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.compression.low_rank.kinds import matrix_of
from kbig.compression.low_rank.kinds import shape_of
from kbig.compression.low_rank.math import budget_ranks
from kbig.compression.low_rank.math import discarded_energy
from kbig.compression.low_rank.math import least_rank
from kbig.compression.low_rank.math import most_rank
from kbig.compression.low_rank.math import saved_parameters
from kbig.compression.low_rank.math import singular_values
from kbig.compression.low_rank.options import allowed_parameters
from kbig.compression.low_rank.sites import Site
from kbig.compression.names import check_patterns
from kbig.compression.names import is_meant
from kbig.errors import UsageError

_NOT_CHOSEN = "not among the layers chosen"


@dataclasses.dataclass(frozen=True)
class Choice:
    """What becomes of one site.

    Args:
        rank: of the factors; None when it is kept whole.
        saved: parameters.
        relative_error: of the product, in the Frobenius norm.
        kept: why it is kept whole, or nothing.
    """

    rank: int | None = None
    saved: int = 0
    relative_error: float = 0.0
    kept: str = ""


def chosen_ranks(
    found: Sequence[Site],
    before: int,
    *,
    rank: int | Mapping[str, int] | None,
    energy: float | None,
    parameters: float | int | None,
    layers: str | Sequence[str] | None,
) -> list[Choice]:
    """Chooses a rank for every site, or a reason to keep it whole.

    Args:
        found: from `sites`.
        before: numbers in the model's weights.
        rank: as of `plan_factorization`, checked.
        energy: as of `plan_factorization`, checked.
        parameters: as of `plan_factorization`, checked.
        layers: as of `plan_factorization`.

    Returns:
        A choice for each site.

    Raises:
        UsageError: a pattern matches nothing, a budget cannot be met, or a
            weight is not finite.
    """
    wanted = _by_name(found, layers)
    given = _given_ranks(found, rank)
    candidates = [
        site
        for site in found
        if not site.kept and site.name in wanted and site.name in given
    ]
    # A budget that cannot be met is told before anything is decomposed.
    saving = _saving(candidates, before, parameters)
    values = [_values(site) for site in candidates]
    if parameters is None:
        wishes = [
            given[site.name] if energy is None else least_rank(each, energy)
            for site, each in zip(candidates, values)
        ]
    else:
        shapes = [shape_of(site.layer) for site in candidates]
        wishes = budget_ranks(shapes, values, saving)
    choices = {
        site.name: _choice(site, each, wish)
        for site, each, wish in zip(candidates, values, wishes)
    }
    return [
        choices.get(site.name) or Choice(kept=site.kept or _NOT_CHOSEN)
        for site in found
    ]


def _by_name(found, layers) -> set[str]:
    names = [site.name for site in found]
    if layers is None:
        return set(names)
    patterns = check_patterns("layers", layers, names)
    return {name for name in names if is_meant(name, patterns)}


def _given_ranks(found, rank) -> dict[str, int | None]:
    names = [site.name for site in found]
    if not isinstance(rank, Mapping):
        return dict.fromkeys(names, rank)
    check_patterns("rank", list(rank), names)
    ranks = {}
    for pattern, value in rank.items():
        for name in names:
            if is_meant(name, [pattern]):
                ranks.setdefault(name, value)
    return ranks


def _saving(candidates, before, parameters) -> int:
    if parameters is None:
        return 0
    most = sum(saved_parameters(shape_of(x.layer), 1) for x in candidates)
    return before - allowed_parameters(parameters, before, before - most)


def _values(site: Site) -> np.ndarray:
    matrix = matrix_of(site.layer)
    if not np.isfinite(matrix).all():
        raise UsageError(
            "A matrix of `model` is not finite, so that nothing is near it. "
            f"Received: {site.name} with NaN or infinity. Take weights from "
            "before training diverged."
        )
    return singular_values(matrix)


def _choice(site: Site, values: np.ndarray, rank: int | None) -> Choice:
    shape = shape_of(site.layer)
    if rank is None:
        return Choice(kept="the budget leaves it whole")
    most = most_rank(*shape)
    if rank > most:
        return Choice(
            kept=f"rank {rank} saves nothing: {most} would be the most"
        )
    error = float(np.sqrt(discarded_energy(values)[rank]))
    return Choice(rank, saved_parameters(shape, rank), error)
