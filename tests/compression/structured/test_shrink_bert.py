"""Transformer blocks: heads, feed-forward units, whole encoder layers."""

import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest

from kbig import compression
from kbig import data
from kbig import evaluation
from kbig import export
from kbig import models
from kbig import tuning
from kbig.compression.structured.depth import kept_layers
from kbig.export.twin import float32_twin
from kbig.runs import Run
from tests.compression.structured.silence import check_exact
from tests.compression.structured.silence import outputs
from tests.compression.structured.silence import randomize
from tests.contracts import check_usage_error

SIZE = {
    "num_layers": 4,
    "hidden_dim": 12,
    "num_heads": 3,
    "intermediate_dim": 10,
    "max_sequence_length": 8,
}
INPUTS = {
    "token_ids": np.array([[2, 7, 9, 3, 0], [2, 5, 3, 0, 0]]),
    "segment_ids": np.array([[0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]),
    "padding_mask": np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]),
}
FEED_FORWARD = {"*feedforward*": 0.5}
HEADS = {"*self_attention*": 2}


def backbone():
    return models.bert(SIZE, 20)


def classifier():
    return models.bert_classifier(backbone(), 3)


def test_heads_go_and_keep_their_size():
    plan, smaller = check_exact(classifier(), INPUTS, HEADS)
    encoder = smaller.get_layer("transformer_layer_0")
    assert isinstance(encoder, compression.NarrowEncoder)
    attention = encoder._self_attention_layer
    assert attention._query_dense.kernel.shape == (12, 2, 4)
    assert attention._output_dense.kernel.shape == (2, 4, 12)
    # Of query, key and value a kernel and a bias; of the output a kernel.
    removed = 4 * (3 * (12 * 4 + 4) + 4 * 12)
    assert plan.parameters - plan.parameters_after == removed


def test_a_feed_forward_part_alone_leaves_stock_layers():
    plan, smaller = check_exact(classifier(), INPUTS, FEED_FORWARD)
    kinds = {type(x) for x in smaller.layers if "transformer" in x.name}
    assert kinds == {keras_hub.layers.TransformerEncoder}
    assert plan.parameters - plan.parameters_after == 4 * 5 * (12 + 1 + 12)


@pytest.mark.ci
def test_a_backbone_stays_one_while_its_blocks_are_alike():
    _, smaller = check_exact(backbone(), INPUTS, FEED_FORWARD)
    assert type(smaller) is keras_hub.models.BertBackbone
    assert smaller.intermediate_dim == 5
    _, other = check_exact(backbone(), INPUTS, {"*_0/feedforward*": 0.5})
    assert not isinstance(other, keras_hub.models.BertBackbone)
    assert [x.name for x in other.layers] == [x.name for x in backbone().layers]


def test_a_backbone_keeps_the_activation_and_the_epsilon_of_its_layers():
    size = SIZE | {"activation": "gelu", "layer_norm_epsilon": 0.1}
    check_exact(models.bert(size, 20), INPUTS, FEED_FORWARD)


@pytest.mark.ci
def test_a_backbone_inside_a_model():
    nested = backbone()
    hidden = nested(nested.input)["pooled_output"]
    model = keras.Model(nested.input, keras.layers.Dense(2)(hidden))
    _, smaller = check_exact(model, INPUTS, FEED_FORWARD)
    assert models.find_bert(smaller).intermediate_dim == 5
    _, narrower = check_exact(model, INPUTS, HEADS)
    removed = 4 * (3 * (12 * 4 + 4) + 4 * 12)
    assert model.count_params() - narrower.count_params() == removed


def test_the_pooler_keeps_the_width_of_the_backbone():
    plan = compression.plan_shrink(classifier(), 0.5)
    reasons = {x.layer: x.reason for x in plan.kept_whole}
    assert "pooler" in reasons["pooled_dense"]
    assert "layer normalization" in reasons["transformer_layer_0"]


def test_a_backbone_is_found_in_what_it_can_hold():
    model = classifier()
    smaller = compression.shrink(model, FEED_FORWARD, encoder_layers=2)
    found = models.find_bert(smaller)
    assert (found.num_layers, found.intermediate_dim) == (2, 5)
    again = models.bert_classifier(found, 3)
    again.get_layer("logits").set_weights(
        smaller.get_layer("logits").get_weights()
    )
    np.testing.assert_allclose(
        outputs(again, INPUTS)[0], outputs(smaller, INPUTS)[0], atol=1e-6
    )
    check_usage_error(
        lambda: models.find_bert(compression.shrink(model, HEADS)),
        "(12, 2, 4)",
        "(12, 2, 6)",
    )


