"""What every comparison of predictions and labels asks of them."""

import numpy as np

from kbig.errors import GateError
from kbig.errors import UsageError


def finite_outputs(outputs: np.ndarray, what: str = "logits") -> np.ndarray:
    """Returns outputs of a model as float64, if all are finite.

    Args:
        outputs: what the model returned.
        what: names them in the error.

    Raises:
        GateError: a value is not finite.
    """
    outputs = np.asarray(outputs, np.float64)
    if not np.isfinite(outputs).all():
        raise GateError(
            f"The model's {what} are not finite: its training diverged. Lower "
            "the learning rate."
        )
    return outputs


def check_rows(rows: int) -> None:
    """Makes sure that there is something to compare.

    Args:
        rows: their number.

    Raises:
        UsageError: there are none.
    """
    if not rows:
        raise UsageError("There must be rows to evaluate on. Received: none")
