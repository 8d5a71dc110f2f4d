"""Prunes the model of a run: most weights become zero, and it is trained on.

kbig prune --from runs/topics --sparsity 0.8 --out runs/sparse
kbig prune --from runs/topics --pattern 2:4

--from is a run of train-image, train-sequence or finetune, or what one of
prune, shrink and factorize made of it. Weights are removed while it is trained
on its own data, and held at zero. Trained beside it for as long, and printed
with it: the original. The saved model is a plain Keras model with zeros in it.

The run of `kbig train-image` takes some 2 minutes more on 2 CPU cores; it
reaches 0.882 test accuracy with a fifth of its weights and 0.27 of its
compressed bytes, its control 0.898.
"""

import dataclasses

import kbig
from kbig.errors import UsageError
from recipes import compression
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(compression.Config):
    """Options of `kbig prune`."""

    sparsity: float = option(
        None, "share of the weights to remove; default 0.8, or of --pattern"
    )
    pattern: str = option(
        "unstructured",
        "of the zeros: unstructured, m:n as 2:4, or blocks as 4x1",
    )
    scope: str = option(
        "layer", "within which weights are ranked", ("layer", "global")
    )
    layers: tuple[str, ...] = option(
        (), "name patterns, as encoder_*, of the layers to prune; none is all"
    )
    embeddings: bool = option(False, "prune embeddings, too")
    method: str = option(
        "magnitude", "of choosing them", ("magnitude", "movement")
    )


def run(config: Config):
    """Prunes, tests, saves, exports when asked, and reports."""
    if config.sparsity is None and ":" not in config.pattern:
        config = dataclasses.replace(config, sparsity=0.8)
    check(config)
    return compression.run(config, "prune", "pruned", _pruned)


def check(config: Config) -> None:
    """Raises where options are wrong whatever the model is.

    Raises:
        UsageError: a sparsity or pattern that there is not.
    """
    if config.sparsity == 0:
        raise UsageError(
            "There is nothing to do. Received: --sparsity 0. Pass the share "
            "of the weights to remove, as 0.8."
        )
    _request(config)


def _request(config: Config):
    from kbig.compression.pruning.plan import request

    return request(**_asked(config))


def _asked(config: Config) -> dict:
    return {
        "sparsity": config.sparsity,
        "pattern": config.pattern,
        "scope": config.scope,
        "layers": config.layers or None,
        "embeddings": config.embeddings,
    }


def _pruned(material: compression.Material) -> compression.Compression:
    # What cannot be pruned so shows before anything is written.
    _request(material.config).choose(material.original)
    pruner = kbig.compression.Pruner(
        **_asked(material.config), method=material.config.method
    )
    return compression.Compression(
        material.copy(), callbacks=(pruner,), report=pruner.report
    )
