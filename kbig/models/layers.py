"""What layers consist of."""

import contextlib
import functools
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

import keras


def children(layer: keras.Layer) -> list[keras.Layer]:
    """Lists the layers that a layer holds itself.

    Args:
        layer: any layer or model.

    Returns:
        They, without the layers in them; of a model in its own order.

    Example:
    ```python
    children(keras.layers.Bidirectional(keras.layers.LSTM(4)))  # two LSTMs
    ```
    """
    if isinstance(layer, keras.Model):
        return layer.layers
    return list(layer._flatten_layers(include_self=False, recursive=False))


def unrolled(model: keras.Model) -> contextlib.AbstractContextManager:
    """Lets recurrent layers be traced step by step, without a loop.

    No converter makes integers of the body of a loop.

    Args:
        model: built; it is as before afterwards.

    Returns:
        A context manager.

    Example:
    ```python
    with unrolled(kbig.models.rnn((7, 3))):
        ...  # trace it
    ```
    """
    loops = [x for x in model._flatten_layers() if hasattr(x, "unroll")]
    return held(loops, "unroll", True)


@contextlib.contextmanager
def held(layers: Sequence[keras.Layer], name: str, value) -> Iterator[None]:
    """Lets an attribute of layers have another value for a while.

    Args:
        layers: each is as before afterwards.
        name: of the attribute.
        value: for all of them.

    Returns:
        A context manager.

    Example:
    ```python
    with held([layer], "trainable", False):
        ...  # trace it
    ```
    """
    before = [getattr(layer, name) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, name, value)
        yield
    finally:
        for layer, old in zip(layers, before):
            setattr(layer, name, old)


@contextlib.contextmanager
def calling(layers: Sequence[keras.Layer], call: Callable) -> Iterator[None]:
    """Lets layers compute in another form for a while.

    Args:
        layers: each is as before afterwards.
        call: takes the layer, and what the layer's own `call` does.

    Returns:
        A context manager.

    Example:
    ```python
    with calling([layer], lambda layer, x: x):
        ...  # trace it
    ```
    """
    before = [vars(layer).get("call") for layer in layers]
    for layer in layers:
        # Past Keras, which would track it.
        vars(layer)["call"] = functools.partial(call, layer)
    try:
        yield
    finally:
        for layer, old in zip(layers, before):
            del vars(layer)["call"]
            if old is not None:
                vars(layer)["call"] = old
