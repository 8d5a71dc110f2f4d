"""Trains the model of a run for int8, and writes the file that computes it.

kbig quantize --from runs/topics --out runs/topics-int8
kbig quantize --from runs/sparse --seeds 3 --out runs/sparse-int8

--from is a run of train-image, train-sequence or finetune, or what one of
prune, shrink and factorize made of it; zeros of a pruned model stay zeros.
The model is trained on for a little while it computes with rounded numbers,
beside the original, trained for as long in float. Printed with both: int8
without any training (the converter's own, of rows that it is shown), for the
original and for the control, and what the int8 file gives on the test rows;
what it computes, its latency beside float32 and dynamic int8, and the layers
that are furthest from the same model without rounding.

The run of `kbig train-image` takes some 3 minutes more on 2 CPU cores.
"""

import dataclasses
from typing import ClassVar

import kbig
from recipes import compression
from recipes import quantize_results
from recipes.config import INT8_FORMATS
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(compression.Config):
    """Options of `kbig quantize`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 500, "rows": 32}
    # It only mends what rounding broke: large steps would change the model.
    rate_share: ClassVar[float] = 0.1

    skip: tuple[str, ...] = option(
        (), "name patterns, as logits, of layers that stay in float"
    )
    bits: int = option(8, "of the weights: 8 or 4")
    islands: bool = option(
        True, "normalizations and softmax of an encoder in float"
    )
    observer: str = option(
        "ema", "of ranges in training", ("ema", "min_max", "percentile")
    )
    rows: int = option(200, "training rows to find ranges in", minimum=1)
    sparsity_kept: bool = option(
        True, "weights that are zero stay zero, as of a pruned run"
    )
    formats: tuple[str, ...] = option(
        ("litert-int8",),
        "what to export at the end",
        ("savedmodel", *INT8_FORMATS),
    )
    seeds: int = option(1, "times that it is trained, for a spread", minimum=1)


def run(config: Config):
    """Quantizes, trains, tests, saves, exports when asked, and reports."""
    return compression.run(config, "quantize", "quantized", _quantized)


def _quantized(material: compression.Material) -> compression.Compression:
    model = quantize_results.quantized(material)
    return compression.Compression(
        model,
        callbacks=quantize_results.callbacks(material),
        report=lambda: kbig.compression.quantization_report(model),
        compare=quantize_results.compare,
    )
