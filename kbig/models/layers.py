"""What layers consist of."""

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
