"""TFMOT's schedules, without what importing TFMOT does to a process."""

import importlib
import os
import types

_SWITCH = "TF_USE_LEGACY_KERAS"


def schedules() -> types.ModuleType:
    """Imports the module of TFMOT's schedules.

    TFMOT tells TensorFlow to use Keras 2 for `tf.keras`, which TensorFlow
    decides when that is first touched. So it is touched before, and what
    TFMOT has set is taken back.

    Returns:
        The module, with `PolynomialDecay` and `ConstantSparsity`.

    Example:
    ```python
    schedule = schedules().ConstantSparsity(0.5, begin_step=100)
    ```
    """
    import tensorflow as tf

    tf.keras.__name__  # noqa: B018 (decides which Keras it is)
    before = os.environ.get(_SWITCH)
    try:
        return importlib.import_module(
            "tensorflow_model_optimization.python.core.sparsity.keras."
            "pruning_schedule"
        )
    finally:
        if before is None:
            os.environ.pop(_SWITCH, None)
        else:
            os.environ[_SWITCH] = before
