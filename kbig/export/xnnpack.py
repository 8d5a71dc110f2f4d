"""What XNNPACK takes over of a .tflite file, for the reports of exports."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping

from kbig.inspection.description import BrokenFileError
from kbig.inspection.worker import described
from kbig.reporting import Percent
from kbig.reporting import Table

_COLUMNS = ("artefact", "operations", "XNNPACK's", "left to LiteRT's kernels")
_NOTE = (
    "XNNPACK: what it takes over by default, by operator and dtype. Operations "
    "in a loop count once."
)


@dataclasses.dataclass(frozen=True)
class Delegation:
    """How much of a .tflite file XNNPACK takes over by default.

    Args:
        operations: that the file has.
        taken: of them, by XNNPACK.
        left: how many are left to LiteRT's own kernels, by operator, the most
            frequent first.
    """

    operations: int
    taken: int
    left: Mapping[str, int]


def delegation(path: pathlib.Path) -> Delegation | None:
    """Reads what XNNPACK takes over.

    Args:
        path: of an artefact.

    Returns:
        How much; None of what is no .tflite file, or one whose parts are
        not as `kbig.export.inspect` needs them.

    Example:
    ```python
    delegation(pathlib.Path("topics-float32.tflite")).left  # {"GATHER": 2}
    ```
    """
    if path.suffix != ".tflite":
        return None
    try:
        found = described("litert", path).operations
    except BrokenFileError:
        return None
    left = collections.Counter()
    for x in found:
        if not x.xnnpack:
            left[x.name] += x.count
    total = sum(x.count for x in found)
    return Delegation(total, total - left.total(), dict(left.most_common()))


def delegation_tables(found: Mapping[str, Delegation | None]) -> list[Table]:
    """Shows what XNNPACK takes over of each file.

    Args:
        found: by the name of the artefact; None has no row.

    Returns:
        One table, or none without any row.
    """
    rows = [
        (
            name,
            x.operations,
            Percent(x.taken / x.operations),
            ", ".join(f"{op} {count}" for op, count in x.left.items()),
        )
        for name, x in found.items()
        if x is not None and x.operations
    ]
    return [Table("XNNPACK", _COLUMNS, rows, _NOTE)] if rows else []
