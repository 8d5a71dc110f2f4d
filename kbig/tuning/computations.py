"""What layers compute, beyond what their weights tell."""

import json

import keras
import numpy as np

_ATTRIBUTES = (
    "activation",
    "epsilon",
    "layer_norm_epsilon",
    "normalize_first",
    "scale",
    "offset",
)


def computations(model: keras.Model) -> set[str]:
    """Describes activations, epsilons, and scales and offsets of the output.

    Names, dtypes and dropout make no difference.

    Args:
        model: any model.

    Returns:
        Texts such as "LayerNormalization.epsilon=1e-12", each once.

    Example:
    ```python
    computations(bert("tiny")) - computations(bert("mini"))  # set()
    ```
    """
    found = set()
    for layer in model._flatten_layers():
        for name in _ATTRIBUTES:
            value = getattr(layer, name, None)
            if callable(value):
                value = getattr(value, "__name__", type(value).__name__)
            if value is not None:
                text = json.dumps(np.asarray(value).tolist())
                found.add(f"{type(layer).__name__}.{name}={text}")
    return found
