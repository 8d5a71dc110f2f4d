"""Processes of artefacts, played by scripts of a few lines."""

import importlib
import os
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig.errors import GateError
from kbig.export import processes
from kbig.export import runtime

# The package has a function of the same name.
litert = importlib.import_module("kbig.export.litert")

ANSWERS = """
import json, os, sys
loaded = {"inputs": {"serving_default": ["text"], "ids": ["x"]}}
print(json.dumps({**loaded, "gpus": os.environ["CUDA_VISIBLE_DEVICES"]}))
sys.stdout.flush()
for line in sys.stdin:
    print(json.dumps({"seconds": json.loads(line)}), flush=True)
"""
HANGS = "import time; time.sleep(60)"
DIES = "import sys; sys.exit('no such op')"
TELLS_GPUS = "import os, sys; sys.exit(os.environ['CUDA_VISIBLE_DEVICES'])"


@pytest.fixture
def play(tmp_path, monkeypatch, own_processes):
    def script(source):
        path = tmp_path / "script.py"
        path.write_text(source)
        monkeypatch.setattr(runtime, "_WORKER", path)
        monkeypatch.setattr(litert, "_CONVERTER", path)

    return script


@pytest.fixture
def started(monkeypatch):
    """The processes that were started."""
    found = []

    class Recorded(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return found


def test_the_environment_hides_gpus_and_keeps_the_rest(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    expected = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    assert processes.cpu_environment() == expected
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


def test_the_worker_has_no_gpu_and_times_the_models_own_inputs(play, tmp_path):
    play(ANSWERS)
    with runtime.artefact_process(tmp_path / "m", 1, ["x"]) as process:
        assert process.loaded["gpus"] == "-1"
        assert process.time(3, 2) == {"time": 3, "rows": 2, "signature": "ids"}


def test_the_converter_has_no_gpu(play, tmp_path):
    play(TELLS_GPUS)
    with pytest.raises(GateError, match="exit status 1.*: -1. Take another"):
        litert._convert(tmp_path, tmp_path / "m.tflite", "float32")


@pytest.mark.parametrize(
    "source, message",
    [(HANGS, "m gave no answer within 0.3 s"), (DIES, "status 1: no such op")],
)
def test_a_process_that_does_not_load_is_ended_and_closed(
    source, message, play, started, tmp_path, monkeypatch
):
    play(source)
    if source == HANGS:
        monkeypatch.setattr(processes, "TIME_LIMIT", 0.3)
    with (
        pytest.raises(GateError, match=message),
        runtime.artefact_process(tmp_path / "m", 1, ["x"]),
    ):
        pass
    (process,) = started
    assert process.returncode is not None
    assert process.stdin.closed and process.stdout.closed


def test_a_process_that_died_in_between_is_reported(play, started, tmp_path):
    play(ANSWERS)
    with (
        pytest.raises(GateError, match="ended with status -9"),
        runtime.artefact_process(tmp_path / "m", 1, ["x"]) as process,
    ):
        started[0].kill()
        started[0].wait()
        process.time(1)


def test_a_conversion_that_hangs_is_ended(play, tmp_path, monkeypatch):
    play(HANGS)
    monkeypatch.setattr(processes, "TIME_LIMIT", 0.3)
    with pytest.raises(GateError, match="m.tflite .* within 0.3 s"):
        litert._convert(tmp_path, tmp_path / "m.tflite", "float32")


@pytest.mark.parametrize(
    "inputs, signature",
    [
        ({"serving_default": ["text"], "ids": ["b", "a"]}, "ids"),
        ({"serving_default": ["a", "b"]}, "serving_default"),
        ({"serving_default": ["text"]}, "serving_default"),
    ],
)
def test_the_models_own_inputs_are_timed(inputs, signature):
    assert runtime.signature_to_time(inputs, ["a", "b"]) == signature


def test_the_reference_is_computed_on_the_cpu():
    devices = []

    class Recording(keras.layers.Layer):
        def call(self, x):
            devices.append(tf.identity(x).device)
            return 2 * x

    inputs = keras.Input((1,), name="x")
    outputs = Recording(name="doubled")(inputs)
    model = keras.Model(inputs, outputs)
    rows = np.arange(300, dtype="float32")[:, None]
    reference = runtime.KerasReference(model, {"x": rows})
    devices.clear()
    with tf.device("CPU:1"):
        doubled = reference.outputs()["doubled"]
    np.testing.assert_array_equal(doubled, 2 * rows)
    assert devices and all(device.endswith("CPU:0") for device in devices)
