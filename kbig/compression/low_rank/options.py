"""What `factorize` may be asked for."""

import numbers
from collections.abc import Mapping

import keras

from kbig.compression.low_rank.sites import is_open
from kbig.errors import UsageError
from kbig.models.arguments import check_positive


def check_criterion(rank, energy, parameters) -> None:
    """Raises unless ranks are asked for in exactly one way, in its range.

    Args:
        rank: as of `plan_factorization`.
        energy: as of `plan_factorization`.
        parameters: as of `plan_factorization`.

    Raises:
        UsageError: otherwise.
    """
    given = {"rank": rank, "energy": energy, "parameters": parameters}
    named = [key for key, value in given.items() if value is not None]
    if len(named) != 1:
        received = ", ".join(f"{key}={value!r}" for key, value in given.items())
        raise UsageError(
            "Exactly one of `rank`, `energy` and `parameters` must say how "
            f"small the factors are. Received: {received}. Pass energy=0.9 "
            "to begin with."
        )
    (name,) = named
    _CHECKS[name](given[name])


def check_model(model) -> None:
    """Raises unless a model can be built again with other layers.

    Args:
        model: what was received.

    Raises:
        UsageError: it is no model, is not built, or is neither Functional
            nor Sequential.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(
            "`model` must be a Keras model. "
            f"Received: model={model!r} ({type(model).__name__})."
        )
    if not model.built:
        raise UsageError(
            "`model` must be built, or there are no weights to factorize. "
            f"Received: model={model.name!r}, not built. Give it a "
            "`keras.Input`, or call it once."
        )
    if not is_open(model):
        raise UsageError(
            "`model` must be Functional or Sequential, and rebuilt from its "
            f"layers. Received: model={model.name!r}, a "
            f"{type(model).__name__}. Of a backbone make a model first, as "
            "with `kbig.models.bert_classifier`."
        )


def allowed_parameters(parameters: float | int, before: int, least: int) -> int:
    """Turns a budget into a number of parameters.

    Args:
        parameters: as of `plan_factorization`, checked.
        before: numbers in the model's weights.
        least: numbers that are left at ranks of one.

    Returns:
        The most that may be left.

    Raises:
        UsageError: the budget cannot be met, or is met already.
    """
    is_share = not isinstance(parameters, numbers.Integral)
    allowed = int(parameters * before) if is_share else int(parameters)
    if allowed < least:
        raise UsageError(
            "`parameters` cannot be reached: with ranks of one "
            f"{least:,} of {before:,} are left, {least / before:.2%}. "
            f"Received: parameters={parameters!r}, that is {allowed:,}. Pass "
            "more, or let more `layers` be replaced."
        )
    if allowed >= before:
        raise UsageError(
            f"`parameters` must be fewer than the model has, {before:,}. "
            f"Received: parameters={parameters!r}. Pass less, or a share "
            "such as 0.5."
        )
    return allowed


def criterion_text(rank, energy, parameters) -> str:
    """Says in words how the ranks were chosen.

    Args:
        rank: as of `plan_factorization`.
        energy: as of `plan_factorization`.
        parameters: as of `plan_factorization`.

    Returns:
        A few words.
    """
    if isinstance(rank, Mapping):
        return "ranks given by layer"
    if rank is not None:
        return f"rank {rank}"
    if energy is not None:
        return f"{energy:.4g} of the energy"
    if isinstance(parameters, numbers.Integral):
        return f"a budget of {parameters:,} parameters"
    return f"a budget of {parameters:.4g} of the parameters"


def _check_rank(rank) -> None:
    ranks = rank if isinstance(rank, Mapping) else {"": rank}
    for pattern, value in ranks.items():
        check_positive(f"rank[{pattern!r}]" if pattern else "rank", value)


def _check_energy(energy) -> None:
    is_number = isinstance(energy, numbers.Real) and energy is not True
    if not is_number or not 0 < energy <= 1:
        raise UsageError(
            "`energy` must be a share in (0, 1]. "
            f"Received: energy={energy!r}. Pass 0.9 to begin with."
        )


def _check_parameters(parameters) -> None:
    if isinstance(parameters, numbers.Integral):
        check_positive("parameters", parameters)
    elif not isinstance(parameters, numbers.Real) or not 0 < parameters < 1:
        raise UsageError(
            "`parameters` must be a share in (0, 1), or a number of them. "
            f"Received: parameters={parameters!r}. Pass 0.5 to begin with."
        )


_CHECKS = {
    "rank": _check_rank,
    "energy": _check_energy,
    "parameters": _check_parameters,
}
