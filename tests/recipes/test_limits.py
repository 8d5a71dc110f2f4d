"""Fewer training rows: which ones are kept."""

import numpy as np
import pytest

from kbig import data
from kbig.errors import UsageError
from recipes import common
from recipes.limits import drawn_rows


def test_rare_classes_are_kept():
    labels = np.array([0] * 900 + [1] * 99 + [2])
    rows = drawn_rows(labels, 3, 100)
    assert len(np.unique(rows)) == 100
    counts = np.bincount(labels[rows])
    assert counts[2] == 1
    # The others as they are shared out: 9 of 99 rows, and one for sure.
    assert 3 <= counts[1] <= 20
    np.testing.assert_array_equal(rows, drawn_rows(labels, 3, 100))


def test_as_many_rows_as_classes_show_each_once():
    labels = np.repeat(np.arange(40), 25)
    assert sorted(labels[drawn_rows(labels, 40, 40)]) == list(range(40))


def test_classes_of_label_sets_are_kept_and_values_have_none():
    label_sets = np.zeros((500, 3), "float32")
    label_sets[:400, 0] = label_sets[7, 1] = label_sets[450, 2] = 1
    rows = drawn_rows(label_sets, 3, 5)
    assert len(np.unique(rows)) == 5
    assert label_sets[rows].any(axis=0).all()
    values = np.linspace(0, 1, 500).astype("float32")
    rows = drawn_rows(values, 0, 200)
    assert len(np.unique(rows)) == 200
    assert values[rows].mean() == pytest.approx(0.5, abs=0.1)


@pytest.fixture
def table(tmp_path):
    """Sorted by class, the last of which has few rows."""
    names = ["common"] * 300 + ["rare"] * 20
    lines = [f"word {n} {name},{name}" for n, name in enumerate(names)]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["text,label", *lines]), "utf-8")
    return str(path)


def test_limited_texts_are_those_of_the_data(table):
    whole, part = (
        common.load_data(table, ("text",), limit, every_class=True)
        for limit in (0, 10)
    )
    assert part.info.sizes["train"] == 10
    assert part.info.class_names == ("common", "rare")
    texts, labels = part.arrays("train")
    known = dict(zip(*whole.arrays("train")))
    assert [known[text] for text in texts] == labels.tolist()
    assert set(labels) == {0, 1}
    assert part.train.element_spec == whole.train.element_spec
    more = common.load_data(table, ("text",), 10_000, every_class=True)
    assert more.info.sizes == whole.info.sizes
    assert data.load(table).info.sizes == whole.info.sizes


def test_a_limit_below_the_classes_is_refused(table):
    with pytest.raises(UsageError, match="each of the 2 classes. Received"):
        common.load_data(table, ("text",), 1, every_class=True)
    # A corpus has no use for classes.
    found = common.load_data(table, ("corpus", "text"), 1)
    assert found.info.sizes["train"] == 1
