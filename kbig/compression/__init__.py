"""Compression: models that are smaller, and still plain Keras models."""

import importlib

from kbig.compression.low_rank.encoder import (
    FactorizedEncoder as FactorizedEncoder,
)
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
from kbig.compression.pruning.keep import KeepZeros as KeepZeros
from kbig.compression.pruning.pruner import Pruner as Pruner
from kbig.compression.pruning.report import PruningReport as PruningReport
from kbig.compression.quantization.model import is_quantized as is_quantized
from kbig.compression.quantization.model import quantize_aware as quantize_aware
from kbig.compression.quantization.report import (
    QuantizationReport as QuantizationReport,
)
from kbig.compression.quantization.report import (
    quantization_report as quantization_report,
)
from kbig.compression.quantization.table import LayerSpec as LayerSpec
from kbig.compression.quantization.table import register_layer as register_layer
from kbig.compression.structured.narrow_encoder import (
    NarrowEncoder as NarrowEncoder,
)
from kbig.compression.structured.plan import ShrinkPlan as ShrinkPlan
from kbig.compression.structured.shrink import plan_shrink as plan_shrink
from kbig.compression.structured.shrink import shrink as shrink

# TFMOT's own classes: importing TFMOT takes seconds.
_LAZY = {
    "ConstantSparsity": "kbig.compression.pruning.tfmot",
    "PolynomialDecay": "kbig.compression.pruning.tfmot",
}


def __getattr__(name: str):
    """Loads a class on first use."""
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
