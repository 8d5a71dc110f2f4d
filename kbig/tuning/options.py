"""Options of the methods of fine-tuning, and what they may be."""

import numbers

import keras

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.tuning.lora import PROJECTIONS

_OPTIONS = {
    "lora": ("rank", "alpha", "projections"),
    "houlsby": ("adapter_dim",),
    "pfeiffer": ("adapter_dim",),
    "layerwise": ("decay",),
}


def checked_options(method: str, encoder: keras.Layer, **values) -> dict:
    """Picks the options that a method has, and checks them.

    Args:
        method: among `METHODS`.
        encoder: one of the model's.
        **values: of all options, by name.

    Returns:
        Those of the method.

    Raises:
        UsageError: one is out of its range.
    """
    options = {key: values[key] for key in _OPTIONS.get(method, ())}
    for key, value in options.items():
        _CHECKS[key](value, encoder)
        if isinstance(value, list):
            options[key] = tuple(value)
    return options


def _check_rank(rank, encoder) -> None:
    check_positive("rank", rank)
    layer_of, _ = PROJECTIONS["feedforward_output"]
    width = layer_of(encoder).units
    if rank > width:
        raise UsageError(
            f"`rank` must be at most the width of the model, {width}. "
            f"Received: rank={rank}. Pass 8, as is usual."
        )


def _check_alpha(alpha, encoder) -> None:
    if not isinstance(alpha, numbers.Real) or not alpha > 0:
        raise UsageError(
            "`alpha` must be a number above zero. "
            f"Received: alpha={alpha!r}. Leave it out for that of `rank`."
        )


def _check_projections(projections, encoder) -> None:
    if isinstance(projections, str) or not projections:
        raise UsageError(
            "`projections` must be a sequence of names. "
            f"Received: projections={projections!r}. "
            f"Pass some of {', '.join(PROJECTIONS)}."
        )
    for name in projections:
        check_choice("projections", name, PROJECTIONS)
    if len(set(projections)) < len(projections):
        raise UsageError(
            "`projections` names one twice. "
            f"Received: projections={projections!r}. Name each once."
        )


def _check_decay(decay, encoder) -> None:
    if decay != 1:
        check_rate("decay", decay)
    if not decay:
        raise UsageError(
            "`decay` must be above zero. Received: decay=0. Pass 0.9, or use "
            "the method 'frozen'."
        )


_CHECKS = {
    "rank": _check_rank,
    "alpha": _check_alpha,
    "projections": _check_projections,
    "adapter_dim": lambda value, encoder: check_positive("adapter_dim", value),
    "decay": _check_decay,
}
