"""A layer built again from its configuration, with the code that it has."""

import inspect
from collections.abc import Iterator

import keras

from kbig.errors import UsageError

# Keras gives the code of a lambda its own globals, in which names are lost.
_REVIVED = "keras.src.utils.python_utils"


def serialized(operation) -> dict:
    """Asks a layer for its configuration.

    Args:
        operation: a layer, a model, or an operation of `keras.ops`.

    Returns:
        What `built_again` takes.

    Raises:
        UsageError: it has none.
    """
    try:
        return keras.saving.serialize_keras_object(operation)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise _cannot_be_built(operation, error) from error


def built_again(operation, config: dict):
    """Builds a layer by a configuration, of its own class.

    Args:
        operation: a layer, or an operation of `keras.ops`. Its class and
            functions need not be known to Keras, nor have names of their own.
        config: of it, changed or not.

    Returns:
        A new one.

    Raises:
        UsageError: Keras cannot build it.

    Example:
    ```python
    layer = keras.layers.Lambda(lambda x: helper(x))
    twin = built_again(layer, serialized(layer))
    assert twin.function is layer.function
    ```
    """
    try:
        # The objects come from this very process, functions included.
        new = keras.saving.deserialize_keras_object(
            config, custom_objects=_own_objects(operation), safe_mode=False
        )
    except (NotImplementedError, TypeError, ValueError) as error:
        raise _cannot_be_built(operation, error) from error
    if isinstance(new, keras.Layer):
        _keep_functions(operation, new)
    return new


def _keep_functions(old, new) -> None:
    """Lets a layer, and those in it, call what the other calls."""
    by_name = {x.name: x for x in new._flatten_layers(include_self=False)}
    pairs = [(old, new)]
    for layer in old._flatten_layers(include_self=False):
        if type(by_name.get(layer.name)) is type(layer):
            pairs.append((layer, by_name[layer.name]))
    for old_layer, new_layer in pairs:
        for name, function in _functions(old_layer):
            # A configuration may have been changed to something else.
            found = getattr(new_layer, name, None)
            if getattr(found, "__name__", "") == function.__name__:
                setattr(new_layer, name, function)
    for layer in new._flatten_layers():
        for name, value in vars(layer).items():
            if inspect.isfunction(value) and value.__module__ == _REVIVED:
                raise _cannot_be_built(old, f"{name} is a lambda.")


def _cannot_be_built(operation, error) -> UsageError:
    first = next(iter(str(error).splitlines()), "")
    return UsageError(
        f"The layer {operation.name} cannot be built again from its "
        f"configuration. Received: a {type(operation).__name__}; {first} "
        "Give its class a `get_config`, and functions names."
    )


def _own_objects(operation) -> dict:
    """What Keras does not know by name: classes and functions of the user."""
    found = {}
    if not isinstance(operation, keras.Layer):
        return found
    for layer in operation._flatten_layers():
        values = [function for _, function in _functions(layer)]
        for value in (type(layer), *values):
            if value.__module__.startswith("keras."):
                continue
            if value.__name__ == "<lambda>":
                continue
            if found.setdefault(value.__name__, value) is not value:
                raise _cannot_be_built(
                    operation, f"two things in it are named {value.__name__}."
                )
    return found


def _functions(layer) -> Iterator[tuple[str, object]]:
    for name, value in vars(layer).items():
        if not inspect.isfunction(value):
            continue
        # Keras puts wrappers of methods into the layer itself.
        is_method = hasattr(keras.Layer, value.__name__)
        if not is_method and not value.__module__.startswith("keras."):
            yield name, value
