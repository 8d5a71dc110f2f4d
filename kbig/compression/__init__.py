"""Compression: models that are smaller, and still plain Keras models."""

import importlib

from kbig.compression.low_rank.layers import (
    FactorizedEmbedding as FactorizedEmbedding,
)
from kbig.compression.low_rank.plan import (
    FactorizationPlan as FactorizationPlan,
)
from kbig.compression.low_rank.plan import LayerRank as LayerRank
from kbig.compression.low_rank.plan import factorize as factorize
from kbig.compression.low_rank.plan import (
    plan_factorization as plan_factorization,
)
from kbig.compression.pruning.pruner import Pruner as Pruner
from kbig.compression.pruning.report import PruningReport as PruningReport

# What needs KerasHub or TFMOT, loaded on first use.
_LAZY = {
    "ConstantSparsity": "kbig.compression.pruning.tfmot",
    "PolynomialDecay": "kbig.compression.pruning.tfmot",
    "FactorizedEncoder": "kbig.compression.low_rank.encoder",
    "NarrowEncoder": "kbig.compression.structured.narrow_encoder",
    "ShrinkPlan": "kbig.compression.structured.plan",
    "plan_shrink": "kbig.compression.structured.shrink",
    "shrink": "kbig.compression.structured.shrink",
}


def __getattr__(name: str):
    """Loads a class or a function on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
