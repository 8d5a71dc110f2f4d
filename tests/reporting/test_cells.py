import math

import numpy as np
import pytest

from kbig.reporting import cells
from kbig.reporting.cells import Bytes
from kbig.reporting.cells import Percent
from kbig.reporting.cells import Ratio
from kbig.reporting.cells import Seconds
from kbig.reporting.cells import format_cell


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        (0, "0"),
        (-1234567, "-1,234,567"),
        (np.int64(22_600_000), "22,600,000"),
        (0.0, "0"),
        (1 / 3, "0.3333"),
        (0.93, "0.93"),
        (12345.6, "12,346"),
        (999.96, "1,000"),
        (0.00099996, "0.001"),
        (0.00071, "0.00071"),
        (1.2345e-6, "1.234e-6"),
        (1e-6, "1e-6"),
        (-2.5e20, "-2.5e20"),
        (np.float32(0.5), "0.5"),
        (math.nan, "nan"),
        (-math.inf, "-∞"),
    ],
)
def test_plain_numbers(value, text):
    assert format_cell(value) == text


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (16_384, "16.38 kB"),
        (999_960, "1 MB"),
        (90_312_444, "90.31 MB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_sizes_change_unit_at_a_thousand(size, text):
    assert format_cell(Bytes(size)) == text


@pytest.mark.parametrize(
    "duration, text",
    [
        (0, "0 s"),
        (2.5e-5, "25 µs"),
        (0.00099996, "1 ms"),
        (0.0271, "27.1 ms"),
        (0.99996, "1 s"),
        (59.99, "59.99 s"),
        (59.996, "1 min 00 s"),
        (200.4, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (7 * 3600 + 5 * 60, "7 h 05 min"),
        (math.nan, "nan"),
    ],
)
def test_durations_change_unit_after_rounding(duration, text):
    assert format_cell(Seconds(duration)) == text


def test_fractions_and_factors():
    assert format_cell(Percent(0.93411)) == "93.41 %"
    assert format_cell(Percent(1)) == "100.00 %"
    assert format_cell(Ratio(1.08)) == "1.08×"


def test_numbers_with_a_unit_stay_numbers():
    assert Bytes(1000) + Bytes(500) == 1500
    assert min(Seconds(2.0), Seconds(1.0)) == 1.0


def test_texts_stay_on_one_line_without_control_characters():
    assert format_cell("two\nlines\tand \x1b[31mred\x07") == (
        "two lines and [31mred"
    )
    assert format_cell("half \ud83d a pair") == "half a pair"
    assert format_cell("👩\u200d🔬 مرحبا 日本") == "👩\u200d🔬 مرحبا 日本"


def test_truth_values_and_texts_are_no_numbers():
    numbers = [1, 2.0, Bytes(3), np.float32(4)]
    others = [True, np.bool_(True), "5", None]
    assert all(map(cells.is_number, numbers))
    assert not any(map(cells.is_number, others))
