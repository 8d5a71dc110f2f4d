import math

import numpy as np

from kbig import models
from kbig import tuning
from tests.contracts import check_usage_error
from tests.tuning.tiny import WIDTH
from tests.tuning.tiny import classifier
from tests.tuning.tiny import randomize
from tests.tuning.tiny import values

X = np.random.default_rng(2).normal(size=(2, 5, WIDTH))
X = X.astype("float32")


def first_encoder(method):
    model = tuning.prepare(classifier(), method, adapter_dim=3).model
    randomize(model, "adapter_")
    return model.get_layer("transformer_layer_0")


def bottleneck(weights, x, activation):
    down = x @ weights["adapter_down/kernel"] + weights["adapter_down/bias"]
    up = weights["adapter_up/kernel"]
    return activation(down) @ up + weights["adapter_up/bias"]


def test_houlsby_s_comes_before_the_skip_connection():
    encoder = first_encoder("houlsby")
    for layer in (
        encoder._self_attention_dropout,
        encoder._feedforward_dropout,
    ):
        gelu = np.vectorize(lambda x: x * (1 + math.erf(x / 2**0.5)) / 2)
        added = bottleneck(values(layer), X, gelu)
        assert np.abs(added).max() > 0.01
        np.testing.assert_allclose(layer(X), X + added, atol=1e-5)


def test_pfeiffer_s_comes_between_two_norms():
    layer = first_encoder("pfeiffer")._feedforward_layer_norm

    def norm(x):
        mean, deviation = x.mean(-1, keepdims=True), x.std(-1, keepdims=True)
        return (x - mean) / deviation

    added = bottleneck(values(layer), norm(X), lambda x: np.maximum(x, 0))
    assert np.abs(added).max() > 0.01
    np.testing.assert_allclose(layer(X), norm(X + added), atol=1e-5)


def test_encoders_that_normalize_first_have_no_place():
    check_usage_error(
        lambda: tuning.AdaptedEncoder(
            4, "houlsby", intermediate_dim=8, num_heads=2, normalize_first=True
        ),
        "normalize_first=True",
    )


def test_adapters_are_not_lost_on_the_way_to_a_backbone():
    model = tuning.prepare(classifier(), "pfeiffer", adapter_dim=3).model
    check_usage_error(lambda: models.find_bert(model), "adapter", "load_part")
