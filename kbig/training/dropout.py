"""How much is dropped, for the time of one training."""

import contextlib

import keras

from kbig.models.layers import held


def dropout_at(
    model: keras.Model, rate: float
) -> contextlib.AbstractContextManager:
    """Lets the dropout layers of a model drop another share for a while.

    Compile and fit inside: a step that was compiled keeps the rates that it
    was compiled with.

    Args:
        model: built; its rates are as before afterwards.
        rate: of each `Dropout`, but for those of rate 0, which never drop.

    Returns:
        A context manager.

    Example:
    ```python
    with dropout_at(model, 0.0):
        model.compile("adam", "mse")
        model.fit(x, y)
    ```
    """
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dropout) and layer.rate
    ]
    return held(layers, "rate", rate)
