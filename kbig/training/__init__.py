"""Training runs: where they compute, how they step, what they record."""

from kbig.training.checkpoints import ExactResume as ExactResume
from kbig.training.dropout import dropout_at as dropout_at
from kbig.training.encoders import fused as fused
from kbig.training.flops import bert_training_flops as bert_training_flops
from kbig.training.flops import matmul_peak as matmul_peak
from kbig.training.history import EpochEvents as EpochEvents
from kbig.training.history import run_callbacks as run_callbacks
from kbig.training.optimizers import SelectiveAdamW as SelectiveAdamW
from kbig.training.optimizers import adamw as adamw
from kbig.training.runtime import Runtime as Runtime
from kbig.training.schedules import WarmupCosine as WarmupCosine
from kbig.training.schedules import WarmupLinear as WarmupLinear
from kbig.training.throughput import Throughput as Throughput
