import keras
import keras_hub
import numpy as np
import pytest

from kbig import models
from tests.contracts import check_usage_error

SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
INPUTS = {
    "token_ids": np.array([[2, 7, 9, 3, 0]]),
    "segment_ids": np.array([[0, 0, 1, 1, 0]]),
    "padding_mask": np.array([[1, 1, 1, 1, 0]]),
}


def classifier(**options):
    return models.bert_classifier(models.bert(SIZE | options, 20), 3)


def test_a_backbone_that_is_nested_is_found_as_it_is():
    backbone = models.bert(SIZE, 20)
    assert models.find_bert(backbone) is backbone
    outputs = backbone(backbone.input)["pooled_output"]
    model = keras.Model(backbone.input, keras.layers.Dense(2)(outputs))
    assert models.find_bert(model) is backbone
    copy = models.copied_bert(model)
    assert copy is not backbone
    np.testing.assert_array_equal(
        copy(INPUTS)["pooled_output"], backbone(INPUTS)["pooled_output"]
    )


def test_lora_is_folded_in():
    model = classifier()
    generator = np.random.default_rng(0)
    attention = model.get_layer("transformer_layer_0")._self_attention_layer
    layers = (
        attention.query_dense,
        attention.value_dense,
        model.get_layer("token_embedding"),
    )
    for layer in layers:
        layer.enable_lora(2, lora_alpha=6)
        for name in ("a", "b"):
            for kind in ("kernel", "embeddings"):
                weight = getattr(layer, f"lora_{kind}_{name}", None)
                if weight is not None:
                    weight.assign(generator.normal(size=weight.shape))
    found = models.find_bert(model)
    query = attention.query_dense
    a, b = query.lora_kernel_a.numpy(), query.lora_kernel_b.numpy()
    copied = found.transformer_layers[0]._self_attention_layer.query_dense
    np.testing.assert_allclose(
        copied.kernel,
        query._kernel.numpy() + 6 / 2 * np.tensordot(a, b, 1),
        atol=1e-5,
    )
    logits = models.bert_classifier(found, 3)
    logits.get_layer("logits").set_weights(
        model.get_layer("logits").get_weights()
    )
    np.testing.assert_allclose(logits(INPUTS), model(INPUTS), atol=1e-4)


class Adapted(keras_hub.layers.TransformerEncoder):
    def build(self, inputs_shape):
        super().build(inputs_shape)
        self.added = keras.layers.Dense(inputs_shape[-1], name="added")
        self.added.build(inputs_shape)


def test_what_was_added_to_a_layer_is_not_silently_lost():
    model = classifier()

    def adapted(layer):
        if layer.name != "transformer_layer_0":
            return layer.__class__.from_config(layer.get_config())
        return Adapted.from_config(layer.get_config())

    changed = keras.models.clone_model(model, clone_function=adapted)
    check_usage_error(
        lambda: models.find_bert(changed), "transformer_layer_0", "['added']"
    )


def test_another_dtype_policy_is_asked_for():
    copy = models.copied_bert(classifier(), "mixed_bfloat16")
    assert copy.transformer_layers[0].compute_dtype == "bfloat16"
    assert copy.transformer_layers[0].variable_dtype == "float32"


def test_rounded_weights_are_refused():
    model = classifier()
    model.get_layer("pooled_dense").quantize("int8")
    check_usage_error(lambda: models.find_bert(model), "pooled_dense", "int8")


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_an_activation_that_bert_has_not(activation):
    model = classifier()
    layer = model.get_layer("transformer_layer_0")
    layer.activation = keras.activations.get(activation)
    check_usage_error(lambda: models.find_bert(model), activation)


def test_a_layer_with_a_part_missing_is_named():
    model = classifier()
    layer = model.get_layer("transformer_layer_0")
    layer._feedforward_output_dense.name = "other"
    check_usage_error(
        lambda: models.find_bert(model), "feedforward_output_dense", "other"
    )
