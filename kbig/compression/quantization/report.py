"""What a quantized model rounds to, tensor by tensor."""

import dataclasses

import keras
import numpy as np

from kbig.compression.quantization.attach import operations
from kbig.compression.quantization.model import is_quantized
from kbig.compression.quantization.ranges import Range
from kbig.errors import UsageError
from kbig.reporting import Table
from kbig.reporting.report import Report


@dataclasses.dataclass(frozen=True)
class QuantizedTensor:
    """The grid of one tensor.

    Args:
        layer: names of the layers that lead to its own, joined with "/".
        name: its place in the layer.
        low: the smallest number that it holds.
        high: the largest one.
        step: the distance of neighbours; of several grids, of the coarsest.
        grids: 1, or one a channel.
    """

    layer: str
    name: str
    low: float
    high: float
    step: float
    grids: int = 1


@dataclasses.dataclass(frozen=True)
class QuantizationReport(Report):
    """What a quantized model rounds to.

    Args:
        tensors: those with a range.
        bits: of the weights.
        skipped: layers that stay in float.
        folded: batch normalizations that become part of another layer.
    """

    tensors: tuple[QuantizedTensor, ...]
    bits: int
    skipped: tuple[str, ...]
    folded: int

    def tables(self) -> list[Table]:
        """A row a tensor."""
        rows = [
            (x.layer, x.name, x.low, x.high, x.step, x.grids)
            for x in self.tensors
        ]
        note = (
            f"Weights have {self.bits} bits and a grid a channel; "
            f"{self.folded} normalizations and activations are folded. Left "
            f"in float: {', '.join(self.skipped) or 'none that was asked for'}."
        )
        columns = ("layer", "tensor", "low", "high", "step", "grids")
        return [Table("Quantized tensors", columns, rows, note)]


def _tensor(layer: str, name: str, held: Range) -> QuantizedTensor:
    low, high = (np.atleast_1d(bound) for bound in held.bounds())
    return QuantizedTensor(
        layer,
        name,
        float(low.min()),
        float(high.max()),
        float((high - low).max()) / 255,
        low.size,
    )


def quantization_report(model: keras.Model) -> QuantizationReport:
    """Tells what a quantized model rounds to.

    Args:
        model: of `kbig.compression.quantize_aware`.

    Returns:
        A report, which prints as a table.

    Raises:
        UsageError: the model is not quantized.

    Example:
    ```python
    print(kbig.compression.quantization_report(quantized))
    ```
    """
    if not is_quantized(model):
        raise UsageError(
            "The model is not quantized. Received: model="
            f"{getattr(model, 'name', model)!r}. Pass what "
            "`kbig.compression.quantize_aware` returned."
        )
    plan = model.quantization.plan
    found = operations(model)
    tensors = []
    for number, (name, operation) in enumerate(found):
        state = vars(operation).get("quantization")
        if number in plan.skipped or state is None:
            continue
        for spec, held in getattr(state, "ranges", {}).items():
            tensors.append(_tensor(name, spec, held))
    return QuantizationReport(
        tuple(tensors),
        plan.bits,
        tuple(found[number][0] for number in plan.skipped),
        len(plan.folded),
    )
