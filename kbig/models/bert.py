"""BERT's backbone, in its published sizes or any other."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING

import keras

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.models.transformer import check_heads

if TYPE_CHECKING:
    import keras_hub

# Layers, width and heads, from https://github.com/google-research/bert.
BERT_SIZES = {
    "tiny": {"num_layers": 2, "hidden_dim": 128, "num_heads": 2},
    "mini": {"num_layers": 4, "hidden_dim": 256, "num_heads": 4},
    "small": {"num_layers": 4, "hidden_dim": 512, "num_heads": 8},
    "medium": {"num_layers": 8, "hidden_dim": 512, "num_heads": 8},
    "base": {"num_layers": 12, "hidden_dim": 768, "num_heads": 12},
    "large": {"num_layers": 24, "hidden_dim": 1024, "num_heads": 16},
}
ACTIVATIONS = ("gelu_approximate", "gelu")
_REQUIRED = ("num_layers", "hidden_dim", "num_heads")


def bert(
    size: str | Mapping = "tiny", vocabulary_size: int = 30522
) -> keras_hub.models.BertBackbone:
    """Builds a BERT backbone with random weights.

    Args:
        size: "tiny", "mini", "small", "medium", "base" or "large"; or a
            mapping with `num_layers`, `hidden_dim` and `num_heads`, and
            optionally `intermediate_dim` (four times `hidden_dim`),
            `max_sequence_length` (512), `num_segments` (2), `dropout` (0.1),
            `layer_norm_epsilon` (1e-12) and `activation`
            ("gelu_approximate", the tanh form; "gelu" is the exact one).
        vocabulary_size: number of token ids.

    Returns:
        A `keras_hub.models.BertBackbone` named "bert_backbone". It maps
        `token_ids`, `segment_ids` and `padding_mask`, each int32
        `(batch, steps)`, to `sequence_output` `(batch, steps, hidden_dim)`
        and `pooled_output` `(batch, hidden_dim)`.

    Raises:
        UsageError: when the size is unknown or out of range.

    Example:
    ```python
    backbone = bert("mini")
    backbone = bert({"num_layers": 1, "hidden_dim": 32, "num_heads": 2})
    ```

    Reference:
     - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
     - [Turc et al., 2019](https://arxiv.org/abs/1908.08962), small sizes
    """
    check_positive("vocabulary_size", vocabulary_size)
    options = _resolved_size(size)
    return backbone_of(vocabulary_size=vocabulary_size, **options)


def backbone_of(
    *,
    activation: str = "gelu_approximate",
    layer_norm_epsilon: float = 1e-12,
    name: str = "bert_backbone",
    **options,
) -> keras_hub.models.BertBackbone:
    """Builds a backbone whose GELU and epsilon are a checkpoint's own.

    KerasHub's has the tanh form of GELU and 1e-12, and writes neither into
    its own configuration. The layers do: what the builders of kbig make out
    of them keeps both in a saved file.

    Args:
        activation: of the feed-forward layers, a name in `ACTIVATIONS`.
        layer_norm_epsilon: of every normalization.
        name: of the backbone.
        **options: of `keras_hub.models.BertBackbone`.

    Returns:
        A `keras_hub.models.BertBackbone`.

    Example:
    ```python
    backbone = backbone_of(
        activation="gelu",
        vocabulary_size=20,
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=64,
    )
    ```
    """
    import keras_hub

    backbone = keras_hub.models.BertBackbone(name=name, **options)
    backbone.embeddings_layer_norm.epsilon = layer_norm_epsilon
    for layer in backbone.transformer_layers:
        if activation == "gelu":
            layer.activation = keras.activations.gelu
            dense = layer._feedforward_intermediate_dense
            dense.activation = keras.activations.gelu
        layer.layer_norm_epsilon = layer_norm_epsilon
        layer._self_attention_layer_norm.epsilon = layer_norm_epsilon
        layer._feedforward_layer_norm.epsilon = layer_norm_epsilon
    return backbone


def activation_of(encoder: keras.Layer) -> str:
    """Tells which form of GELU a transformer layer computes.

    Args:
        encoder: a `keras_hub.layers.TransformerEncoder`.

    Returns:
        A name in `ACTIVATIONS`.

    Raises:
        UsageError: when it is neither.

    Example:
    ```python
    activation_of(bert("tiny").transformer_layers[0])
    ```
    """
    name = getattr(encoder.activation, "__name__", repr(encoder.activation))
    if name not in ACTIVATIONS:
        raise UsageError(
            f"A BERT of kbig computes one of {', '.join(ACTIVATIONS)}. "
            f"Received: {encoder.name} with {name}. Set one of these."
        )
    return name


def check_backbone(backbone) -> None:
    """Raises unless `backbone` is KerasHub's of BERT.

    Args:
        backbone: what was received.

    Raises:
        UsageError: for anything else.
    """
    import keras_hub

    if not isinstance(backbone, keras_hub.models.BertBackbone):
        raise UsageError(
            "`backbone` must be a keras_hub BertBackbone. Received: "
            f"backbone={backbone!r}. Build one with `bert`."
        )


def _check_activation(name: str, value) -> None:
    check_choice(name, value, ACTIVATIONS)


def _check_epsilon(name: str, value) -> None:
    if not isinstance(value, numbers.Real) or not 0 < value < 1:
        raise UsageError(
            f"`{name}` must be a small positive number. "
            f"Received: {name}={value!r}. BERT's is 1e-12."
        )


_OPTIONAL = {
    "intermediate_dim": check_positive,
    "max_sequence_length": check_positive,
    "num_segments": check_positive,
    "dropout": check_rate,
    "layer_norm_epsilon": _check_epsilon,
    "activation": _check_activation,
}


def _resolved_size(size: str | Mapping) -> dict:
    if not isinstance(size, Mapping):
        check_choice("size", size, BERT_SIZES)
        size = BERT_SIZES[size]
    for key in size:
        check_choice("size key", key, (*_REQUIRED, *_OPTIONAL))
    missing = [key for key in _REQUIRED if key not in size]
    if missing:
        raise UsageError(
            f"`size` lacks keys. Received: size={dict(size)}. "
            f"Add {', '.join(missing)}."
        )
    check_heads(size["hidden_dim"], size["num_heads"])
    resolved = {"intermediate_dim": 4 * size["hidden_dim"], **size}
    for key, value in resolved.items():
        check = _OPTIONAL.get(key, check_positive)
        check(key, value)
    return resolved
