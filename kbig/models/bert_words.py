"""A BERT that learns words of a task as tokens of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kbig.errors import UsageError
from kbig.models.bert import activation_of
from kbig.models.bert import backbone_of
from kbig.models.bert import check_backbone

if TYPE_CHECKING:
    import keras_hub


def with_new_tokens(
    backbone: keras_hub.models.BertBackbone, pieces: Sequence[Sequence[int]]
) -> keras_hub.models.BertBackbone:
    """Builds a copy of a backbone that has more tokens.

    A new token starts as the mean of the old ones that its word was broken
    into, and is trained like any other.

    Args:
        backbone: from `bert`, `kbig.pretrained.load` or `from_preset`.
        pieces: for each new token the ids of old ones.

    Returns:
        A new backbone; new tokens have the ids after the old ones.

    Raises:
        UsageError: when it is no `BertBackbone`, or a new token has no
            pieces, or one that the backbone does not have.

    Example:
    ```python
    larger = with_new_tokens(bert("tiny", 1000), [[17, 4], [8, 5, 9]])
    larger.vocabulary_size  # 1002
    ```

    Reference:
     - [Hong et al., 2021](https://arxiv.org/abs/2110.13434), AVocaDo
     - [Hewitt, 2021](https://nlp.stanford.edu/~johnhew/vocab-expansion.html)
    """
    check_backbone(backbone)
    size = backbone.vocabulary_size
    for ids in pieces:
        if not len(ids) or min(ids) < 0 or max(ids) >= size:
            raise UsageError(
                "A new token starts from the ids of one or more old ones, "
                f"below {size}. Received: {list(ids)}."
            )
    layer = backbone.transformer_layers[0]
    larger = backbone_of(
        activation=activation_of(layer),
        layer_norm_epsilon=layer.layer_norm_epsilon,
        **{**backbone.get_config(), "vocabulary_size": size + len(pieces)},
    )
    for old, new in zip(backbone.weights, larger.weights):
        new.assign(old if old.shape == new.shape else _longer(old, pieces))
    return larger


def _longer(table, pieces) -> np.ndarray:
    old = np.asarray(table)
    means = [old[list(ids)].mean(axis=0) for ids in pieces]
    return np.concatenate([old, means])
