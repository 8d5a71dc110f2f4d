"""Heads on BERT: classifiers of texts and of tokens, and pretraining.

The layers of the backbone become layers of the model, side by side with the
head: only then do Keras's saved files keep the activation of the backbone and
the tie between the token embedding and the output of masked language models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.models.arguments import check_choice
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.models.bert import check_backbone
from kbig.models.transformer import masked_mean

if TYPE_CHECKING:
    import keras_hub


def bert_classifier(
    backbone: keras_hub.models.BertBackbone,
    num_classes: int,
    dropout: float = 0.1,
    pooling: str = "cls",
) -> keras.Model:
    """Puts a head for whole texts, or pairs of them, on a backbone.

    The logits serve as well for several labels at once (a sigmoid each) and,
    with `num_classes=1`, as the value of a regression. `find_bert` gets the
    backbone back.

    Args:
        backbone: the encoder, from `bert` or from `from_preset`. The model
            shares its layers.
        num_classes: number of logits.
        dropout: fraction of the pooled output to drop in training.
        pooling: "cls" is BERT's: the first token, through the pooler. "mean"
            averages the real tokens, which suits a backbone whose pooler was
            never trained, as after masked language modelling alone; the
            model then holds no pooler.

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
    check_backbone(backbone)
    check_positive("num_classes", num_classes)
    check_rate("dropout", dropout)
    check_choice("pooling", pooling, ("cls", "mean"))
    if pooling == "mean":
        states = backbone.output["sequence_output"]
        pooled = masked_mean(states, backbone.input["padding_mask"])
    else:
        pooled = backbone.output["pooled_output"]
    pooled = keras.layers.Dropout(dropout, name="dropout")(pooled)
    logits = _classification_head(num_classes, "logits")(pooled)
    return keras.Model(backbone.input, logits, name="bert_classifier")


def bert_token_classifier(
    backbone: keras_hub.models.BertBackbone,
    num_classes: int,
    dropout: float = 0.1,
) -> keras.Model:
    """Puts a head for every token on a backbone, as to tag names in a text.

    Args:
        backbone: the encoder, from `bert` or from `from_preset`. The model
            shares its layers.
        num_classes: number of logits a token.
        dropout: fraction of each token's output to drop in training.

    Returns:
        A `keras.Model` from the backbone's inputs to float32 logits
        `(batch, steps, num_classes)`.

    Raises:
        UsageError: when an argument is out of its range.

    Example:
    ```python
    model = bert_token_classifier(bert("tiny"), num_classes=9)
    ```

    Reference:
     - [Devlin et al., 2019](https://arxiv.org/abs/1810.04805), section 5.3
    """
    check_backbone(backbone)
    check_positive("num_classes", num_classes)
    check_rate("dropout", dropout)
    states = backbone.output["sequence_output"]
    states = keras.layers.Dropout(dropout, name="dropout")(states)
    logits = _classification_head(num_classes, "logits")(states)
    return keras.Model(backbone.input, logits, name="bert_token_classifier")


def bert_masked_lm(
    backbone: keras_hub.models.BertBackbone,
    next_sentence: bool = False,
    token_frequencies: Sequence[float] | None = None,
) -> keras.Model:
    """Puts the pretraining heads on a backbone.

    The output weights are those of the token embedding. The head computes the
    backbone's own form of GELU. `find_bert` gets the backbone back.

    Args:
        backbone: the encoder, from `bert` or from `from_preset`. The model
            shares its layers.
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
    check_backbone(backbone)
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


def _masked_lm_head(backbone):
    import keras_hub

    encoder = backbone.transformer_layers[0]
    return keras_hub.layers.MaskedLMHead(
        token_embedding=backbone.token_embedding,
        intermediate_activation=encoder.activation,
        layer_norm_epsilon=encoder.layer_norm_epsilon,
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
