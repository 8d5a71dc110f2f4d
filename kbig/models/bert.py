"""BERT: the backbone in its published sizes, and two heads on it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.models.transformer import check_heads
from kbig.models.transformer import masked_mean

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
_REQUIRED = ("num_layers", "hidden_dim", "num_heads")
_OPTIONAL = ("intermediate_dim", "max_sequence_length", "dropout")


def bert(
    size: str | Mapping = "tiny", vocabulary_size: int = 30522
) -> keras_hub.models.BertBackbone:
    """Builds a BERT backbone with random weights.

    Args:
        size: "tiny", "mini", "small", "medium", "base" or "large"; or a
            mapping with `num_layers`, `hidden_dim` and `num_heads`, and
            optionally `intermediate_dim` (four times `hidden_dim`),
            `max_sequence_length` (512) and `dropout` (0.1).
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
    import keras_hub

    check_positive("vocabulary_size", vocabulary_size)
    return keras_hub.models.BertBackbone(
        vocabulary_size=vocabulary_size,
        **_resolved_size(size),
        name="bert_backbone",
    )


def bert_classifier(
    backbone: keras_hub.models.BertBackbone,
    num_classes: int,
    dropout: float = 0.1,
    pooling: str = "cls",
) -> keras.Model:
    """Puts a classification head on a backbone.

    The backbone is one layer of the model: `find_bert` gets it back, as does
    `model.get_layer(backbone.name)`.

    Args:
        backbone: the encoder, from `bert` or from `from_preset`.
        num_classes: number of logits.
        dropout: fraction of the pooled output to drop in training.
        pooling: "cls" is BERT's: the first token, through the pooler. "mean"
            averages the real tokens, which suits a backbone whose pooler was
            never trained, as after masked language modelling alone; the
            pooler has no part in it and is frozen.

    Returns:
        A `keras.Model` from the backbone's inputs to float32 logits
        `(batch, num_classes)`.

    Raises:
        UsageError: when an argument is out of its range.

    Example:
    ```python
    model = bert_classifier(bert("tiny"), num_classes=3)
    ```

    Reference:
     - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
    """
    _check_backbone(backbone)
    check_positive("num_classes", num_classes)
    check_rate("dropout", dropout)
    check_choice("pooling", pooling, ("cls", "mean"))
    outputs = backbone(backbone.input)
    pooled = outputs["pooled_output"]
    if pooling == "mean":
        mask = backbone.input["padding_mask"]
        pooled = masked_mean(outputs["sequence_output"], mask)
        backbone.get_layer("pooled_dense").trainable = False
    pooled = keras.layers.Dropout(dropout, name="dropout")(pooled)
    logits = _classification_head(num_classes, "logits")(pooled)
    return keras.Model(backbone.input, logits, name="bert_classifier")


def bert_masked_lm(
    backbone: keras_hub.models.BertBackbone,
    next_sentence: bool = False,
    token_frequencies: Sequence[float] | None = None,
) -> keras.Model:
    """Puts the pretraining heads on a backbone.

    The backbone's layers become layers of the model, side by side with the
    head: only then do Keras's saved files keep the head's output weights tied
    to the token embedding. `find_bert` gets the backbone back.

    Args:
        backbone: the encoder, from `bert` or from `from_preset`.
        next_sentence: also predict whether the second segment follows the
            first.
        token_frequencies: share of each id in the corpus, positive. The
            output bias starts at their logarithms; with zeros the first
            hundreds of steps go into learning just that.

    Returns:
        A `keras.Model` from the backbone's inputs and `mask_positions`, int32
        `(batch, predictions)`, to float32 logits
        `(batch, predictions, vocabulary_size)`. With `next_sentence` a dict:
        `masked_lm`, as before, and `next_sentence` `(batch, 2)`.

    Raises:
        UsageError: when `backbone` is not a BERT backbone, or there is not
            one positive frequency an id.

    Example:
    ```python
    model = bert_masked_lm(bert("tiny"))
    ```

    Reference:
     - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805)
    """
    _check_backbone(backbone)
    mask_positions = keras.Input((None,), dtype="int32", name="mask_positions")
    inputs = {**backbone.input, "mask_positions": mask_positions}
    hidden = backbone.output
    head = _masked_lm_head(backbone)
    outputs = head(hidden["sequence_output"], mask_positions)
    if token_frequencies is not None:
        _start_at_frequencies(head, token_frequencies, backbone)
    if next_sentence:
        head = _classification_head(2, "next_sentence")
        pooled = hidden["pooled_output"]
        outputs = {"masked_lm": outputs, "next_sentence": head(pooled)}
    return keras.Model(inputs, outputs, name="bert_masked_lm")


