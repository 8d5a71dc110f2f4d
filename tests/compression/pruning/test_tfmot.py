import subprocess
import sys

import pytest

# In a process of its own: what `tf.keras` is, is decided once.
SCRIPT = """
import os
import kbig

assert type(kbig.compression.PolynomialDecay(0.0, 0.5, 0, 10))
import tensorflow as tf

print(tf.keras.__version__, os.environ.get("TF_USE_LEGACY_KERAS"))
"""


@pytest.mark.ci
def test_its_schedules_leave_the_process_on_keras_3():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=True,
    )
    version, switch = done.stdout.split()
    assert version.startswith("3.")
    assert switch == "None"
