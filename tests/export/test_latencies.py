"""Latencies by threads and rows: scripted, and of real artefacts."""

import keras
import numpy as np
import pytest

from kbig import export
from kbig.errors import UsageError

# The package has a function of the same name.
from kbig.export.latencies import in_turns


class Scripted:
    """Takes so many seconds a row."""

    def __init__(self, log, name, seconds):
        self.log, self.name, self.seconds = log, name, seconds

    def time(self, calls, rows):
        self.log.append(self.name)
        return [self.seconds * rows] * calls


def test_turns_are_in_another_order_each_round():
    log = []
    participants = [Scripted(log, x, i + 1) for i, x in enumerate("abc")]
    seconds = in_turns(participants, 8, rows=4)
    assert seconds == [[4] * 8, [8] * 8, [12] * 8]
    rounds = ["".join(log[i : i + 3]) for i in range(6, len(log), 3)]
    assert {"".join(sorted(x)) for x in rounds} == {"abc"}
    assert len(set(rounds)) > 2


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model in two formats."""
    folder = tmp_path_factory.mktemp("latencies")
    inputs = keras.Input((512,), name="x")
    hidden = keras.layers.Dense(512, "relu")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(512)(hidden))
    paths = [folder / "512.tflite", folder / "512.onnx"]
    export.litert(model, paths[0], free=("batch",))
    export.onnx(model, paths[1])
    return model, paths


@pytest.mark.ci
def test_every_artefact_at_every_setting(files):
    model, paths = files
    x = np.random.default_rng(0).normal(size=(5, 512)).astype("float32")
    report = export.verify(model, paths, x, latencies=True, baseline=paths[1])
    found = report.latencies
    assert [(x.threads, x.rows, x.artefact) for x in found.latencies] == [
        (threads, rows, name)
        for threads in (1, 2)
        for rows in (1, 32)
        for name in ("512.tflite", "512.onnx")
    ]
    for each in found.latencies:
        assert each.seconds > 0
        assert (each.ratio == 1) == (each.artefact == "512.onnx")
    assert found.baseline == "512.onnx"
    shown = str(report)
    assert "Ratios are to 512.onnx" in shown and "Load average" in shown
    assert report.to_dict()["latencies"]["latencies"][0]["rows"] == 1


def test_rows_take_their_time(files):
    _, paths = files
    samples = {"x": np.zeros((1, 512), "float32")}
    report = export.latencies(
        paths, samples, threads=[1], rows=[1, 4096], rounds=4
    )
    (alone, _), (many, _) = report.latencies[:2], report.latencies[2:]
    # 4,096 times the products, and a call costs as much as some of them.
    assert many.seconds > 4 * alone.seconds


def test_settings_that_cannot_be_measured(files):
    _, paths = files
    samples = {"x": np.zeros((1, 512), "float32")}
    with pytest.raises(UsageError, match="must be artefacts"):
        export.latencies([], samples)
    with pytest.raises(UsageError, match="one of the artefacts.*missing"):
        export.latencies(paths, samples, baseline="missing.tflite")
    for nothing in ([0], []):
        with pytest.raises(UsageError, match="rows"):
            export.latencies(paths, samples, rows=nothing)
    with pytest.raises(UsageError, match="x are missing"):
        export.latencies(paths, {"y": samples["x"]})
    with pytest.raises(UsageError, match="latencies=True"):
        export.verify(files[0], paths, samples["x"], baseline=paths[0])
