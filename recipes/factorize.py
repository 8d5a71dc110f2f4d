"""Makes the matrices of a run's model thin: each a product of two, low rank.

kbig factorize --from runs/topics --energy 0.9 --out runs/thin
kbig factorize --from runs/topics --parameters 0.5 --layers 'feedforward_*'

--from is a run of train-image, train-sequence or finetune, or what one of
prune, shrink and factorize made of it. Dense layers, embeddings and the
projections of an encoder are replaced where that saves parameters. What comes
of it is trained on, on the run's own data; trained beside it for as long, and
printed with it: the original. That takes about as long as the run itself did.
"""

import dataclasses

import kbig
from kbig.errors import UsageError
from recipes import compression
from recipes.config import option

_AMOUNTS = ("energy", "rank", "parameters")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(compression.Config):
    """Options of `kbig factorize`."""

    energy: float = option(
        None, "share of each matrix's squared singular values to keep"
    )
    rank: int = option(None, "or: of every matrix", minimum=1)
    parameters: float = option(
        None, "or: share of the model's parameters to keep"
    )
    layers: tuple[str, ...] = option(
        (), "name patterns, as encoder_*, of the layers to replace; none is all"
    )


def run(config: Config):
    """Factorizes, trains, tests, saves, exports when asked, and reports."""
    given = [name for name in _AMOUNTS if getattr(config, name) is not None]
    if len(given) != 1:
        raise UsageError(
            "Pass one of --energy, --rank and --parameters. Received: "
            f"{compression.flags(given)}."
        )
    return compression.run(config, "factorize", "factorized", _factorized)


def _factorized(material: compression.Material) -> compression.Compression:
    config = material.config
    plan = kbig.compression.plan_factorization(
        material.original,
        rank=config.rank,
        energy=config.energy,
        parameters=config.parameters,
        layers=config.layers or None,
    )
    if not plan.ranks:
        raise UsageError(
            "There is nothing to do: no matrix would be smaller as a product "
            f"of two. Received: {plan.criterion}. Pass less."
        )
    return compression.Compression(plan.apply(), plan=plan)
