import keras
import numpy as np
import pytest

from kbig import models
from kbig import tuning
from tests.tuning.tiny import classifier
from tests.tuning.tiny import randomize
from tests.tuning.tiny import rows
from tests.tuning.tiny import values

INPUTS, _ = rows()
# How A (inputs, rank) and B (rank, outputs) make the kernel of each.
UPDATES = {
    "query": ("self_attention_layer/query", "ir,rhd->ihd"),
    "key": ("self_attention_layer/key", "ir,rhd->ihd"),
    "value": ("self_attention_layer/value", "ir,rhd->ihd"),
    "output": ("self_attention_layer/attention_output", "hdr,ro->hdo"),
    "intermediate": ("feedforward_intermediate_dense", "ir,ro->io"),
    "feedforward_output": ("feedforward_output_dense", "ir,ro->io"),
}


def tuned(projections, alpha=None):
    model = tuning.prepare(
        classifier(), "lora", rank=2, alpha=alpha, projections=projections
    ).model
    randomize(model, "lora_b")
    return model


@pytest.mark.parametrize("projection", tuning.PROJECTIONS)
def test_the_update_is_that_of_the_paper(projection):
    model = tuned([projection], alpha=6.0)
    weights = values(model)
    path, equation = UPDATES[projection]
    expected = classifier()
    original = expected(INPUTS)
    plain = {}
    for name, value in values(expected).items():
        layer, _, last = name.rpartition("/")
        if layer.endswith(path) and last == "kernel":
            a = weights[f"{layer}/lora_a"].astype("float64")
            b = weights[f"{layer}/lora_b"].astype("float64")
            value = value + 6.0 / 2 * np.einsum(equation, a, b)
        plain[name] = value
    assert len(weights) == len(plain) + 2 * 2
    expected.set_weights(list(plain.values()))
    assert np.abs(model(INPUTS) - original).max() > 1e-3
    np.testing.assert_allclose(
        model(INPUTS), expected(INPUTS), rtol=1e-5, atol=1e-6
    )


def test_merged_is_plain_and_equal(tmp_path):
    model = tuned(tuple(tuning.PROJECTIONS))
    plain = tuning.merged(model)
    assert plain.count_params() == classifier().count_params()
    assert len(plain.trainable_variables) == len(plain.weights)
    assert "Lora" not in plain.to_json()
    np.testing.assert_allclose(
        plain(INPUTS), model(INPUTS), rtol=1e-5, atol=1e-6
    )
    assert tuning.merged(plain) is plain


def test_a_backbone_taken_out_has_the_update():
    model = tuned(("query", "intermediate"))
    found = models.find_bert(model)(INPUTS)["pooled_output"]
    expected = models.find_bert(tuning.merged(model))(INPUTS)["pooled_output"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_start_of_a_is_that_of_the_paper_s_code():
    model = tuning.prepare(classifier(), "lora", projections=["output"]).model
    a = values(model)["transformer_layer_0/" + UPDATES["output"][0] + "/lora_a"]
    # The inputs are 4 heads, 4 wide.
    assert np.abs(a).max() <= 1 / 4
    assert np.std(a) == pytest.approx(1 / 4 / np.sqrt(3), rel=0.2)


def test_exact_gelu_stays():
    model = classifier()
    for layer in model.layers:
        if "transformer_layer" in layer.name:
            layer.activation = keras.activations.gelu
            layer._feedforward_intermediate_dense.activation = (
                keras.activations.gelu
            )
    changed = tuning.prepare(model, "lora").model
    np.testing.assert_allclose(changed(INPUTS), model(INPUTS), rtol=1e-5)
    assert changed.get_layer("transformer_layer_0").activation is (
        keras.activations.gelu
    )
