"""What an action returns: a frozen dataclass that prints and saves itself."""

import dataclasses
import json
import math
import os
import pathlib
import re

import numpy as np

from kbig.errors import UsageError
from kbig.reporting.files import write_text
from kbig.reporting.tables import Cell
from kbig.reporting.tables import Table


class Report:
    """Base of the frozen dataclasses that actions return.

    A subclass that has more to show than its scalar fields overrides
    `tables`.

    Example:
        ```python
        @dataclasses.dataclass(frozen=True)
        class PruningReport(Report):
            sparsity: Percent
            layers: tuple[str, ...]


        report = PruningReport(Percent(0.8), ("dense", "dense_1"))
        print(report)
        report.save("pruning.json")
        ```
    """

    def tables(self) -> list[Table]:
        """Returns the tables that show this report.

        Returns:
            By default one table with a row for each scalar field.
        """
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", type(self).__name__)
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
        }
        rows = [
            (name.replace("_", " "), value)
            for name, value in fields.items()
            if isinstance(value, Cell | np.number | np.bool_)
        ]
        return [Table(words.capitalize(), ("field", "value"), rows)]

    def to_dict(self) -> dict:
        """Returns the fields as plain values, ready for JSON.

        Returns:
            Fields by name; numbers stay raw, arrays become lists, and NaN
            and infinity, which JSON does not have, become None.

        Raises:
            UsageError: if a field holds a value that JSON cannot express.
        """
        return plain(self)

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes the report as JSON, in one step.

        Args:
            path: the file to write or replace.

        Returns:
            The path written.

        Raises:
            UsageError: if a field holds a value that JSON cannot express,
                or `path` is a directory.
        """
        text = json.dumps(
            self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False
        )
        return write_text(path, text + "\n")

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))


def plain(value):
    """Reduces a value to dicts, lists, strings, numbers, booleans and None.

    Args:
        value: a scalar of Python or NumPy, an array, a path, a dataclass,
            or a mapping, list or tuple of those.

    Returns:
        A value that JSON expresses; NaN and infinity as None.

    Raises:
        UsageError: if there is anything else in `value`.

    Example:
        ```python
        plain({"loss": np.float32(0.5), "best": math.nan})
        # {'loss': 0.5, 'best': None}
        ```
    """
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    raise UsageError(
        "A report holds scalars, arrays, paths, dataclasses, and mappings, "
        "lists and tuples of those. "
        f"Received: value={value!r} ({type(value).__name__}). "
        "Convert it before it goes into the report."
    )
