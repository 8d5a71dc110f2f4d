"""Answers as rows that a person reads."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

# Values of a vector that are shown.
_SHOWN = 6


def answer_rows(
    outputs: Mapping[str, np.ndarray], names: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple]]:
    """Lays out what a signature gave, a row a row.

    Where there is a label, or classes with scores, its probability stands
    beside it, and logits and the rest of the probabilities are left out. Of
    vectors the first values are shown.

    Args:
        outputs: arrays by name, `(rows, ...)`.
        names: what each row was.

    Returns:
        The names of the columns, and the rows.

    Example:
    ```python
    outputs = {"label": np.array(["a"]), "probabilities": np.array([[0.9]])}
    answer_rows(outputs, ["a tree"])
    # (("input", "label", "probability"), [("a tree", "a", 0.9)])
    ```
    """
    shown = _decisions(outputs) or dict(outputs)
    columns = ("input", *shown)
    rows = zip(names, *shown.values())
    return columns, [tuple(map(_cell, row)) for row in rows]


def _decisions(outputs) -> dict[str, np.ndarray]:
    """One label a row and its probability, where that is what was given."""
    if {"classes", "scores"} <= set(outputs):
        best = outputs["scores"].argmax(-1)[:, None]
        label = np.take_along_axis(outputs["classes"], best, -1)[:, 0]
        return {"label": label, "probability": outputs["scores"].max(-1)}
    label = outputs.get("label")
    if label is None or label.ndim != 1 or "probabilities" not in outputs:
        return {}
    return {"label": label, "probability": outputs["probabilities"].max(-1)}


def _cell(value) -> str | int | float | bool:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        return value
    flat = [_cell(item) for item in value.ravel()[:_SHOWN]]
    texts = [f"{x:.4g}" if isinstance(x, float) else str(x) for x in flat]
    more = value.size - len(flat)
    return " ".join([*texts, f"... {more} more"] if more else texts)
