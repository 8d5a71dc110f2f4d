"""A model built again from its configuration, with its weights."""

import contextlib
import copy
from collections.abc import Callable
from collections.abc import Iterable

import keras
from keras.src.saving.serialization_lib import ObjectSharingScope

from kbig.models.layers import held
from kbig.writing import scratch

_POLICIES = ("DTypePolicy", "FloatDTypePolicy")


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
    twin = rebuilt(model)
    ```
    """
    twin = built(change(serialized(model)), own_classes(model))
    twin.set_weights(model.get_weights())
    carry_assets(zip(model._flatten_layers(), twin._flatten_layers()))
    settle(twin)
    return twin


def carry_assets(pairs: Iterable[tuple[keras.Layer, keras.Layer]]) -> None:
    """Gives layers what others know beside their weights, as a vocabulary.

    Args:
        pairs: a layer, and a new one of the same configuration. Layers in
            them are pairs of their own.
    """
    for old, new in pairs:
        if not hasattr(old, "save_assets"):
            continue
        with scratch() as folder:
            old.save_assets(folder)
            new.load_assets(folder)


def uncompiled(model: keras.Model) -> contextlib.AbstractContextManager:
    """Lets the configuration of a model leave out what it was compiled with.

    That may be the caller's own, of which Keras can make no configuration.

    Args:
        model: it and the models in it are as before afterwards.

    Returns:
        A context manager.
    """
    models = [x for x in model._flatten_layers() if hasattr(x, "compiled")]
    return held(models, "compiled", False)


def settle(model: keras.Model) -> None:
    """Lets a model that was given weights compute with all of them.

    An adapted `Normalization` computes with what it made of its weights.

    Args:
        model: whose weights were assigned.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def serialized(model: keras.Model) -> dict:
    """The configuration of a model, with which `built` makes another.

    Args:
        model: a built one.

    Returns:
        It, without what the model was compiled with.
    """
    # The scopes keep tied weights tied, as when a file is saved and loaded.
    with ObjectSharingScope(), uncompiled(model):
        return keras.saving.serialize_keras_object(model)


def built(config: dict, classes: dict[str, type] | None = None) -> keras.Model:
    """Builds a model from a configuration.

    Args:
        config: as of `serialized`.
        classes: those that Keras does not know, by name.

    Returns:
        A model with weights of its own.
    """
    # Keras takes apart what it is given.
    config = copy.deepcopy(config)
    with ObjectSharingScope():
        return keras.saving.deserialize_keras_object(
            config, custom_objects=classes
        )


def own_classes(model: keras.Model) -> dict[str, type]:
    """The classes of all layers by name, those of the user included.

    Args:
        model: built.

    Returns:
        Of a layer whose class was exchanged, the class that it had.
    """
    classes = (type(layer) for layer in model._flatten_layers())
    plain = (getattr(x, "float_class", x) for x in classes)
    return {x.__name__: x for x in plain}


def with_float32_policies(config):
    """A configuration in which every layer computes in float32.

    Args:
        config: as of `serialized`.
    """
    if isinstance(config, dict):
        if config.get("class_name") in _POLICIES:
            return {**config, "config": {"name": "float32"}}
        return {k: with_float32_policies(v) for k, v in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(with_float32_policies(v) for v in config)
    return config
