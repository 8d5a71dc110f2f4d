import re

import numpy as np
import pytest

from kbig.errors import UsageError
from kbig.reporting.confusion_matrix import confusion
from kbig.reporting.svg import PALETTE
from tests.reporting.drawing import filled
from tests.reporting.drawing import points
from tests.reporting.drawing import texts


def shades(drawing: str) -> dict[tuple[int, int], float]:
    """The opacity of each shaded cell by its left and upper edge."""
    return {
        tuple(points(cell).min(axis=0).round().astype(int)): float(
            re.search(r"fill-opacity: ([\d.]+)", cell.get("style"))[1]
        )
        for cell in filled(drawing, PALETTE[0])
    }


def test_counts_stand_in_their_cells_and_shades_are_shares_of_the_row():
    drawing = confusion([[1500, 500], [0, 8]], ["cat", "dog"], "Pets")
    assert texts(drawing)[:2] == ["cat", "dog"]
    assert [text for text in texts(drawing) if text[0].isdigit()] == [
        "1,500",
        "500",
        "0",
        "8",
    ]
    (first, upper), (second, same_row), (same_column, lower) = shades(drawing)
    assert first < second == same_column
    assert upper == same_row < lower
    # Of 64 steps up to 0.75, the one that is next.
    np.testing.assert_allclose(
        list(shades(drawing).values()),
        [0.75 * 1500 / 2000, 0.75 * 500 / 2000, 0.75 * 8 / 8],
        atol=0.75 / 63,
    )


def test_a_class_without_examples_has_no_shade():
    drawing = confusion([[0, 0], [3, 3]], ["none", "some"], "Empty row")
    assert len({upper for _, upper in shades(drawing)}) == 1
    assert len(shades(drawing)) == 2


@pytest.mark.parametrize("classes, counted", [(2, 4), (20, 400), (45, 0)])
def test_counts_are_left_out_where_they_could_not_be_read(classes, counted):
    names = [f"class {index}" for index in range(classes)]
    drawing = confusion(np.eye(classes, dtype="int64"), names, "Many")
    found = texts(drawing)
    assert sum(text in ("0", "1") for text in found) == counted
    assert found.count("class 0") == 2
    assert len(set(found) & set(names)) <= 20


@pytest.mark.parametrize(
    "matrix, names, message",
    [
        ([[1, 2]], ["a", "b"], r"shape \(1, 2\), len\(class_names\)=2"),
        ([[1, 2], [3, 4]], ["a"], r"len\(class_names\)=1"),
        (np.zeros((0, 0), int), [], r"shape \(0, 0\)"),
        ([[0.5, 0.5], [0, 1]], ["a", "b"], "dtype float64"),
        ([[1, -1], [0, 1]], ["a", "b"], "least value -1"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(matrix, names, message):
    with pytest.raises(UsageError, match=message):
        confusion(matrix, names, "Broken")
