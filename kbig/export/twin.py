"""The float32 twin: what a runtime without mixed precision should compute."""

import keras

_POLICIES = ("DTypePolicy", "FloatDTypePolicy")


def float32_twin(model: keras.Model) -> keras.Model:
    """Returns the same model and weights with every layer in float32.

    A model built under mixed precision converts to casts and Flex ops that
    phones do not run; its twin converts like any float32 model.

    Args:
        model: a built Keras model.

    Returns:
        `model` itself when it is in float32 already, otherwise a new model.

    Example:
    ```python
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = kbig.models.mlp((4,), 2)
    twin = kbig.export.float32_twin(model)
    ```
    """
    if all(_in_float32(layer) for layer in model._flatten_layers()):
        return model
    own_classes = {type(x).__name__: type(x) for x in model._flatten_layers()}
    twin = keras.saving.deserialize_keras_object(
        _with_float32_policies(keras.saving.serialize_keras_object(model)),
        custom_objects=own_classes,
    )
    twin.set_weights(model.get_weights())
    return twin


def _in_float32(layer) -> bool:
    return layer.dtype_policy.name == "float32"


def _with_float32_policies(config):
    if isinstance(config, dict):
        if config.get("class_name") in _POLICIES:
            return {**config, "config": {"name": "float32"}}
        return {k: _with_float32_policies(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_with_float32_policies(v) for v in config)
    return config
