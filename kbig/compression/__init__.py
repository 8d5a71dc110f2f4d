"""Compression: models that are smaller, and still plain Keras models."""

from kbig.compression.pruning.pruner import Pruner as Pruner
from kbig.compression.pruning.report import PruningReport as PruningReport

# TFMOT's own classes, imported when they are asked for.
_TFMOTS = ("ConstantSparsity", "PolynomialDecay")


def __getattr__(name: str):
    if name in _TFMOTS:
        from kbig.compression.pruning import tfmot

        return getattr(tfmot.schedules(), name)
    raise AttributeError(f"module 'kbig.compression' has no attribute {name!r}")
