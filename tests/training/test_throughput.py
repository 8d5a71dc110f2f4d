import math
import time

import keras
import numpy as np
import pytest

from kbig.training import Throughput
from kbig.training.throughput import steps_per_second
from tests.contracts import check_usage_error


def replay(throughput, monkeypatch, epochs):
    """Feeds steps that take the given seconds; the logs of each epoch."""
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    throughput.on_train_begin()
    history = []
    for seconds_of_steps in epochs:
        throughput.on_epoch_begin(0)
        for step, seconds in enumerate(seconds_of_steps):
            throughput.on_train_batch_begin(step)
            now += seconds
            throughput.on_train_batch_end(step)
        now += 1000.0  # Validation must not count.
        history.append({})
        throughput.on_epoch_end(0, history[-1])
    return history


def test_steps_per_second():
    marks = [(10.0, 0), (11.0, 1), (12.0, 3)]
    assert steps_per_second(marks) == pytest.approx(3 / 2)
    assert math.isnan(steps_per_second(marks[:1]))


def test_skips_compilation_and_validation(monkeypatch):
    throughput = Throughput(per_step=32, skip_steps=2, window=2)
    first, second = replay(
        throughput, monkeypatch, [[50.0, 9.0, 0.5, 0.5], [0.25] * 4]
    )
    assert first["examples_per_second"] == pytest.approx(32 / 0.5)
    assert second["examples_per_second"] == pytest.approx(32 / 0.25)
    # Windows of two steps: 64 once, 128 twice.
    assert throughput.report() == {"examples_per_second": pytest.approx(128)}


def test_median_shrugs_off_a_stall(monkeypatch):
    throughput = Throughput(per_step=10, skip_steps=0, window=1)
    (logs,) = replay(throughput, monkeypatch, [[1.0, 1.0, 8.0]])
    assert logs["examples_per_second"] == pytest.approx(30 / 10)
    assert throughput.report()["examples_per_second"] == pytest.approx(10)


def test_skips_whole_epochs(monkeypatch):
    throughput = Throughput(per_step=10, skip_steps=3)
    logs = replay(throughput, monkeypatch, [[9.0, 9.0], [9.0, 0.5], [0.5]])
    assert math.isnan(logs[0]["examples_per_second"])
    assert logs[1]["examples_per_second"] == pytest.approx(20)
    assert logs[2]["examples_per_second"] == pytest.approx(20)


def test_share_of_the_peak(monkeypatch):
    throughput = Throughput(
        per_step=2000,
        unit="tokens",
        skip_steps=0,
        flops_per_unit=78.4e6,
        peak_gflops=410,
    )
    (logs,) = replay(throughput, monkeypatch, [[1.0] * 3])
    for report in (logs, throughput.report()):
        assert report["tokens_per_second"] == pytest.approx(2000)
        assert report["matmul_share"] == pytest.approx(2000 * 78.4e6 / 410e9)


def test_too_short_a_run_is_not_a_number(monkeypatch):
    throughput = Throughput(per_step=2)
    replay(throughput, monkeypatch, [[1.0]])
    assert math.isnan(throughput.report()["examples_per_second"])


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_counts_every_step_of_a_fit(steps_per_execution, monkeypatch):
    throughput = Throughput(per_step=4, skip_steps=0)
    ticks = iter(range(1000))
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(ticks)))
    x = np.ones((24, 1))
    history = model.fit(
        x, x, batch_size=4, epochs=2, verbose=0, callbacks=[throughput]
    )
    # One tick an execution, and 6 steps an epoch.
    expected = 4 * steps_per_execution
    assert history.history["examples_per_second"] == [expected] * 2


@pytest.mark.parametrize(
    "options, fragment",
    [
        ({"per_step": 0}, "per_step=0"),
        ({"per_step": 1, "skip_steps": -1}, "skip_steps=-1"),
        ({"per_step": 1, "unit": "words"}, "'examples', 'tokens'"),
        ({"per_step": 1, "window": 0}, "window=0"),
        ({"per_step": 1, "peak_gflops": 410}, "flops_per_unit=None"),
    ],
)
def test_mistakes(options, fragment):
    check_usage_error(lambda: Throughput(**options), fragment)
