"""Compression: models that are smaller, and still plain Keras models."""

from kbig.compression.pruning.pruner import Pruner as Pruner
from kbig.compression.pruning.report import PruningReport as PruningReport
from kbig.compression.pruning.schedules import (
    PolynomialSparsity as PolynomialSparsity,
)
