import numpy as np
import pytest

from kbig.data import catalog
from kbig.data import series
from kbig.errors import DataError
from kbig.errors import UsageError

OPTIONS = {"past": 4, "every": 2, "horizon": 3, "period": 10}


def write(path, rows, header="time,a,b"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def load(path, **options):
    return catalog.load(path, kind="series", **OPTIONS | options)


@pytest.fixture
def path(tmp_path):
    rows = [f"2024-01-01T{i // 60:02}:{i % 60:02},{i},{-i}" for i in range(60)]
    return write(tmp_path / "s.csv", rows)


@pytest.mark.parametrize(
    "past, every, expected",
    [(6, 2, [-5, -3, -1]), (6, 4, [-5, -1]), (1, 4, [-1])],
)
def test_offsets_end_with_the_newest_step(past, every, expected):
    assert list(series.window_offsets(past, every)) == expected


def test_windows_and_targets_are_the_steps_they_should_be(path):
    data = load(path, value_column=["a", "b"], time_column="time")
    assert data.info.shapes == {"x": (2, 2), "y": (3,)}
    x, y = data.arrays("train")
    # Values are step numbers: the first window is steps 0 and 2.
    np.testing.assert_array_equal(x[0], [[0, 0], [2, -2]])
    np.testing.assert_array_equal(y[0], [3, 4, 5])
    np.testing.assert_array_equal(x[:, -1, 0] + 1, y[:, 0])
    np.testing.assert_array_equal(x[:, 0, 0] + 3, y[:, 0])


def test_targets_lie_in_the_blocks_of_their_split(path):
    data = load(path, value_column="a")
    expected = {
        "train": [*range(3, 28), *range(50, 58)],
        "validation": range(30, 38),
        "test": range(40, 48),
    }
    for split, first in expected.items():
        np.testing.assert_array_equal(data.arrays(split)[1][:, 0], first)
        assert data.info.sizes[split] == len(first)


def test_sea_surface_temperature():
    data = catalog.load("sea-surface-temperature")
    assert data.info.shapes == {"x": (84, 1), "y": (48,)}
    # Weeks 4, 9, .. 54 of 57: 11 weeks of 336 - 48 + 1 targets.
    assert data.info.sizes["test"] == 11 * 289
    x, y = data.arrays("test")
    persistence = np.abs(x[:, -1] - y).mean()
    assert persistence == pytest.approx(0.355, abs=0.003)


def test_test_inputs_hold_no_training_target():
    data = catalog.load("sea-surface-temperature")
    steps = np.arange(19_226)
    block = steps // 336 % 5
    first = steps[(block == 4) & (steps % 336 <= 288)]
    oldest = first + series.window_offsets(336, 4)[0]
    assert len(first) == data.info.sizes["test"]
    assert set(block[oldest]) | set(block[first - 1]) == {3, 4}


@pytest.mark.parametrize(
    "row, value, message",
    [
        (5, "2024-01-01T00:05,x,0", "line 7: 'a' must be a finite number"),
        (5, "2024-01-01T00:05,nan,0", "line 7: 'a' must be a finite"),
        (5, "2024-01-01T00:05,,0", "line 7: 'a' must be a finite"),
        (5, "2024-01-01T00:06,5,0", "line 7: times must rise in even steps"),
        (5, "2024-01-01T00:03,5,0", "line 7: times must rise"),
        (5, "yesterday,5,0", "line 7: expected an ISO 8601 time"),
    ],
)
def test_bad_rows_are_named(path, row, value, message):
    lines = path.read_text().splitlines()
    lines[row + 1] = value
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        load(path, value_column="a", time_column="time")


def test_whole_numbers_too_large_for_a_float_are_named(tmp_path):
    path = write(tmp_path / "s.jsonl", ['{"a": 1%s}' % ("0" * 309)], '{"a": 1}')
    with pytest.raises(DataError, match="line 2: 'a' must be a finite number"):
        load(path, value_column="a")


def test_bad_options_are_named(path):
    with pytest.raises(UsageError, match="every=0"):
        load(path, value_column="a", every=0)
    with pytest.raises(UsageError, match="horizon=11, period=10"):
        load(path, value_column="a", horizon=11)
    with pytest.raises(UsageError, match="needs the option 'value_column'"):
        load(path)
    with pytest.raises(DataError, match="no window is left for test"):
        load(path, value_column="a", period=15)
