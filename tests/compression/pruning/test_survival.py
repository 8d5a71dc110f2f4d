"""Exact sparsity of layers within layers, and by movement however it is fit."""

import keras
import numpy as np
import pytest

import kbig
from kbig.compression import Pruner
from tests.compression.pruning.tiny import check_sparse
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import mlp
from tests.compression.pruning.tiny import zeros

SIZE = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2}
IDS = np.random.default_rng(0).integers(5, 30, (32, 6))
INPUTS = {
    "token_ids": IDS,
    "segment_ids": np.zeros_like(IDS),
    "padding_mask": np.ones_like(IDS),
}
LABELS = (IDS[:, 0] > 15).astype(int)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def classifier():
    return kbig.models.bert_classifier(kbig.models.bert(SIZE, 30), 2)


def merged():
    model = kbig.tuning.prepare(classifier(), "lora").model
    model.compile("adam", LOSS)
    model.fit(INPUTS, LABELS, batch_size=8, verbose=0)
    return kbig.tuning.merged(model)


def nested():
    """The backbone is one layer of a model, which is one of another."""
    backbone = kbig.models.bert(SIZE, 30)
    inputs = {
        name: keras.Input((6,), dtype="int32", name=name) for name in INPUTS
    }
    first = backbone(inputs)["sequence_output"][:, 0]
    inner = keras.Model(inputs, first, name="inner")
    return keras.Model(inputs, keras.layers.Dense(2)(inner(inputs)))


@pytest.mark.ci
@pytest.mark.parametrize(
    "build",
    [classifier, nested, pytest.param(merged, marks=pytest.mark.slow)],
)
def test_layers_within_layers_of_a_bert(build):
    model = build()
    model.compile("adam", LOSS)
    pruner = Pruner(0.8)
    options = {"batch_size": 8, "epochs": 2, "verbose": 0}
    model.fit(INPUTS, LABELS, callbacks=[pruner], **options)
    found = [
        weight
        for layer in model._flatten_layers()
        if layer.name.startswith("transformer_layer")
        for weight in layer.weights
        if weight.name == "kernel"
    ]
    assert len(found) == 12
    check_sparse(found, 0.8)
    embeddings = [w for w in model.weights if w.name == "embeddings"]
    assert embeddings
    assert all(zeros(w) == 0 for w in embeddings)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("optimizer", "options"),
    [
        ({}, {"jit_compile": True}),
        ({}, {"jit_compile": False, "steps_per_execution": 5}),
        ({"gradient_accumulation_steps": 4}, {}),
        ({"use_ema": True}, {}),
        ({"use_ema": True, "ema_overwrite_frequency": 5}, {}),
    ],
)
def test_by_movement_however_it_is_trained(optimizer, options):
    model = mlp()
    model.compile(keras.optimizers.Adam(1e-2, **optimizer), "mse", **options)
    fit(model, Pruner(0.7, method="movement"))
    check_sparse([layer.kernel for layer in model.layers], 0.7)
