"""A table that prints in a terminal, in a page and as JSON."""

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import rich.box
import rich.cells
import rich.console
import rich.table
import rich.text

from kbig.errors import UsageError
from kbig.reporting.cells import Bytes
from kbig.reporting.cells import Cell
from kbig.reporting.cells import Percent
from kbig.reporting.cells import Ratio
from kbig.reporting.cells import Seconds
from kbig.reporting.cells import format_cell
from kbig.reporting.cells import is_number
from kbig.reporting.cells import one_line
from kbig.reporting.cells import printable

__all__ = [
    "Bytes",
    "Cell",
    "Percent",
    "Ratio",
    "Seconds",
    "Table",
    "format_cell",
    "show",
]

_MAX_TEXT_WIDTH = 60


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of values under named columns.

    `str(table)` is plain text whose columns line up, however wide the
    characters are; long texts are cut there, and only there. `rich` and
    `kbig.reporting.page` draw the table their own way.

    Args:
        title: what the table shows.
        columns: the name of each column.
        rows: one sequence of cells a row, as long as `columns`. A cell is
            a str, int, float, bool or None; `Bytes`, `Seconds`, `Percent`
            and `Ratio` are numbers that bring their unit.
        note: a remark printed below the table.

    Raises:
        UsageError: if a row is not as long as `columns`, or a cell is of
            another type.

    Example:
        ```python
        table = Table(
            "Artefacts",
            ("file", "size", "parity"),
            [("tiny.tflite", Bytes(23_100_000), 0.0141)],
        )
        print(table)
        ```
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def __post_init__(self):
        columns = tuple(self.columns)
        rows = tuple(tuple(row) for row in self.rows)
        if isinstance(self.columns, str) or not columns:
            raise UsageError(
                "A table needs a sequence of at least one column name. "
                f"Received: columns={self.columns!r} (title={self.title!r}). "
                "Pass a tuple such as ('layer', 'sparsity')."
            )
        for index, row in enumerate(rows):
            _check_row(self.title, columns, index, row)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "rows", rows)

    def numeric(self) -> tuple[bool, ...]:
        """Tells which columns hold numbers, and so align to the right.

        Returns:
            One truth value a column: whether it has at least one number
            and nothing else but None.
        """
        return tuple(
            any(is_number(row[column]) for row in self.rows)
            and all(
                row[column] is None or is_number(row[column])
                for row in self.rows
            )
            for column in range(len(self.columns))
        )

    def to_dict(self) -> dict:
        """Returns the table with raw cells, for JSON.

        Returns:
            The fields by name; rows as lists of unformatted values.
        """
        return {
            "title": self.title,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "note": self.note,
        }

    def __str__(self) -> str:
        lines = [[one_line(name) for name in self.columns]]
        lines += [[format_cell(cell) for cell in row] for row in self.rows]
        lines = [[_clipped(text) for text in line] for line in lines]
        widths = [
            max(map(rich.cells.cell_len, column)) for column in zip(*lines)
        ]
        lines.insert(1, ["─" * width for width in widths])
        body = [_aligned(line, widths, self.numeric()) for line in lines]
        title, note = one_line(self.title), printable(self.note)
        return "\n".join(filter(None, [title, *body, note]))

    def __rich__(self) -> rich.table.Table:
        drawn = rich.table.Table(
            title=rich.text.Text(one_line(self.title), style="bold"),
            caption=rich.text.Text(printable(self.note)) or None,
            title_justify="left",
            caption_justify="left",
            box=rich.box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for name, numeric in zip(self.columns, self.numeric()):
            drawn.add_column(
                rich.text.Text(one_line(name)),
                justify="right" if numeric else "left",
                overflow="fold",
            )
        for row in self.rows:
            # As Text, since rich would read "[bold]" in a str as markup.
            drawn.add_row(*(rich.text.Text(format_cell(cell)) for cell in row))
        return drawn


def show(*tables: Table, file=None) -> None:
    """Prints tables: fitted to a terminal, or as plain text anywhere else.

    Args:
        *tables: what to print, with an empty line after each.
        file: an open text file; the standard output by default.

    Example:
        ```python
        show(Table("Test set", ("metric", "value"), [("accuracy", 0.934)]))
        ```
    """
    file = file or sys.stdout
    console = rich.console.Console(file=file)
    for table in tables:
        if console.is_terminal:
            console.print(table)
        else:
            print(table, end="\n\n", file=file)


def _check_row(title: str, columns: tuple, index: int, row: tuple) -> None:
    if len(row) != len(columns):
        raise UsageError(
            f"Row {index} of the table {title!r} must have one cell for each "
            f"of its {len(columns)} columns {columns}. Received: row={row}. "
            "Pass None for what was not measured."
        )
    for name, cell in zip(columns, row):
        if cell is not None and not isinstance(
            cell, (str, int, float, np.number, np.bool_)
        ):
            raise UsageError(
                f"A cell of the table {title!r} must be a str, int, float, "
                f"bool or None. Received: {name}={cell!r} "
                f"({type(cell).__name__}) in row {index}. Convert it, or "
                "give it a row of its own."
            )


def _clipped(text: str) -> str:
    if rich.cells.cell_len(text) <= _MAX_TEXT_WIDTH:
        return text
    return rich.cells.set_cell_size(text, _MAX_TEXT_WIDTH - 1).rstrip() + "…"


def _aligned(
    line: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]
) -> str:
    padded = []
    for text, width, right in zip(line, widths, numeric):
        space = " " * (width - rich.cells.cell_len(text))
        padded.append(space + text if right else text + space)
    return "  ".join(padded).rstrip()
