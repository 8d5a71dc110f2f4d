"""The gates of `kbig.export.verify`: what artefacts give, beside the model."""

import dataclasses
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.errors import GateError
from kbig.export import compare
from kbig.export.decisions import Task
from kbig.export.decisions import agreement
from kbig.export.decisions import decision_faults


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What signatures should give, arrays by the name of the output.

    Args:
        own: the outputs of the model, on the samples.
        served: by signature, of those that give something else.
        by_length: by signature, of those that take shorter rows.
    """

    own: Mapping[str, np.ndarray]
    served: Mapping[str, Mapping]
    by_length: Mapping[str, Mapping]

    def of(self, signature: str) -> Mapping[str, np.ndarray]:
        """What one signature should give."""
        for others in (self.served, self.by_length):
            if signature in others:
                return others[signature]
        return self.own


def gate_of(weights: str, labels, task: Task | None) -> str:
    """Which limits hold for an artefact.

    Args:
        weights: what they are stored as.
        labels: of the samples, or None.
        task: what they mean.

    Returns:
        A key of `kbig.export.compare.TOLERANCES`.
    """
    decides = task is not None and task.decide is not None
    judged = weights == "integers" and labels is not None and decides
    return compare.JUDGED if judged else weights


def require_outputs(path: pathlib.Path, got, wanted: Wanted) -> None:
    """Raises a GateError where an output is missing."""
    for signature, outputs in got.items():
        missing = {*wanted.of(signature)} - {*outputs}
        if missing:
            raise GateError(
                f"{path.name}: signature {signature!r} lacks the outputs "
                f"{', '.join(sorted(missing))}. Received: "
                f"{', '.join(sorted(outputs))}."
            )


def worst_difference(got, wanted: Wanted, gate: str) -> tuple[float, float]:
    """Over all signatures and outputs, and what is allowed there.

    NaN wins, as it must.
    """
    pairs = [
        (
            compare.largest_difference(outputs[name], expected, gate),
            compare.tolerance(expected, gate),
        )
        for signature, outputs in got.items()
        for name, expected in wanted.of(signature).items()
    ]
    return pairs[int(np.argmax([x / allowed for x, allowed in pairs]))]


def worst_agreement(got, wanted: Wanted, task: Task | None):
    """Over all signatures, and of how many decisions; None of none."""
    if task is None or task.decide is None:
        return None, 0
    return min(
        agreement(logits(outputs, expected), logits(expected, expected), task)
        for signature, outputs in got.items()
        for expected in (wanted.of(signature),)
    )


def difference_faults(difference: float, tolerance: float) -> list[str]:
    """One sentence, or none."""
    if difference <= tolerance:  # NaN is not.
        return []
    return [
        f"outputs differ from the model's by {difference:.2g} of their "
        f"range, {tolerance:.2g} is allowed"
    ]


def agreement_faults(agreed, decisions: int, gate: str) -> list[str]:
    """One sentence, or none."""
    if agreed is None or compare.agreement_suffices(agreed, decisions, gate):
        return []
    return [
        f"the decision is the model's in {agreed:.2%} of "
        f"{decisions:,} decisions, {compare.AGREEMENTS[gate]:.1%} is needed"
    ]


def metric_faults(reached, aim, decisions: int, gate: str) -> list[str]:
    """One sentence, or none: of few decisions a single one may be lost."""
    if gate != compare.JUDGED:
        return []
    if reached >= aim - max(compare.METRIC_LOSS, 1 / decisions):
        return []
    return [
        f"its metric is {reached:.4f}, the model's is {aim:.4f}: a loss of "
        f"{compare.METRIC_LOSS:g} is allowed"
    ]


def class_name_faults(
    got, wanted: Wanted, class_names: Sequence[str], task: Task | None
) -> list[str]:
    """A sentence for each signature whose names do not follow from logits."""
    if not class_names:
        return []
    return [
        f"{signature}: {fault}"
        for signature, outputs in got.items()
        for fault in decision_faults(
            outputs, logits(outputs, wanted.of(signature)), class_names, task
        )
    ]


def logits(outputs: Mapping, expected: Mapping) -> np.ndarray:
    """What stands for the model's first output."""
    return outputs[next(iter(expected))]
