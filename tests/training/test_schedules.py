import math

import keras
import numpy as np
import pytest

from kbig.training import WarmupCosine
from kbig.training import WarmupLinear
from tests.contracts import check_usage_error


@pytest.mark.parametrize(
    "step, rate",
    [(0, 0.0), (5, 0.4), (10, 0.8), (20, 0.625), (30, 0.45), (50, 0.1)],
)
def test_linear(step, rate):
    schedule = WarmupLinear(0.8, warmup_steps=10, total_steps=50, end=0.1)
    # From step 10 on, 0.7 is lost in 40 steps: 0.0175 a step.
    assert float(schedule(step)) == pytest.approx(rate, abs=1e-6)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_cosine(progress):
    schedule = WarmupCosine(0.8, warmup_steps=10, total_steps=50, end=0.2)
    expected = 0.2 + 0.6 * 0.5 * (1 + math.cos(math.pi * progress))
    step = 10 + 40 * progress
    assert float(schedule(step)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("schedule", [WarmupLinear, WarmupCosine])
def test_warmup_and_aftermath(schedule):
    schedule = schedule(0.8, warmup_steps=10, total_steps=50, end=0.2)
    assert float(schedule(0)) == 0.0
    assert float(schedule(9)) == pytest.approx(0.72)
    assert float(schedule(10)) == pytest.approx(0.8)
    assert float(schedule(51)) == pytest.approx(0.2)
    assert float(schedule(10**6)) == pytest.approx(0.2)


@pytest.mark.parametrize("schedule", [WarmupLinear, WarmupCosine])
def test_no_warmup_starts_at_the_peak(schedule):
    assert float(schedule(0.5, 0, 10)(0)) == pytest.approx(0.5)


@pytest.mark.parametrize("schedule", [WarmupLinear, WarmupCosine])
def test_fit_follows_it_and_a_saved_model_keeps_it(schedule, tmp_path):
    schedule = schedule(0.4, warmup_steps=2, total_steps=8, end=0.1)
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False)])
    # The loss is the output itself, so its gradient is the input, 1.
    model.compile(keras.optimizers.SGD(schedule), lambda _, output: output)
    inputs = np.ones((1, 1))
    model.build((None, 1))
    start = model.get_weights()[0].item()
    model.fit(inputs, inputs, epochs=2, verbose=0)
    # Steps 0 and 1 of the warm-up: 0.4 * 0 / 2 + 0.4 * 1 / 2.
    assert start - model.get_weights()[0].item() == pytest.approx(0.2)
    model.compile(model.optimizer, "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    restored = loaded.optimizer.get_config()["learning_rate"]["config"]
    assert restored == schedule.get_config()
    # The next rate is that of step 2, the peak.
    assert float(loaded.optimizer.learning_rate) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        ((0.1, -1, 10), "warmup_steps=-1"),
        ((0.1, 10, 10), "warmup_steps=10, total_steps=10"),
        ((0.0, 1, 10), "peak=0.0"),
        ((0.1, 1, 10, 0.2), "peak=0.1, end=0.2"),
    ],
)
def test_mistakes(arguments, fragment):
    check_usage_error(lambda: WarmupLinear(*arguments), fragment)
