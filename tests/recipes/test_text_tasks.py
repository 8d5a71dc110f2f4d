"""Parts of the text recipes that no whole run shows."""

import dataclasses
import functools
import types

import keras
import numpy as np
import pytest

import kbig
from kbig import data
from kbig import models
from kbig import training
from kbig.errors import UsageError
from kbig.tuning import features
from kbig.tuning import head_on_features
from recipes import common
from recipes import finetune
from recipes import pretrain_mlm
from recipes import pretrain_model
from recipes import text_tasks
from recipes import text_training
from recipes import vocabularies
from recipes.pretrain_data import Corpus

REGRESSION = text_tasks.TASKS["regression"]
HEAD = types.SimpleNamespace(dropout=0.0, pooling="mean")


def regressor(targets):
    keras.utils.set_random_seed(0)
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    return REGRESSION.build(models.bert(size, 20), HEAD, targets, 0)


def trained_on(targets):
    """Predictions after 20 steps, and the losses of these."""
    generator = np.random.default_rng(0)
    model = regressor(targets)
    ids = generator.integers(0, 20, (len(targets), 6)).astype("int32")
    inputs = {"token_ids": ids, "segment_ids": 0 * ids}
    inputs["padding_mask"] = 0 * ids + 1
    optimizer = training.adamw(1e-2, global_clipnorm=1.0)
    text_tasks.compile(REGRESSION, model, optimizer, False)
    history = model.fit(
        inputs, targets, len(targets), epochs=20, verbose=0
    ).history
    return model.predict(inputs, verbose=0)[:, 0], history["loss"]


@pytest.mark.ci
@pytest.mark.parametrize(
    "unit", [1e-4, pytest.param(1e4, marks=pytest.mark.slow)]
)
def test_a_regression_learns_the_same_in_every_unit(unit):
    targets = np.random.default_rng(1).normal(3, 2, 32).astype("float32")
    values, losses = trained_on(targets)
    others, other_losses = trained_on(targets * np.float32(unit))
    assert losses[-1] < 0.5 * losses[0]
    np.testing.assert_allclose(other_losses, losses, rtol=0.02)
    np.testing.assert_allclose(others / unit, values, atol=0.05)


def test_the_head_alone_learns_in_every_unit_too():
    model = regressor(np.array([1e-4, 3e-4], "float32"))
    _, head = head_on_features(model)
    text_tasks.compile(REGRESSION, head, "sgd", False)
    # A deviation of 1e-4; both outputs are off by one of them.
    weights = [np.zeros_like(weight) for weight in head.get_weights()]
    head.set_weights(weights)
    features = np.zeros((2, 16), "float32")
    loss = head.evaluate(features, np.array([1e-4, 3e-4]), verbose=0)[0]
    assert loss == pytest.approx(1.0, rel=1e-4)


TEXTS = ("un café, un élève", "le café de l’élève") * 5


@pytest.mark.parametrize(
    "lowercase, strip_accents, word",
    [(True, None, "cafe"), (True, False, "café"), (False, True, "cafe")],
)
def test_a_new_vocabulary_has_the_accents_of_its_tokenizer(
    lowercase, strip_accents, word
):
    config = pretrain_mlm.Config(
        vocabulary_size=60, lowercase=lowercase, strip_accents=strip_accents
    )
    words = pretrain_model.start(config, Corpus(TEXTS, TEXTS, [])).words
    assert vocabularies.new_vocabulary(TEXTS, config) == (
        words.vocabulary,
        words.lowercase,
        words.strip_accents,
    )
    assert word in words.vocabulary
    ids = data.tokenize(TEXTS, data.tokenizer(*dataclasses.astuple(words)))
    assert words.vocabulary.index("[UNK]") not in ids.flat_values.numpy()


@pytest.mark.ci
def test_a_head_on_features_sees_every_row(tmp_path, monkeypatch):
    lines = [f"{'word ' * (1 + n % 40)}{n},{n % 2}" for n in range(500)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["text,label", *lines]), "utf-8")
    dataset = data.load(str(table))
    vocabulary = data.train_vocabulary(dataset.arrays("train")[0], 60)
    config = finetune.Config(epochs=1, batch_size=8, sequence_length=64)
    material = text_training.Material(
        config, dataset, data.tokenizer(vocabulary)
    )
    computed = []

    def counted(encoder, batches, verbose=0):
        computed.append(sum(len(labels) for _, labels in batches))
        return features(encoder, batches, verbose)

    monkeypatch.setattr(kbig.tuning, "features", counted)
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    start = functools.partial(models.bert, size, len(vocabulary))
    text_training.train(material, start, "frozen", tmp_path)
    sizes = dataset.info.sizes
    assert computed == [sizes["train"], sizes["validation"]]


@pytest.mark.parametrize(
    "rows, replicas, bucketed, batch",
    [
        (1000, 1, True, 128),
        (100, 1, True, 100),
        (1000, 2, True, 128),
        # One of three buckets has 34 of 100 rows or more.
        (100, 2, True, 34),
        (100, 2, False, 100),
        (99, 2, False, 98),
        (7, 4, True, 4),
        (1, 2, True, 2),
    ],
)
def test_a_first_batch_that_replicas_share(rows, replicas, bucketed, batch):
    runtime = types.SimpleNamespace(num_replicas=replicas)
    assert common.shared_batch(128, rows, runtime, bucketed) == batch


@pytest.mark.slow
def test_replicas_validate_on_few_rows(tmp_path):
    lines = [f"{'word ' * (1 + n % 40)}{n},{n % 2}" for n in range(230)]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["text,label", *lines]), "utf-8")
    config = finetune.Config(
        data=str(table),
        strategy="mirrored",
        epochs=1,
        baseline=False,
        out=str(tmp_path / "run"),
    )
    sizes = data.load(str(table)).info.sizes
    assert sizes["validation"] < 128
    assert finetune.run(config).metrics["test_loss"] > 0
    with pytest.raises(UsageError, match="frozen.*--strategy mirrored"):
        finetune.run(
            dataclasses.replace(
                config, method="frozen", out=str(tmp_path / "frozen")
            )
        )
    assert not (tmp_path / "frozen").exists()
