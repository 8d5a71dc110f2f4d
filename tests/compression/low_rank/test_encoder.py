"""KerasHub's encoders and token embeddings: saved, exported, found again."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from kbig import compression
from kbig import export
from kbig import models
from kbig.runs import Run
from kbig.tuning import prepare
from kbig.tuning.structure import roles
from tests.compression.low_rank.models import BERT_INPUTS
from tests.compression.low_rank.models import MASKED_INPUTS
from tests.compression.low_rank.models import bert
from tests.compression.low_rank.models import of_low_rank
from tests.contracts import check_usage_error

LABELS = np.arange(4)


def classifier():
    return of_low_rank(models.bert_classifier(bert(activation="gelu"), 10))


def test_an_encoder_holds_the_ranks_and_stock_layers():
    smaller = compression.factorize(
        classifier(), rank={"query": 3, "*output_dense": 2}
    )
    encoder = smaller.get_layer("transformer_layer_0")
    assert type(encoder) is compression.FactorizedEncoder
    assert encoder.get_config()["ranks"] == {
        "self_attention_layer/query": 3,
        "feedforward_output_dense": 2,
    }
    query = encoder._self_attention_layer.query_dense
    assert type(query.first) is keras.layers.EinsumDense
    assert query.first.kernel.shape == (16, 3)
    assert query.second.kernel.shape == (3, 2, 8)
    assert type(encoder._self_attention_layer.key_dense) is (
        keras.layers.EinsumDense
    )
    # Nothing of what was replaced is left behind.
    assert sum(w.shape == (16, 2, 8) for w in encoder.weights) == 2
    assert sum(w.shape == (64, 16) for w in encoder.weights) == 0


def test_the_second_projection_of_the_attention_sums_over_heads():
    """The error of a kernel with three axes, by NumPy alone."""
    model = models.bert_classifier(bert(), 10)
    plan = compression.plan_factorization(
        model, rank=4, layers="attention_output"
    )
    (row,) = [x for x in plan.layers if x.rank]
    encoder = model.get_layer("transformer_layer_0")
    kernel = encoder._self_attention_layer.output_dense.kernel.numpy()
    matrix = kernel.astype("float64").reshape(16, 16)
    values = np.linalg.svd(matrix)[1]
    lost = np.sqrt(np.sum(values[4:] ** 2) / np.sum(values**2))
    assert row.relative_error == pytest.approx(lost, rel=1e-9)
    pair = (
        plan.apply()
        .get_layer("transformer_layer_0")
        ._self_attention_layer.output_dense
    )
    product = pair.folded()["kernel"].numpy().reshape(16, 16)
    error = np.linalg.norm(matrix - product) / np.linalg.norm(matrix)
    assert error == pytest.approx(lost, rel=1e-5)


def test_a_frozen_encoder_stays_frozen():
    model = classifier()
    model.get_layer("transformer_layer_0").trainable = False
    smaller = compression.factorize(model, rank=2)
    assert not smaller.get_layer("transformer_layer_0").trainable_variables
    layers = {x.path.split("/")[0] for x in smaller.trainable_variables}
    assert "pooled_dense_in" in layers and "token_embedding" in layers


@pytest.mark.ci
def test_it_trains():
    smaller = compression.factorize(classifier(), rank=2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    smaller.compile(keras.optimizers.Adam(0.01), loss, run_eagerly=True)
    losses = [smaller.train_on_batch(BERT_INPUTS, LABELS) for _ in range(6)]
    assert losses[-1] < 0.9 * losses[0]


def test_fine_tuning_knows_its_pooler_and_refuses_lora():
    smaller = compression.factorize(classifier(), rank=2)
    names = [x.name for x in roles(smaller).pooler]
    assert names == ["pooled_dense_in", "pooled_dense"]
    assert [x.name for x in roles(smaller).head] == ["logits_in", "logits"]
    for method in ("lora", "pfeiffer"):
        check_usage_error(
            lambda method=method: prepare(smaller, method), "FactorizedEncoder"
        )
    trained = prepare(smaller, "frozen").model.trainable_variables
    # 16 * 2 and 2 * 10, and ten biases.
    assert sum(int(np.prod(x.shape)) for x in trained) == 62


@pytest.mark.parametrize("options", [{"rank": 2}, {"rank": 1}])
def test_find_bert_folds_the_factors(options):
    smaller = compression.factorize(classifier(), **options)
    backbone = models.find_bert(smaller)
    assert backbone.count_params() == bert().count_params()
    whole = models.bert_classifier(backbone, 10)
    kernels = [
        x.kernel for x in smaller.layers if x.name in ("logits_in", "logits")
    ]
    head = whole.get_layer("logits")
    head.kernel.assign(kernels[0] @ kernels[1])
    head.bias.assign(smaller.get_layer("logits").bias)
    np.testing.assert_allclose(
        whole(BERT_INPUTS), smaller(BERT_INPUTS), atol=2e-5
    )


def test_a_tied_embedding_is_factorized_both_ways():
    model = of_low_rank(models.bert_masked_lm(bert()))
    smaller = compression.factorize(model, rank=2, layers="token_embedding")
    embedding = smaller.get_layer("token_embedding")
    assert type(embedding) is compression.FactorizedEmbedding
    assert smaller.get_layer("masked_lm").token_embedding is embedding
    saved = 40 * 16 - 2 * (40 + 16)
    assert model.count_params() - smaller.count_params() == saved
    np.testing.assert_allclose(
        smaller(MASKED_INPUTS), model(MASKED_INPUTS), atol=2e-5
    )


def test_packed_reads_a_factorized_model():
    model = of_low_rank(models.bert_masked_lm(bert()))
    rows = {
        **MASKED_INPUTS,
        "text_ids": np.tile([1, 1, 2, 2, 0, 0], (4, 1)),
        "position_ids": np.tile([0, 1, 0, 1, 0, 0], (4, 1)),
    }
    smaller = compression.factorize(model, rank=2)
    np.testing.assert_allclose(
        models.packed(smaller)(rows), models.packed(model)(rows), atol=2e-5
    )


@pytest.mark.parametrize("cap", [None, 0.5])
def test_a_factorized_embedding_is_a_reversible_one(cap):
    whole = keras.layers.ReversibleEmbedding(40, 16, logit_soft_cap=cap)
    whole.build()
    thin = compression.FactorizedEmbedding.of(whole, rank=3)
    thin.build()
    whole.embeddings.assign(thin.folded()["embeddings"])
    ids = np.array([[5, 7, 0]])
    np.testing.assert_allclose(thin(ids), whole(ids), atol=1e-6)
    states = np.random.default_rng(0).normal(size=(2, 3, 16))
    logits = thin(states, reverse=True)
    assert logits.shape == (2, 3, 40)
    np.testing.assert_allclose(logits, whole(states, reverse=True), atol=1e-5)


def test_a_run_loads_it_in_safe_mode(tmp_path):
    smaller = compression.factorize(classifier(), rank=2)
    run = Run.create(tmp_path / "run", "factorize", {})
    run.save_model(smaller)
    loaded = run.load_model()
    np.testing.assert_array_equal(loaded(BERT_INPUTS), smaller(BERT_INPUTS))


SCRIPT = """
import sys
import keras, numpy as np
import kbig
kbig.compression.FactorizedEncoder
model = keras.models.load_model(sys.argv[1])
print(float(model(dict(np.load(sys.argv[2])))[0, 0]))
"""


@pytest.mark.slow
def test_what_the_docstring_names_is_enough_to_load_it(tmp_path):
    smaller = compression.factorize(classifier(), rank=2)
    smaller.save(tmp_path / "model.keras")
    np.savez(tmp_path / "inputs.npz", **BERT_INPUTS)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "model.keras", "inputs.npz"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    expected = float(smaller(BERT_INPUTS)[0, 0])
    got = float(done.stdout.splitlines()[-1])
    assert got == pytest.approx(expected, rel=1e-5)


def test_the_float32_twin_of_mixed_precision_is_factorized():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = classifier()
        smaller = compression.factorize(model, rank=2)
    finally:
        keras.config.set_dtype_policy(previous)
    encoder = smaller.get_layer("transformer_layer_0")
    assert encoder._feedforward_output_dense.first.compute_dtype == "bfloat16"
    twin = export.float32_twin(smaller)
    layers = list(twin._flatten_layers())
    assert {x.compute_dtype for x in layers} == {"float32"}
    np.testing.assert_allclose(
        twin(BERT_INPUTS), export.float32_twin(model)(BERT_INPUTS), atol=2e-5
    )


@pytest.mark.slow
def test_it_is_exported_and_smaller(tmp_path):
    formats = ["savedmodel", "litert-float32"]
    sizes = []
    for name in ("whole", "thin"):
        model = of_low_rank(
            models.bert_classifier(bert(hidden_dim=64, num_heads=2), 10)
        )
        if name == "thin":
            model = compression.factorize(model, rank=2)
        report = export.artefacts(
            model, tmp_path / name, formats, samples=BERT_INPUTS
        )
        assert all(x.largest_difference < 1e-4 for x in report.artefacts)
        sizes.append([x.bytes for x in report.artefacts])
    # Four bytes for each parameter that is gone, at least most of them.
    assert all(thin < 0.6 * whole for whole, thin in zip(*sizes))
