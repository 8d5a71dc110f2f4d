"""README's table of builders and formats is what really happens."""

import pathlib

import pytest

from tests.export.matrix import BUILDERS
from tests.export.matrix import COLUMNS
from tests.export.matrix import HEAD
from tests.export.matrix import REFUSALS
from tests.export.matrix import WORKS
from tests.export.matrix import outcome
from tests.export.matrix import trained

README = pathlib.Path(__file__).parents[2] / "README.md"


def printed() -> tuple[dict, list[str]]:
    """Cells by name and column, and the lines below the table."""
    text = README.read_text("utf-8")
    table, _, below = text[text.index(HEAD) :].partition("\n\n")
    rows = [line.strip("| ").split(" | ") for line in table.split("\n")[2:]]
    cells = {
        (name, column): cell
        for name, *cells in rows
        for column, cell in zip(COLUMNS, cells, strict=True)
    }
    return cells, below.partition("\n\n")[0].split("\n")


CELLS, BELOW = printed()
# All of them take a quarter of an hour: `python -m tests.export.matrix`. Each
# builder and each format has a turn here.
SOME = [
    (name, column)
    for i, name in enumerate(BUILDERS)
    for j, column in enumerate(COLUMNS)
    if (i + j) % 5 == 0
]


def test_the_table_is_whole():
    assert [*CELLS] == [(n, c) for n in BUILDERS for c in COLUMNS]
    numbers = {cell for cell in CELLS.values() if cell != WORKS}
    assert numbers == {str(n) for n, _ in enumerate(REFUSALS, 1)}
    assert [
        f"{n}. {meaning}" for n, meaning in enumerate(REFUSALS.values(), 1)
    ] == BELOW
    assert {n for n, _ in SOME} == {*BUILDERS}
    assert {c for _, c in SOME} == {*COLUMNS}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "column"), SOME)
def test_a_cell_is_true(name, column):
    model, x = trained(name)
    assert outcome(model, x, column) == CELLS[name, column]
