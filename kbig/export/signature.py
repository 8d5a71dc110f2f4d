"""One way to call an exported model."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way to call an exported model.

    Args:
        name: its name in the SavedModel, for example `serving_default`.
        inputs: name -> `tf.TensorSpec`, the first dimension free.
        function: takes the inputs by name, returns a dict of named tensors.
        method: the call of TF Serving that it answers.
    """

    name: str
    inputs: dict[str, tf.TensorSpec]
    function: Callable[..., dict[str, tf.Tensor]]
    method: str = tf.saved_model.PREDICT_METHOD_NAME
