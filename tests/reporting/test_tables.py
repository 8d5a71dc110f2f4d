import io

import hypothesis
import numpy as np
import pytest
import rich.cells
import rich.console
from hypothesis import strategies as st

from kbig.errors import UsageError
from kbig.reporting.tables import Bytes
from kbig.reporting.tables import Percent
from kbig.reporting.tables import Table
from kbig.reporting.tables import show
from tests.contracts import check_printed


def artefacts() -> Table:
    return Table(
        "Artefacts",
        ("file", "size", "accuracy"),
        [
            ("a.tflite", Bytes(23_100_000), Percent(0.5)),
            ("longer.onnx", None, Percent(1.0)),
        ],
        note="One thread.",
    )


def test_plain_text_aligns_texts_left_and_numbers_right():
    assert str(artefacts()).splitlines() == [
        "Artefacts",
        "file            size  accuracy",
        "───────────  ───────  ────────",
        "a.tflite     23.1 MB   50.00 %",
        "longer.onnx        –  100.00 %",
        "One thread.",
    ]


def test_columns_line_up_under_wide_characters():
    table = Table("", ("text", "n"), [("日本語", 1), ("👍", 22), ("abc", 333)])
    widths = {rich.cells.cell_len(line) for line in str(table).splitlines()}
    assert widths == {len("日本語") * 2 + 2 + 3}


def test_plain_text_cuts_long_texts_and_json_does_not():
    table = Table("", ("text",), [("x" * 2000,), ("日" * 1000,)])
    lines = str(table).splitlines()
    assert max(map(rich.cells.cell_len, lines)) == 60
    assert lines[2] == "x" * 59 + "…"
    assert table.to_dict()["rows"] == [["x" * 2000], ["日" * 1000]]


def test_to_dict_keeps_raw_numbers():
    assert artefacts().to_dict() == {
        "title": "Artefacts",
        "columns": ["file", "size", "accuracy"],
        "rows": [["a.tflite", 23_100_000, 0.5], ["longer.onnx", None, 1.0]],
        "note": "One thread.",
    }


def test_numeric_columns():
    table = Table(
        "",
        ("numbers", "gaps", "nothing", "mixed", "flags"),
        [(1, None, None, 1, True), (2.0, np.int32(3), None, "2", False)],
    )
    assert table.numeric() == (True, True, False, False, False)


def test_a_table_does_not_change_with_the_rows_it_was_made_of():
    rows = [["a", 1]]
    table = Table("", ["name", "n"], rows)
    rows[0][1] = 2
    rows.append(["b", 3])
    assert table.rows == (("a", 1),)


def test_a_table_without_rows_shows_its_columns():
    assert str(Table("None", ("a", "b"), [])).splitlines() == [
        "None",
        "a  b",
        "─  ─",
    ]


@pytest.mark.parametrize(
    "columns, rows, message",
    [
        ((), [], "at least one column"),
        ("abc", [("a", "b", "c")], "sequence of at least one column"),
        (("a", "b"), [(1, 2), (3,)], r"Row 1 .* 2 columns"),
        (("a",), [([1, 2],)], r"Received: a=\[1, 2\] \(list\) in row 0"),
    ],
)
def test_malformed_tables_are_refused(columns, rows, message):
    with pytest.raises(UsageError, match=message):
        Table("Broken", columns, rows)


def test_show_prints_plain_text_to_a_file():
    file = io.StringIO()
    show(artefacts(), artefacts(), file=file)
    assert file.getvalue() == 2 * f"{artefacts()}\n\n"


def test_a_terminal_shows_every_word_within_its_width():
    console = rich.console.Console(
        file=io.StringIO(), force_terminal=True, width=40, color_system=None
    )
    table = Table(
        "[b]T[/b]", ("text",), [("[red]not markup[/red] " + "w" * 90,)]
    )
    console.print(table)
    printed = console.file.getvalue()
    assert max(map(len, printed.splitlines())) <= 40
    assert "[b]T[/b]" in printed
    assert "[red]not markup[/red]" in printed
    assert printed.count("w") == 90


# C0 with ESC, DEL, C1, and what makes commands of them.
controls = st.sampled_from([*map(chr, [*range(32), *range(127, 160)])])
hostile = st.lists(
    controls | st.sampled_from([*"[]2Jm;0a"]) | st.characters(), max_size=12
).map("".join)


@pytest.mark.ci
@hypothesis.settings(
    max_examples=60, derandomize=True, deadline=None, database=None
)
@hypothesis.given(st.lists(hostile, min_size=4, max_size=4))
def test_no_part_of_a_table_commands_a_terminal(texts):
    title, column, cell, note = texts
    table = Table(title, (column,), [(cell,)], note)
    console = rich.console.Console(
        file=io.StringIO(), force_terminal=True, color_system=None
    )
    console.print(table)
    for printed in (str(table), console.file.getvalue()):
        check_printed(printed)


def test_a_note_keeps_its_lines():
    table = Table("a\nb", ("n",), [(1,)], "One.\n\x1b]0;x\x07Two\x9b.")
    assert str(table).splitlines() == [
        "a b",
        "n",
        "─",
        "1",
        "One.",
        " ]0;x Two .",
    ]
