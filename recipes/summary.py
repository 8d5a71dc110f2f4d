"""The numbers of metrics.json that a person wants to see first."""

import math
from collections.abc import Mapping
from typing import Any

import kbig

# Key of metrics.json -> how a person reads it. A metric is one line here.
_SUMMARY = {
    "test_accuracy": ("Test accuracy", "Percent", ""),
    "test_micro_f1": ("Test micro F1", "Percent", ""),
    "test_f1": ("Test span F1", "Percent", ""),
    "test_pearson": ("Test Pearson correlation", None, ""),
    "teacher_accuracy": ("Teacher's accuracy", "Percent", ""),
    "control_accuracy": ("From nothing", "Percent", "the same BERT"),
    "baseline_accuracy": ("Baseline accuracy", "Percent", "without a BERT"),
    "baseline_micro_f1": ("Baseline micro F1", "Percent", "without a BERT"),
    "baseline_f1": ("Baseline span F1", "Percent", "without a BERT"),
    "baseline_pearson": ("Baseline correlation", None, "without a BERT"),
    "test_mean_absolute_error": ("Mean absolute error", None, ""),
    "persistence_mean_absolute_error": ("Persistence", None, ""),
    "ridge_mean_absolute_error": ("Ridge regression", None, ""),
    "test_loss": ("Test loss", None, ""),
    "next_sentence_accuracy": ("Pairs told apart", "Percent", ""),
    "perplexity": ("Perplexity", None, "of hidden tokens"),
    "unigram_entropy": ("Unigram entropy", None, "the loss without context"),
    "tokens_per_second": ("Tokens a second", "", ""),
    "matmul_share": ("Share of matmul peak", "Percent", ""),
    "fused_encoders": ("Encoders fused", None, "while it was trained"),
    "trained_parameters": ("Trained parameters", None, ""),
    "parameters": ("Parameters", None, ""),
    "nonzeros": ("Of these not zero", None, ""),
    "latency_ratio": ("Latency in LiteRT", "Ratio", "the original's is 1"),
    "seconds": ("Time", "Seconds", ""),
}


def summary(metrics: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """The numbers that matter most: `(label, value, hint)`."""
    return [
        (label, getattr(kbig.reporting, unit or "", _same)(metrics[key]), hint)
        for key, (label, unit, hint) in _SUMMARY.items()
        if key in metrics and not _is_nan(metrics[key])
    ]


def _is_nan(value) -> bool:
    """As of a speed, where a run was too short to measure it."""
    return isinstance(value, float) and math.isnan(value)


def _same(value):
    return value
