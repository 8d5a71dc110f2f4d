import json

import keras
import numpy as np
import pytest

from kbig import compression
from kbig import models
from kbig.training import Runtime
from tests import contracts
from tests.compression.low_rank.models import BUILDERS
from tests.compression.low_rank.models import FEATURES
from tests.compression.low_rank.models import IMAGES
from tests.compression.low_rank.models import TOKENS
from tests.compression.low_rank.models import of_low_rank

STOCK = (keras.layers.Dense, keras.layers.Embedding, keras.layers.EinsumDense)


def built(name):
    build, inputs, replaced = BUILDERS[name]
    return of_low_rank(build()), inputs, replaced


@pytest.mark.parametrize("name", BUILDERS)
def test_where_nothing_is_lost_the_outputs_stay(name, tmp_path):
    model, inputs, replaced = built(name)
    weights = [np.array(x) for x in model.get_weights()]
    before = model(inputs)
    plan = compression.plan_factorization(model, rank=2)
    assert list(plan.ranks) == replaced
    assert all(x.relative_error < 1e-6 for x in plan.layers)
    smaller = plan.apply()
    assert smaller.count_params() == plan.parameters_after
    assert smaller.count_params() < model.count_params()
    assert np.std(before) > 1e-2
    np.testing.assert_allclose(smaller(inputs), before, atol=2e-5)
    # The model that was given is as it was, bit for bit.
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(model(inputs), before)
    contracts.check_saving(smaller, inputs, tmp_path / "model.keras")


@pytest.mark.parametrize(
    "name", ["mlp", "cnn", "rnn", "forecaster", "transformer-tokens"]
)
def test_all_energy_keeps_the_outputs(name):
    model, inputs, replaced = built(name)
    plan = compression.plan_factorization(model, energy=1.0)
    assert dict.fromkeys(replaced, 2) == plan.ranks
    np.testing.assert_allclose(plan.apply()(inputs), model(inputs), atol=2e-5)


def test_plain_models_become_plain_models():
    for name in ("mlp", "cnn", "rnn", "forecaster"):
        model, _, _ = built(name)
        before = {type(x) for x in model._flatten_layers()}
        smaller = compression.factorize(model, rank=2)
        assert {type(x) for x in smaller._flatten_layers()} <= before | {*STOCK}
        assert smaller.output_names == model.output_names


def test_the_error_of_a_layer_is_what_was_discarded():
    model = models.mlp((20,), 12, hidden_dims=(30,))
    kernel = model.get_layer("hidden_0").kernel.numpy().astype("float64")
    values = np.linalg.svd(kernel)[1]
    plan = compression.plan_factorization(model, rank=5, layers="hidden*")
    smaller = plan.apply()
    product = smaller.get_layer("hidden_0_in").kernel.numpy().astype(
        "float64"
    ) @ smaller.get_layer("hidden_0").kernel.numpy().astype("float64")
    lost = np.sqrt(np.sum(values[5:] ** 2))
    assert np.linalg.norm(kernel - product) == pytest.approx(lost, rel=1e-6)
    spectral = np.linalg.norm(kernel - product, 2)
    assert spectral == pytest.approx(values[5], rel=1e-5)
    hidden, logits = plan.layers
    assert hidden.relative_error == pytest.approx(
        lost / np.linalg.norm(kernel), rel=1e-9
    )
    assert (hidden.parameters_before, hidden.parameters_after) == (600, 250)
    assert logits.kept == "not among the layers chosen"


def test_what_a_layer_was_told_carries_over():
    dense = keras.layers.Dense(
        20,
        activation="tanh",
        kernel_regularizer=keras.regularizers.L2(0.01),
        bias_regularizer="l1",
        activity_regularizer="l2",
        bias_constraint="non_neg",
        dtype="mixed_bfloat16",
        name="x",
    )
    frozen = keras.layers.Dense(20, name="frozen", trainable=False)
    single = keras.layers.Dense(20, name="single")
    model = keras.Sequential([keras.Input((30,)), dense, frozen, single])
    single.kernel.trainable = False
    smaller = compression.factorize(model, rank=3)
    first, second = smaller.get_layer("x_in"), smaller.get_layer("x")
    assert first.dtype_policy.name == second.dtype_policy.name
    assert first.dtype_policy.name == "mixed_bfloat16"
    assert first.activation is keras.activations.linear and not first.use_bias
    assert second.activation is keras.activations.tanh
    for layer in (first, second):
        assert layer.kernel_regularizer.l2 == pytest.approx(0.01)
    assert first.activity_regularizer is None
    assert type(second.activity_regularizer) is keras.regularizers.L2
    assert type(second.bias_regularizer) is keras.regularizers.L1
    assert type(second.bias_constraint) is keras.constraints.NonNeg
    paths = [x.path for x in smaller.trainable_variables]
    names = ["/".join(path.split("/")[-2:]) for path in paths]
    assert names == ["x_in/kernel", "x/kernel", "x/bias", "single/bias"]