def find_bert(model: keras.Model) -> keras_hub.models.BertBackbone:
    """Gets the backbone out of a model, as to fine-tune what was pretrained.

    Args:
        model: from `bert_classifier` or `bert_masked_lm`, possibly loaded
            from a file.

    Returns:
        The backbone itself where it is a layer of the model; for a masked
        language model a new backbone with a copy of the weights.

    Raises:
        UsageError: when the model holds no BERT.

    Example:
    ```python
    pretrained = bert_masked_lm(bert("tiny"))
    classifier = bert_classifier(find_bert(pretrained), num_classes=3)
    ```
    """
    import keras_hub

    for layer in (model, *model.layers):
        if isinstance(layer, keras_hub.models.BertBackbone):
            return layer
    layers = {layer.name: layer for layer in model.layers}
    encoders = [
        layer
        for layer in model.layers
        if isinstance(layer, keras_hub.layers.TransformerEncoder)
    ]
    if not encoders or "segment_embedding" not in layers:
        raise UsageError(
            "`model` holds no BERT backbone. Received: "
            f"model={model.name!r} with layers {sorted(layers)}. Pass a model "
            "from `bert_classifier` or `bert_masked_lm`."
        )
    return _copied_backbone(layers, encoders)


def _copied_backbone(layers, encoders):
    import keras_hub

    tokens = layers["token_embedding"]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=tokens.input_dim,
        num_layers=len(encoders),
        num_heads=encoders[0].num_heads,
        hidden_dim=tokens.output_dim,
        intermediate_dim=encoders[0].intermediate_dim,
        dropout=encoders[0].dropout,
        max_sequence_length=layers["position_embedding"].sequence_length,
        num_segments=layers["segment_embedding"].input_dim,
        dtype=tokens.dtype_policy,
        name="bert_backbone",
    )
    for layer in backbone.layers:
        if layer.weights:
            # Without a `next_sentence` head nothing has used the pooler.
            source = layers.get(layer.name, layer)
            layer.set_weights(source.get_weights())
    return backbone


def _masked_lm_head(backbone):
    import keras_hub

    return keras_hub.layers.MaskedLMHead(
        token_embedding=backbone.token_embedding,
        intermediate_activation="gelu",
        layer_norm_epsilon=1e-12,
        kernel_initializer=_initializer(),
        dtype="float32",
        name="masked_lm",
    )


def _start_at_frequencies(head, frequencies, backbone) -> None:
    shares = np.asarray(frequencies, "float32")
    if shares.shape != (backbone.vocabulary_size,) or not (shares > 0).all():
        raise UsageError(
            "`token_frequencies` must be one positive number an id, "
            f"{backbone.vocabulary_size} in all. Received: shape "
            f"{shares.shape}, smallest {shares.min(initial=np.inf)}. Add one "
            "to the counts."
        )
    (bias,) = (w for w in head.weights if w.name == "output_bias")
    bias.assign(np.log(shares / shares.sum()))


def _classification_head(num_classes: int, name: str) -> keras.Layer:
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=_initializer(),
        dtype="float32",
        name=name,
    )


def _initializer() -> keras.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)


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
        if key == "dropout":
            check_rate(key, value)
        else:
            check_positive(key, value)
    return resolved


def _check_backbone(backbone) -> None:
    import keras_hub

    if not isinstance(backbone, keras_hub.models.BertBackbone):
        raise UsageError(
            "`backbone` must be a keras_hub BertBackbone. Received: "
            f"backbone={backbone!r}. Build one with `bert`."
        )
