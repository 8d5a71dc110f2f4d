"""Two LiteRT files in turns, real ones and processes of a few lines."""

import itertools

import keras
import numpy as np
import pytest

from kbig import export
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export import latency
from kbig.export import latency_worker
from kbig.export import processes


class Ticking:
    """A file that says when it is called."""

    def __init__(self, name, log, seconds):
        self.name, self.log, self.own = name, log, itertools.cycle(seconds)

    def seconds(self):
        self.log.append(self.name)
        return next(self.own)


def test_files_take_turns_and_either_is_first_as_often():
    log = []
    # One call in three is interrupted, and does not count.
    files = [Ticking("a", log, [1, 50, 1]), Ticking("b", log, [2, 2, 90])]
    seconds = latency_worker.timed(files, 4)
    calls = "".join(log)[2:]
    assert calls == "abba" * (len(calls) // 4)
    assert len(calls) == 2 * 3 * 4
    assert seconds == [[1] * 4, [2] * 4]


def test_what_slows_both_does_not_count():
    speed = np.array([1, 1, 7, 1, 9])
    assert latency.paired_ratio(2 * speed, 4 * speed) == 0.5
    # Alone, the last round would say 3.
    assert latency.paired_ratio([1, 1, 3], [1, 1, 1]) == 1.0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Products of 8 and of 1024 rows."""
    folder = tmp_path_factory.mktemp("latency")
    paths = []
    for width in (8, 1024):
        inputs = keras.Input((width,), name="x")
        model = keras.Model(inputs, keras.layers.Dense(width)(inputs))
        paths.append(folder / f"{width}.tflite")
        export.litert(model, paths[-1])
    return paths


@pytest.mark.ci
def test_a_wide_model_takes_longer(files):
    report = export.latency_ratio(files[1], files[0], rounds=6)
    # 16,000 times the products.
    assert report.ratio > 5
    assert report.seconds > report.reference_seconds > 0
    assert str(files[0]) in str(report)
    assert "threads: 1" in str(report) and "6 rounds" in str(report)
    same = export.latency_ratio(files[1], files[1], rounds=20)
    assert same.ratio == pytest.approx(1.0, abs=0.3)


def test_what_cannot_be_timed_is_named(files, tmp_path):
    with pytest.raises(UsageError, match="Received: .*missing.tflite"):
        export.latency_ratio(files[0], tmp_path / "missing.tflite")
    with pytest.raises(UsageError, match="rounds"):
        export.latency_ratio(*files, rounds=0)
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(GateError, match="8.tflite and broken.tflite ended"):
        export.latency_ratio(files[0], broken)


def test_what_hangs_is_ended(files, tmp_path, monkeypatch):
    script = tmp_path / "script.py"
    script.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(latency, "_WORKER", script)
    monkeypatch.setattr(processes, "TIME_LIMIT", 0.3)
    with pytest.raises(GateError, match="longer than 0.3 s to be timed"):
        export.latency_ratio(*files)
