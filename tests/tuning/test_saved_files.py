"""What a fresh process must import to load what kbig's classes are in."""

import subprocess
import sys

import numpy as np
import pytest

from kbig import tuning
from kbig.training import WarmupLinear
from kbig.training import adamw
from tests.tuning.tiny import classifier
from tests.tuning.tiny import randomize
from tests.tuning.tiny import rows

SCRIPT = """
import sys
import keras, numpy as np
import kbig
try:
    keras.models.load_model(sys.argv[1])
except TypeError as error:
    print(error)
import kbig.training, kbig.tuning
model = keras.models.load_model(sys.argv[1])
print(type(model.optimizer).__name__, type(model.loss).__name__)
print(model.optimizer.learning_rate.numpy())
inputs = dict(np.load(sys.argv[2]))
print(float(model(inputs)[0, 0]))
"""


@pytest.mark.ci
def test_the_rooms_named_in_the_docstrings_are_enough(tmp_path):
    inputs, _ = rows()
    model = tuning.prepare(classifier(), "lora", rank=2).model
    randomize(model, "lora_b")
    rate = WarmupLinear(0.1, warmup_steps=0, total_steps=5)
    model.compile(adamw(rate), tuning.DistillationLoss())
    model.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", **inputs)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "model.keras", "inputs.npz"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    *error, classes, learning_rate, logit = done.stdout.splitlines()
    assert "Could not locate class" in "".join(error)
    assert classes == "SelectiveAdamW DistillationLoss"
    assert float(learning_rate) == pytest.approx(0.1)
    assert float(logit) == pytest.approx(float(model(inputs)[0, 0]), rel=1e-5)
