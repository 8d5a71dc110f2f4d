import numpy as np
import pytest

from kbig.compression.names import is_meant
from kbig.compression.structured.selection import count_kept
from kbig.compression.structured.units import UnitTable
from kbig.compression.structured.units import connected


def test_ties_are_transitive_and_pins_reach_all_that_is_tied():
    table = UnitTable()
    a, b, c = table.new(2), table.new(2), table.new(2)
    table.tie(a, b)
    table.tie(b[::-1], c)
    table.pin(c[:1], "first")
    table.pin(a[1:], "second")
    classes = table.classes()
    of_a, of_b, of_c = (classes.class_of[x].tolist() for x in (a, b, c))
    assert of_a == of_b == of_c[::-1]
    assert classes.count() == 2
    assert classes.pinned == {of_a[1]: "first"}


def test_what_shares_a_number_is_connected():
    sets = [[0, 1], [2], [3, 4], [1, 3], [5, 2]]
    assert connected([np.array(x) for x in sets]) == [[0, 2, 3], [1, 4]]


@pytest.mark.parametrize(
    "keep, total, count",
    [(0.5, 5, 3), (0.5, 4, 2), (0.01, 9, 1), (1.0, 7, 7), (1, 7, 1), (3, 7, 3)],
)
def test_count_kept(keep, total, count):
    assert count_kept(keep, total) == count


@pytest.mark.parametrize(
    "pattern, path, fits",
    [
        ("hidden_?", "hidden_0", True),
        ("hidden_?", "hidden_10", False),
        ("rnn", "rnn/lstm_0/forward_lstm_0", True),
        ("lstm_0", "rnn/lstm_0/forward_lstm_0", True),
        ("*forward*", "rnn/lstm_0/forward_lstm_0", True),
        ("rnn/lstm_0", "rnn/lstm_0/forward_lstm_0", True),
        ("lstm", "rnn/lstm_0/forward_lstm_0", False),
        ("Rnn", "rnn", False),
    ],
)
def test_patterns(pattern, path, fits):
    assert is_meant(path, [pattern]) == fits
