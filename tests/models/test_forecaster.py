import keras
import numpy as np
import pytest

from kbig import models
from tests import contracts

WINDOWS = np.random.default_rng(0).normal(12, 2, (8, 6, 2)).astype("float32")


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_shifting_the_values_shifts_the_forecast(cell):
    model = models.forecaster((6, 2), horizon=3, cell=cell, scale=0.5)
    shifted = model.predict(WINDOWS + [5.0, -1.0], verbose=0)
    np.testing.assert_allclose(
        shifted, model.predict(WINDOWS, verbose=0) + 5.0, atol=1e-4
    )


def test_scaling_the_values_scales_the_change():
    small = models.forecaster((6, 1), horizon=3, scale=1.0)
    large = models.forecaster((6, 1), horizon=3, scale=10.0)
    large.set_weights(small.get_weights())
    window = WINDOWS[:, :, :1]
    newest = window[:, -1]
    np.testing.assert_allclose(
        large.predict(10 * window, verbose=0) - 10 * newest,
        10 * (small.predict(window, verbose=0) - newest),
        atol=1e-3,
    )


def test_saving(tmp_path):
    model = models.forecaster((6, 2), horizon=3)
    contracts.check_saving(model, WINDOWS, tmp_path / "model.keras")


@pytest.mark.ci
@pytest.mark.slow
def test_it_learns_a_trend():
    start = np.random.default_rng(0).normal(size=(256, 1))
    slope = np.random.default_rng(1).normal(size=(256, 1))
    series = (start + slope * np.arange(8)).astype("float32")
    model = models.forecaster((6, 1), horizon=2, units=(4,), scale=1.0)
    model.compile(keras.optimizers.Adam(0.02), "mae")
    model.fit(series[:, :6, None], series[:, 6:], epochs=60, verbose=0)
    forecast = model.predict(series[:, :6, None], verbose=0)
    persistence = np.abs(series[:, 5:6] - series[:, 6:]).mean()
    assert np.abs(forecast - series[:, 6:]).mean() < 0.2 * persistence


def test_a_horizon_of_zero_is_refused():
    contracts.check_usage_error(
        lambda: models.forecaster((6, 1), horizon=0), "horizon=0"
    )
