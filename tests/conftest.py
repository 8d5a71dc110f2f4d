"""One configuration of TensorFlow for the session, and which tests are slow."""

import collections
import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from unittest import mock

import keras
import pytest
import tensorflow as tf

from kbig.export import processes
from tests import conversion

# Two devices let MirroredStrategy run without a GPU; TensorFlow fixes them
# at its first operation.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Makes slow what only CI runs each time: `ci`, and all later cases."""
    cases = collections.Counter()
    for item in items:
        first = item.get_closest_marker("first_cases")
        if first is not None:
            name = item.nodeid.partition("[")[0]
            cases[name] += 1
            if cases[name] > first.args[0]:
                item.add_marker("ci")
        if item.get_closest_marker("ci") is not None:
            item.add_marker("slow")


def pytest_collection_finish():
    """Collecting garbage took a fifth of the time: what is imported stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True, scope="session")
def conversions_here():
    """A process for each conversion would take half the time of all tests."""
    with mock.patch.object(processes, "convert", conversion.converted_here):
        yield


@pytest.fixture(scope="module")
def own_processes():
    """For those that are about the processes."""
    with mock.patch.object(processes, "convert", conversion.in_a_process):
        yield


@pytest.fixture(autouse=True)
def seed():
    keras.utils.set_random_seed(0)
