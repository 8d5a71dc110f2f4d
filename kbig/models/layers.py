"""What layers consist of."""

import contextlib
from collections.abc import Iterator

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


@contextlib.contextmanager
def unrolled(model: keras.Model) -> Iterator[None]:
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
    before = [loop.unroll for loop in loops]
    try:
        for loop in loops:
            loop.unroll = True
        yield
    finally:
        for loop, value in zip(loops, before):
            loop.unroll = value
