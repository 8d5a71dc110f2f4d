import numpy as np
import pytest

from kbig.errors import UsageError
from kbig.reporting.series import check_length
from kbig.reporting.series import finite
from kbig.reporting.series import flatten
from kbig.reporting.series import thin


def test_thin_keeps_short_curves_as_they_are():
    x, y = np.arange(600.0), np.arange(600.0) ** 2
    np.testing.assert_array_equal(thin(x, y), (x, y))


def test_thin_keeps_the_ends_and_every_peak():
    x = np.arange(100_000.0)
    y = np.sin(x / 1000)
    y[[12_345, 77_777]] = 50.0, -50.0
    kept_x, kept_y = thin(x, y, limit=200)
    assert len(kept_x) <= 200
    assert {0.0, 12_345.0, 77_777.0, 99_999.0} <= set(kept_x)
    assert (np.diff(kept_x) > 0).all()
    np.testing.assert_array_equal(kept_y, y[kept_x.astype(int)])


@pytest.mark.parametrize("size", [601, 602, 1199, 5000])
def test_thin_holds_its_limit_at_any_length(size):
    x = np.arange(float(size))
    assert 300 <= len(thin(x, np.cos(x))[0]) <= 600


def test_flatten_names_the_history_behind_the_curve():
    curves = flatten({"dense": {"loss": [2, 1]}, "pruned": {"loss": [3]}})
    assert list(curves) == ["loss, dense", "loss, pruned"]
    np.testing.assert_array_equal(curves["loss, dense"], [2.0, 1.0])


@pytest.mark.parametrize(
    "series, x, message",
    [
        ({}, None, "at least one curve"),
        ({"run": {}}, None, "at least one curve"),
        ({"loss": []}, None, r"loss of shape \(0,\)"),
        ({"loss": [[1.0]]}, None, r"loss of shape \(1, 1\)"),
        ({"loss": [1.0, float("nan")]}, None, r"loss\[1\]=nan"),
        ({"loss": ["high"]}, None, "finite numbers"),
        ({"loss": [1, 2], "val_loss": [1]}, None, r"len\(val_loss\)=1"),
        ({"loss": [1, 2]}, [1, 2, 3], r"len\(x\)=3"),
        ({"loss": [1], "run": {"loss": [1]}}, None, "finite numbers"),
    ],
)
def test_flatten_refuses_what_cannot_be_drawn(series, x, message):
    with pytest.raises(UsageError, match=message):
        flatten(series, x)


def test_finite_returns_float64():
    assert finite("loss", [1, 2]).dtype == np.float64


def test_check_length_names_both_lengths():
    with pytest.raises(UsageError, match=r"len\(a\)=1, len\(b\)=2"):
        check_length("a", [1], "b", [1, 2])
