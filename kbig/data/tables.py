"""Rows of `.csv`, `.tsv` and `.jsonl` files with their line numbers."""

import csv
import dataclasses
import difflib
import io
import json
import pathlib

from kbig.data.reading import read_text
from kbig.data.reading import suffix_of
from kbig.errors import DataError

_SUFFIXES = (".csv", ".tsv", ".jsonl")


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a file.

    Args:
        path: the file.
        columns: column names in order of appearance.
        rows: one dictionary a row, from column name to value.
        lines: the line on which each row begins, counted from 1.
    """

    path: pathlib.Path
    columns: tuple[str, ...]
    rows: list[dict]
    lines: list[int]

    def where(self, row: int) -> str:
        """Names a row for an error message.

        Args:
            row: index into `rows`.

        Returns:
            The file and the line as an editor shows it.
        """
        return f"{self.path}, line {self.lines[row]}"

    def column(self, name: str) -> list:
        """Returns the values of a column, `None` where a row has none.

        Args:
            name: the column.

        Returns:
            One value a row.

        Raises:
            DataError: if there is no such column.
        """
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise DataError(
                f"{self.path} has no column {name!r}; it has "
                f"{', '.join(self.columns)}.{hint} Name the column by its "
                "option."
            )
        return [row.get(name) for row in self.rows]


def is_table(path: pathlib.Path) -> bool:
    """Tells whether a file is named as tables are.

    Args:
        path: a file, which need not exist.

    Returns:
        Whether the suffix is `.csv`, `.tsv` or `.jsonl`, compressed or not.
    """
    return suffix_of(path) in _SUFFIXES


def read_table(path: pathlib.Path) -> Table:
    """Reads a table whose format is told by its suffix.

    Args:
        path: `.csv` or `.tsv` with a header line, or `.jsonl` with one
            object a line; each may be compressed (`.gz`, `.xz`). Blank
            lines are skipped.

    Returns:
        The `Table`; values are strings, or what JSON says.

    Raises:
        DataError: naming the file and the line of what cannot be read.

    Example:
    ```python
    table = read_table(pathlib.Path("reviews.csv"))
    texts = table.column("text")
    ```
    """
    text = read_text(path)
    suffix = suffix_of(path)
    if suffix == ".jsonl":
        table = _json_table(path, text)
    else:
        table = _delimited_table(path, text, "\t" if suffix == ".tsv" else ",")
    if not table.rows:
        raise DataError(f"{path} has a header but no rows.")
    return table


def _delimited_table(path, text, delimiter):
    (header_line, columns), *body = _records(path, text, delimiter)
    if len(set(columns)) < len(columns):
        raise DataError(
            f"{path}, line {header_line}: column names must differ. "
            f"Received: {', '.join(columns)}"
        )
    for line, record in body:
        if len(record) != len(columns):
            raise DataError(
                f"{path}, line {line}: expected {len(columns)} values, as in "
                f"the header. Received: {len(record)} values"
            )
    rows = [dict(zip(columns, record)) for _, record in body]
    return Table(path, tuple(columns), rows, [line for line, _ in body])


def _records(path, text, delimiter):
    """The rows that are not blank, each with the line on which it begins."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True
    )
    records, line = [], 1
    # The module's own limit of 131,072 characters a value is for all readers.
    usual_limit = csv.field_size_limit(len(text))
    try:
        for record in reader:
            if record:
                records.append((line, record))
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: the row could not be parsed. Received: "
            f"{error}. Put values that hold quotes, delimiters or line "
            "breaks in double quotes, and double the quotes within."
        ) from error
    finally:
        csv.field_size_limit(usual_limit)
    return records


def _json_table(path, text):
    rows, lines = [], []
    # JSON strings may hold what `str.splitlines` takes for line ends.
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            rows.append(_json_object(path, line, content))
            lines.append(line)
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    return Table(path, columns, rows, lines)


def _json_object(path, line, content):
    try:
        row = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}, line {line}: not valid JSON. Received: {error}. Write "
            "one object a line."
        ) from error
    if not isinstance(row, dict):
        raise DataError(
            f"{path}, line {line}: expected a JSON object. Received: "
            f"{type(row).__name__}"
        )
    _check_characters(path, line, row)
    return row


def _check_characters(path, line, row):
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise DataError(
            f"{path}, line {line}: a string holds half of a surrogate pair, "
            f"which is no character. Received: {half}. Write both halves, or "
            "the character itself in UTF-8."
        ) from error
