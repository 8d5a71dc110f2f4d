"""TFMOT's schedules, without what importing TFMOT does to a process.

TFMOT tells TensorFlow to use Keras 2 for `tf.keras`, which TensorFlow decides
when that is first touched. So it is touched before, and what TFMOT has set is
taken back.
"""

import importlib
import os

import tensorflow as tf

_SWITCH = "TF_USE_LEGACY_KERAS"
_MODULE = (
    "tensorflow_model_optimization.python.core.sparsity.keras.pruning_schedule"
)

tf.keras.__name__  # noqa: B018 (decides which Keras it is)
_before = os.environ.get(_SWITCH)
_schedules = importlib.import_module(_MODULE)
if _before is None:
    os.environ.pop(_SWITCH, None)
else:
    os.environ[_SWITCH] = _before

ConstantSparsity = _schedules.ConstantSparsity
PolynomialDecay = _schedules.PolynomialDecay
