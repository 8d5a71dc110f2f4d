"""Every builder of kbig.models, one contract."""

import keras
import numpy as np
import pytest

from kbig import compression
from kbig import models
from kbig.training.flops import bert_training_flops
from tests import contracts
from tests.compression.structured.silence import check_exact
from tests.compression.structured.silence import layer_at
from tests.compression.structured.silence import outputs
from tests.compression.structured.silence import units_of
from tests.models import test_contract as builders

TWO_LAYERS = {**builders.TINY_BERT, "num_layers": 2}
BUILDERS = {
    **builders.BUILDERS,
    "cnn-dropout": (
        lambda: builders.cnn(dropout=0.5, rescale=1 / 255),
        builders.IMAGES,
        builders.LABELS,
    ),
    "rnn-bidirectional-lstm": (
        lambda: models.rnn((6, 3), 2, units=(4, 6), bidirectional=True),
        builders.FEATURES,
        builders.LABELS,
    ),
    "forecaster": (
        lambda: models.forecaster((6, 3), 2, units=(6,), scale=0.5),
        builders.FEATURES,
        np.zeros((builders.BATCH, 2)),
    ),
    "bert_classifier-mean": (
        lambda: models.bert_classifier(
            models.bert(TWO_LAYERS, 20), 2, pooling="mean"
        ),
        builders.BERT_INPUTS,
        builders.LABELS,
    ),
    "bert": (
        lambda: models.bert(TWO_LAYERS, 20),
        builders.BERT_INPUTS,
        {
            "sequence_output": np.zeros((builders.BATCH, 6, 16)),
            "pooled_output": np.zeros((builders.BATCH, 16)),
        },
    ),
}
every_builder = pytest.mark.parametrize("name", BUILDERS)


@every_builder
def test_the_rest_computes_the_same(name):
    build, inputs, _ = BUILDERS[name]
    plan, smaller = check_exact(build(), inputs)
    assert plan.groups
    for group in plan.groups:
        assert group.units_after == (group.units + 1) // 2
        for path, kept in zip(group.layers, group.kept):
            assert units_of(layer_at(smaller, path)) == len(kept)


@every_builder
def test_keeping_all_changes_nothing(name):
    build, inputs, _ = BUILDERS[name]
    model = build()
    same = compression.shrink(model, keep=1.0)
    assert type(same) is type(model)
    assert [x.name for x in same.layers] == [x.name for x in model.layers]
    for found, expected in zip(outputs(same, inputs), outputs(model, inputs)):
        np.testing.assert_array_equal(found, expected)


# These are quick, and all kinds of layers are among them.
QUICK = {
    "mlp",
    "cnn-residual",
    "cnn-depthwise",
    "rnn-gru",
    "forecaster",
    "bert_classifier",
    "bert_masked_lm",
}


@pytest.mark.parametrize(
    "name",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in BUILDERS
    ],
)
def test_the_smaller_model_trains_and_saves(name, tmp_path):
    build, inputs, targets = BUILDERS[name]
    smaller = compression.shrink(build(), keep=0.5)
    contracts.check_saving(smaller, inputs, tmp_path / "model.keras")
    before = [np.array(x) for x in smaller.trainable_weights]
    is_labels = keras.tree.flatten(targets)[0].dtype.kind == "i"
    loss = builders.cross_entropy(targets) if is_labels else "mse"
    smaller.compile("sgd", loss, run_eagerly=True)
    assert np.isfinite(smaller.train_on_batch(inputs, targets)).all()
    changed = [
        (x != np.asarray(y)).any()
        for x, y in zip(before, smaller.trainable_weights)
    ]
    assert sum(changed) > len(changed) / 2


def test_the_parameters_of_an_mlp_are_those_of_the_formula():
    plan = compression.plan_shrink(models.mlp((7,), 3, (8, 6)), keep=0.5)
    assert plan.parameters == 7 * 8 + 8 + 8 * 6 + 6 + 6 * 3 + 3
    assert plan.parameters_after == 7 * 4 + 4 + 4 * 3 + 3 + 3 * 3 + 3
    assert plan.flops == 2 * (7 * 8 + 8 * 6 + 6 * 3)
    assert plan.flops_after == 2 * (7 * 4 + 4 * 3 + 3 * 3)


def test_the_flops_of_a_cnn_count_every_place_of_a_kernel():
    model = models.cnn((8, 8, 3), 2, filters=(4,), block="residual")
    plan = compression.plan_shrink(model, keep=0.5)

    def flops(width):
        stem = 64 * 9 * 3 * width
        stage = 16 * (width**2 + 9 * width**2 + 9 * width**2)
        return 2 * (stem + stage + 2 * width)

    assert (plan.flops, plan.flops_after) == (flops(4), flops(2))


def test_the_flops_of_an_encoder_are_those_of_training_thirds():
    model = models.transformer(2, vocabulary_size=9, hidden_dim=16)
    plan = compression.plan_shrink(model, keep=1.0, free_dimension=10)
    # Training is once forward and twice backward.
    encoder = bert_training_flops(2, 16, 10) / 3
    assert plan.flops == pytest.approx(10 * encoder + 2 * 16 * 2)