def test_masks_go_through_an_embedding():
    model, _, _ = built("rnn")
    smaller = compression.factorize(model, rank=2)
    embedding = smaller.get_layer("embedding_in")
    assert embedding.mask_zero and smaller.get_layer("embedding").use_bias == 0
    # Padding is not read: were the mask lost, longer rows would change.
    padded = np.pad(TOKENS, ((0, 0), (0, 5)))
    np.testing.assert_allclose(smaller(padded), smaller(TOKENS), atol=1e-6)


def test_a_layer_that_is_called_twice_is_called_twice():
    inputs = [keras.Input((20,), name=x) for x in "ab"]
    shared = keras.layers.Dense(20, name="shared")
    outputs = keras.layers.Concatenate()([shared(shared(inputs[0])), inputs[1]])
    model = of_low_rank(keras.Model(inputs, [outputs, shared(inputs[1])]))
    x = [FEATURES.reshape(-1, 12)[:, :10].reshape(-1, 20)[:4] for _ in "ab"]
    smaller = compression.factorize(model, rank=2)
    assert len(smaller.get_layer("shared_in")._inbound_nodes) == 3
    for old, new in zip(model(x), smaller(x)):
        np.testing.assert_allclose(new, old, atol=1e-5)


def test_it_trains_and_can_be_factorized_again():
    model = models.mlp((8, 8, 1), 10, hidden_dims=(32, 16))
    smaller = compression.factorize(model, parameters=0.7)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    smaller.compile(keras.optimizers.Adam(0.01), loss)
    losses = smaller.fit(IMAGES, np.arange(4), epochs=8, verbose=0)
    assert losses.history["loss"][-1] < 0.5 * losses.history["loss"][0]
    again = compression.factorize(smaller, rank=1)
    names = [x.name for x in again.layers]
    assert len(set(names)) == len(names) and "hidden_0_in_1" in names
    assert not again.compiled


@pytest.mark.parametrize("budget", [0.3, 0.5, 0.9, 1500])
def test_a_budget_is_kept_and_used(budget):
    model = models.mlp((8, 8, 1), 10, hidden_dims=(32, 16))
    total = 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    plan = compression.plan_factorization(model, parameters=budget)
    allowed = budget * total if budget < 1 else budget
    assert plan.apply().count_params() == plan.parameters_after <= allowed
    # One rank more of the widest layer would not fit.
    assert plan.parameters_after > allowed - 64 - 32 - 32 - 16


def test_ranks_by_pattern():
    model = models.mlp((8, 8, 1), 10, hidden_dims=(32, 16, 16))
    plan = compression.plan_factorization(
        model, rank={"*_1": 4, "hidden*": 3, "logits": 7}
    )
    assert plan.ranks == {"hidden_0": 3, "hidden_1": 4, "hidden_2": 3}
    # 6 * (16 + 10) is less than 16 * 10, 7 * (16 + 10) is not.
    assert plan.layers[-1].kept == "rank 7 saves nothing: 6 would be the most"


def test_the_plan_prints_and_is_json():
    model, _, _ = built("forecaster")
    plan = compression.plan_factorization(model, rank=2)
    text = str(plan)
    for fragment in ("rnn/outputs", "a recurrent cell", "the whole model"):
        assert fragment in text
    fields = json.loads(json.dumps(plan.to_dict()))
    assert fields["parameters_after"] == plan.parameters_after
    assert fields["layers"][1]["rank"] == 2
    assert "model" not in fields


def test_the_model_s_own_code_is_no_foreign_file():
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Lambda(lambda x: 2 * x),
            keras.layers.Dense(20, name="x"),
        ]
    )
    x = np.ones((2, 20), "float32")
    smaller = compression.factorize(of_low_rank(model), rank=2)
    np.testing.assert_allclose(smaller(x), model(x), atol=1e-5)


@pytest.mark.slow
def test_it_trains_on_replicas():
    runtime = Runtime("mirrored")
    with runtime.scope():
        model = models.mlp((8, 8, 1), 10, hidden_dims=(32,))
        smaller = compression.factorize(model, rank=2)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        smaller.compile(keras.optimizers.Adam(0.01), loss)
    history = smaller.fit(IMAGES, np.arange(4), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
