"""One training of a text model: when it stops, what it weighs."""

import dataclasses
import functools
import types

import numpy as np
import pytest

from kbig import data
from kbig import evaluation
from kbig import models
from recipes import finetune
from recipes import text_training

SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}


@pytest.fixture
def material(tmp_path):
    """Nine in ten are common, and nothing in a text tells which are not."""
    order = np.random.default_rng(0).permutation(400)
    lines = [
        f"text {n},{'common' if m % 10 else 'rare'}"
        for n, m in enumerate(order)
    ]
    path = tmp_path / "table.csv"
    path.write_text("\n".join(["text,label", *lines]), "utf-8")
    dataset = data.load(str(path))
    vocabulary = data.train_vocabulary(dataset.arrays("train")[0], 60)
    config = finetune.Config(
        sequence_length=8, batch_size=64, dropout=0.0, xla="off"
    )
    return text_training.Material(config, dataset, data.tokenizer(vocabulary))


def with_options(material, **options):
    config = dataclasses.replace(material.config, **options)
    return dataclasses.replace(material, config=config)


def train(material, directory, method="full"):
    size = material.tokenizer.vocabulary_size()
    start = functools.partial(models.bert, SIZE, size)
    return text_training.train(material, start, method, directory)


@pytest.mark.ci
@pytest.mark.parametrize(
    "task, method", [("tags", "full"), ("multilabel", "frozen")]
)
def test_the_main_metric_stops_and_chooses_the_epoch(
    task, method, material, tmp_path, monkeypatch
):
    judge = evaluation.TASKS[task]
    curve = [0.1, 0.5, 0.4, 0.45, 0.9, 0.9]
    values, weights = iter(curve), []
    material = with_options(
        material, epochs=len(curve), patience=2, method=method
    )

    def evaluate(outputs, labels, class_names):
        return types.SimpleNamespace(**{judge.metric: next(values)})

    def predict(model, texts, tokenizer, sequence_length):
        return None

    class Watch(evaluation.ValidationMetric):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(self.model.get_weights()[-1])
            super().on_epoch_end(epoch, logs)

    stub = dataclasses.replace(judge, evaluate=evaluate, predict=predict)
    monkeypatch.setitem(evaluation.TASKS, "classification", stub)
    monkeypatch.setattr(evaluation, "ValidationMetric", Watch)
    trial = train(material, tmp_path, method)
    # Two epochs without a better one end it, and the second was the best.
    assert trial.history[f"val_{judge.metric}"] == curve[:4]
    assert len(weights) == 4
    kept = trial.tuning.model.get_weights()[-1]
    np.testing.assert_array_equal(kept, weights[1])
    assert np.abs(kept - weights[3]).max() > 0
    header = (tmp_path / "history.csv").read_text().splitlines()[0]
    assert f"val_{judge.metric}" in header


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("weights, share", [("none", 0.1), ("balanced", 0.5)])
def test_balanced_classes_count_alike(weights, share, material, tmp_path):
    material = with_options(
        material, class_weights=weights, epochs=6, learning_rate=0.01
    )
    trial = train(material, tmp_path)
    # What is best to say of texts that tell nothing.
    probabilities = evaluation.probabilities(trial.outputs)[:, 1]
    assert material.dataset.info.class_names == ("common", "rare")
    assert probabilities.mean() == pytest.approx(share, abs=0.08)


def test_a_learning_rate_is_of_the_method_it_was_given_for():
    model = types.SimpleNamespace(
        get_layer=lambda name: types.SimpleNamespace(output_dim=256)
    )
    config = finetune.Config(method="lora", learning_rate=0.02)
    assert text_training.peak_rate(config, model, "lora") == 0.02
    # Twice as wide as what the defaults are for.
    assert text_training.peak_rate(config, model, "full") == 1e-3 / 4
    config = finetune.Config(method="full", learning_rate=0.02)
    assert text_training.peak_rate(config, model, "full") == 0.02


def test_the_rehearsal_makes_what_the_training_fits(material):
    material = with_options(material, method="lora", rank=3)
    size = material.tokenizer.vocabulary_size()
    start = functools.partial(models.bert, SIZE, size)
    runtime, tuning = text_training.prepared(material, start, "lora")
    assert tuning.options["rank"] == 3
    assert runtime.seed == material.config.seed
    # Two kernels of 16 x 16, and a head of 16 x 2 with biases.
    assert tuning.trainable == 2 * 2 * 16 * 3 + 16 * 2 + 2
