"""New tokens: where they start, and that nothing else changes."""

import keras
import numpy as np
import pytest

from kbig import models
from tests.contracts import check_usage_error

SIZE = {
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 2,
    "max_sequence_length": 8,
    "activation": "gelu",
    "layer_norm_epsilon": 1e-3,
}
IDS = np.array([[2, 7, 9, 3, 0]])
INPUTS = {
    "token_ids": IDS,
    "segment_ids": np.zeros_like(IDS),
    "padding_mask": (IDS > 0).astype("int32"),
}


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    return models.bert(SIZE, 20)


def states(backbone, **inputs):
    given = {**INPUTS, **inputs}
    return backbone.predict(given, verbose=0)["sequence_output"]


def test_old_tokens_give_what_they_gave(backbone):
    larger = models.with_new_tokens(backbone, [[4, 5], [6]])
    assert larger.vocabulary_size == 22
    np.testing.assert_array_equal(states(larger), states(backbone))


def test_a_new_token_is_the_mean_of_its_pieces(backbone):
    old = backbone.token_embedding.embeddings.numpy()
    larger = models.with_new_tokens(backbone, [[4, 5, 5], [6]])
    table = larger.token_embedding.embeddings.numpy()
    np.testing.assert_allclose(table[20], old[[4, 5, 5]].mean(0), rtol=1e-6)
    np.testing.assert_array_equal(table[21], old[6])
    # A token of one piece is that piece, wherever it stands.
    same = np.where(IDS == 9, 6, IDS), np.where(IDS == 9, 21, IDS)
    np.testing.assert_array_equal(
        states(larger, token_ids=same[0]), states(larger, token_ids=same[1])
    )


def test_the_backbone_itself_is_left_alone(backbone):
    before = [w.numpy() for w in backbone.weights]
    larger = models.with_new_tokens(backbone, [[4]])
    for weight in larger.weights:
        weight.assign(weight + 1)
    for old, weight in zip(before, backbone.weights):
        np.testing.assert_array_equal(old, weight.numpy())


@pytest.mark.parametrize("pieces", [[[]], [[20]], [[-1, 3]]])
def test_pieces_that_are_none_are_refused(backbone, pieces):
    check_usage_error(
        lambda: models.with_new_tokens(backbone, pieces),
        "the ids of one or more old ones, below 20",
    )
