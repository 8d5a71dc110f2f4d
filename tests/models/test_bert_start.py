import keras
import numpy as np
import pytest

from kbig import models
from tests.contracts import check_usage_error

SIZE = {"num_layers": 2, "hidden_dim": 32, "num_heads": 2}
PAIRS = 200
LENGTH = 64


def test_what_it_assigns_and_what_it_leaves():
    keras.utils.set_random_seed(0)
    backbone = models.bert(SIZE, vocabulary_size=20)
    before = {v.path: np.array(v) for v in backbone.weights}
    assert models.mimetic_start(backbone) is backbone
    changed = {
        v.path
        for v in backbone.weights
        if not np.array_equal(v, before[v.path])
    }
    kernels = {
        f"transformer_layer_{layer}/self_attention_layer/{name}/kernel"
        for layer in range(2)
        for name in ("query", "key")
    }
    assert changed == {"position_embedding/embeddings", *kernels}


def test_positions_are_waves():
    backbone = models.mimetic_start(models.bert(SIZE, 20))
    table = backbone.get_layer("position_embedding").position_embeddings
    angles = np.outer(np.arange(512), 1000.0 ** (-np.arange(16) / 16))
    np.testing.assert_allclose(table[:, ::2], 0.056 * np.sin(angles), atol=1e-5)
    np.testing.assert_allclose(
        table[:, 1::2], 0.056 * np.cos(angles), atol=1e-5
    )


def test_a_head_compares_by_scalar_product():
    backbone = models.mimetic_start(models.bert(SIZE, 20))
    heads = []
    for layer in backbone.transformer_layers:
        attention = layer._self_attention_layer
        query = np.array(attention.query_dense.kernel)
        assert np.array_equal(query, attention.key_dense.kernel)
        heads += list(query.transpose(1, 0, 2))
    for number, head in enumerate(heads):
        np.testing.assert_allclose(head.T @ head, np.eye(16), atol=1e-5)
        for other in heads[:number]:
            assert not np.allclose(head, other, atol=0.1)


def test_same_seed_same_start():
    starts = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        starts.append(models.mimetic_start(models.bert(SIZE, 20)).get_weights())
    for first, second in zip(*starts):
        np.testing.assert_array_equal(first, second)


def test_refuses_what_is_no_bert():
    check_usage_error(
        lambda: models.mimetic_start(models.mlp((4,), 2)), "backbone"
    )


def pairs_of_words(rng):
    """Rows of words, every second of which follows from the one before."""
    shares = 1 / np.arange(1, PAIRS + 1)
    first = rng.choice(PAIRS, (32, LENGTH // 2), p=shares / shares.sum())
    ids = np.stack([first + 5, first + 5 + PAIRS], -1).reshape(32, LENGTH)
    places = np.argsort(rng.random(ids.shape), 1)[:, :10]
    hidden = np.take_along_axis(ids, places, 1)
    np.put_along_axis(ids, places, 4, 1)
    inputs = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones_like(ids),
        "mask_positions": places,
    }
    return inputs, hidden


def loss_after_training(backbone, steps=300):
    model = models.bert_masked_lm(backbone)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-5, steps, warmup_target=1e-3, warmup_steps=steps // 10
    )
    model.compile(keras.optimizers.Adam(rate), loss, jit_compile=True)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        model.train_on_batch(*pairs_of_words(rng))
    model.reset_metrics()
    return model.test_on_batch(*pairs_of_words(rng))


@pytest.mark.slow
def test_attention_finds_neighbours_sooner():
    size = {**models.BERT_SIZES["tiny"], "dropout": 0.0}
    losses = []
    for start in (lambda x: x, models.mimetic_start):
        keras.utils.set_random_seed(0)
        losses.append(loss_after_training(start(models.bert(size, 405))))
    shares = 1 / np.arange(1, PAIRS + 1)
    shares /= shares.sum()
    # What a model loses that reads nothing but the place of a token.
    unread = -(shares * np.log(shares)).sum()
    assert losses[0] > unread - 0.1
    assert losses[1] < unread - 0.7
