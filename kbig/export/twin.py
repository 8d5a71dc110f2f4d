"""The float32 twin: what a runtime without mixed precision should compute."""

from collections.abc import Callable

import keras
import tensorflow as tf
from keras.src.saving.serialization_lib import ObjectSharingScope

_POLICIES = ("DTypePolicy", "FloatDTypePolicy")


def float32_twin(model: keras.Model) -> keras.Model:
    """Returns the same model and weights with every layer in float32.

    A model built under mixed precision converts to casts and Flex ops that
    phones do not run; its twin converts like any float32 model. Where
    TensorFlow sees a GPU, Keras would trace recurrent layers into cuDNN's ops,
    which nothing but a GPU runs; the twin's layers do without.

    Args:
        model: a built Keras model.

    Returns:
        `model` itself when it is in float32 already and would not be traced
        into cuDNN's ops, otherwise a new model.

    Example:
    ```python
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = kbig.models.mlp((4,), 2)
    twin = kbig.export.float32_twin(model)
    ```
    """
    if all(_is_portable(layer) for layer in model._flatten_layers()):
        return model
    twin = rebuilt(model, _with_float32_policies)
    _avoid_cudnn(twin)
    return twin


def rebuilt(
    model: keras.Model, change: Callable[[dict], dict] = lambda config: config
) -> keras.Model:
    """Builds a model again, with its weights and without its optimizer.

    Args:
        model: a built Keras model.
        change: of its serialized configuration.

    Returns:
        A new model that is not compiled: what it was compiled with may be
        the caller's own and need not be found again.

    Example:
    ```python
    copy = rebuilt(model)
    ```
    """
    own_classes = {type(x).__name__: type(x) for x in model._flatten_layers()}
    # The scopes keep tied weights tied, as when a file is saved and loaded.
    with ObjectSharingScope():
        config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    with ObjectSharingScope():
        copy = keras.saving.deserialize_keras_object(
            change(config), custom_objects=own_classes
        )
    copy.set_weights(model.get_weights())
    return copy


def _is_portable(layer) -> bool:
    traces_cudnn = getattr(layer, "use_cudnn", False) and _sees_gpu()
    return layer.dtype_policy.name == "float32" and not traces_cudnn


def _sees_gpu() -> bool:
    return bool(tf.config.list_logical_devices("GPU"))


def _avoid_cudnn(model) -> None:
    """Sets what Keras leaves out of a recurrent layer's configuration."""
    for layer in model._flatten_layers():
        if hasattr(layer, "use_cudnn"):
            layer.use_cudnn = False


def _with_float32_policies(config):
    if isinstance(config, dict):
        if config.get("class_name") in _POLICIES:
            return {**config, "config": {"name": "float32"}}
        return {k: _with_float32_policies(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_with_float32_policies(v) for v in config)
    return config
