"""The float32 twin: what a runtime without mixed precision should compute."""

import keras
import tensorflow as tf

from kbig.models.copies import rebuilt
from kbig.models.copies import with_float32_policies


def float32_twin(model: keras.Model) -> keras.Model:
    """Returns the same model and weights with every layer in float32.

    A model built under mixed precision converts to casts and Flex ops that
    phones do not run; its twin converts like any float32 model. Where
    TensorFlow sees a GPU, Keras would trace recurrent layers into cuDNN's ops,
    which nothing but a GPU runs; the twin's layers do without. Within
    `kbig.training.fused` they compute as they would outside.

    Args:
        model: a built Keras model.

    Returns:
        `model` itself when it is in float32 already, would not be traced into
        cuDNN's ops and computes as ever; otherwise a new model.

    Example:
    ```python
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = kbig.models.mlp((4,), 2)
    twin = kbig.export.float32_twin(model)
    ```
    """
    if all(_is_portable(layer) for layer in model._flatten_layers()):
        return model
    twin = rebuilt(model, with_float32_policies)
    _avoid_cudnn(twin)
    return twin


def _is_portable(layer) -> bool:
    traces_cudnn = getattr(layer, "use_cudnn", False) and _sees_gpu()
    # As within `kbig.training.fused`, whose loops no other runtime knows.
    is_altered = "call" in vars(layer)
    is_float32 = layer.dtype_policy.name == "float32"
    return is_float32 and not traces_cudnn and not is_altered


def _sees_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


def _avoid_cudnn(model) -> None:
    """Sets what Keras leaves out of a recurrent layer's configuration."""
    for layer in model._flatten_layers():
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False