@pytest.mark.parametrize("build", [backbone, classifier])
def test_encoder_layers_go_and_the_others_are_numbered_anew(build):
    model = build()
    randomize(model)
    plan = compression.plan_shrink(model, encoder_layers=[0, 3])
    smaller = plan.apply()
    assert type(smaller) is type(model)
    assert plan.encoder_layers == ("transformer_layer_0", "transformer_layer_3")
    # The oracle: a model that is built with two layers.
    expected = models.bert(SIZE | {"num_layers": 2}, 20)
    if build is classifier:
        expected = models.bert_classifier(expected, 3)
    names = {"transformer_layer_1": "transformer_layer_3"}
    for layer in expected.layers:
        source = model.get_layer(names.get(layer.name, layer.name))
        layer.set_weights(source.get_weights())
    assert [x.name for x in smaller.layers] == [x.name for x in expected.layers]
    for found, wanted in zip(
        outputs(smaller, INPUTS), outputs(expected, INPUTS)
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    block = 4 * (12 * 12 + 12) + 12 * 10 + 10 + 10 * 12 + 12 + 4 * 12
    assert plan.parameters - plan.parameters_after == 2 * block


def test_the_weights_are_those_of_when_the_plan_is_carried_out():
    model = classifier()
    plan = compression.plan_shrink(model, FEED_FORWARD, encoder_layers=2)
    randomize(model)
    weights = plan.apply().get_layer("transformer_layer_0").get_weights()
    expected = model.get_layer("transformer_layer_0").get_weights()
    np.testing.assert_array_equal(weights[0], expected[0])


def test_kept_layers_are_spread():
    assert kept_layers(6, 12) == [0, 2, 4, 7, 9, 11]
    assert kept_layers(3, 6) == [0, 3, 5]
    assert kept_layers(1, 4) == [0]
    assert kept_layers([3, 1], 4) == [1, 3]


def test_a_narrow_encoder_with_all_heads_is_the_stock_one():
    stock = keras_hub.layers.TransformerEncoder(10, 3, activation="gelu")
    narrow = compression.NarrowEncoder(
        4, intermediate_dim=10, num_heads=3, activation="gelu"
    )
    x = np.random.default_rng(0).normal(size=(2, 5, 12)).astype("float32")
    mask = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    stock(x), narrow(x)
    stock_names, narrow_names = (
        [weight.path.split("/", 1)[1] for weight in layer.weights]
        for layer in (stock, narrow)
    )
    assert stock_names == narrow_names
    narrow.set_weights(stock.get_weights())
    np.testing.assert_allclose(
        narrow(x, padding_mask=mask), stock(x, padding_mask=mask), atol=1e-6
    )


def test_a_narrow_encoder_is_shrunk_again():
    smaller = compression.shrink(classifier(), HEADS)
    _, smallest = check_exact(smaller, INPUTS, {"*self_attention*": 1})
    encoder = smallest.get_layer("transformer_layer_0")
    assert (encoder.num_heads, encoder.head_dim) == (1, 4)


def test_the_float32_twin_of_a_narrow_model():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        smaller = compression.shrink(classifier(), 0.5)
    finally:
        keras.config.set_dtype_policy("float32")
    encoder = smaller.get_layer("transformer_layer_0")
    assert encoder.compute_dtype == "bfloat16"
    twin = float32_twin(smaller)
    assert twin.get_layer("transformer_layer_0").compute_dtype == "float32"
    np.testing.assert_allclose(
        outputs(twin, INPUTS)[0], outputs(smaller, INPUTS)[0], atol=0.05
    )


@pytest.mark.ci
def test_a_run_directory_holds_a_narrow_model(tmp_path):
    smaller = compression.shrink(classifier(), 0.5)
    run = Run.create(tmp_path / "run", "shrink", {})
    run.save_model(smaller)
    np.testing.assert_array_equal(
        outputs(run.load_model(), INPUTS)[0], outputs(smaller, INPUTS)[0]
    )


@pytest.mark.ci
def test_texts_are_predicted_by_a_narrow_model():
    texts = ["the cat sat", "a tree", "walking and running"]
    vocabulary = data.train_vocabulary(texts * 5, 60)
    tokenizer = data.tokenizer(vocabulary)
    model = models.bert_classifier(models.bert(SIZE, len(vocabulary)), 3)
    smaller = compression.shrink(model, 0.5)
    predicted = evaluation.predict_texts(smaller, texts, tokenizer, 8)
    expected = smaller(data.encode(texts, tokenizer, 8))
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


@pytest.mark.ci
def test_low_rank_updates_need_all_heads():
    smaller = compression.shrink(classifier(), HEADS)
    check_usage_error(lambda: tuning.prepare(smaller, "lora"), "2 heads of 4")
    smaller = compression.shrink(classifier(), FEED_FORWARD)
    assert tuning.prepare(smaller, "lora").model.trainable_weights


@pytest.mark.slow
def test_a_narrow_model_becomes_artefacts(tmp_path):
    smaller = compression.shrink(classifier(), 0.5)
    report = export.artefacts(
        smaller, tmp_path, ["savedmodel", "litert-float32"], samples=INPUTS
    )
    assert len(report.artefacts) == 2


@pytest.mark.slow
def test_a_fresh_process_needs_kbig_compression(tmp_path):
    compression.shrink(classifier(), 0.5).save(tmp_path / "model.keras")
    script = (
        "import keras, kbig.compression\n"
        "model = keras.models.load_model('model.keras')\n"
        "print(model.get_layer('transformer_layer_0').head_dim)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines()[-1] == "4"
