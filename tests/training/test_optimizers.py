import keras
import numpy as np
import pytest

from kbig import models
from kbig.training import Runtime
from kbig.training import adamw
from tests.contracts import check_usage_error


def tiny_bert():
    size = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2}
    return models.bert(size, vocabulary_size=11)


def decay_only(model, optimizer):
    """Takes one step without gradients; each weight's factor."""
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    optimizer.apply([keras.ops.zeros(v.shape) for v in variables], variables)
    return {v.path: float(np.max(v.numpy())) for v in variables}


def test_decays_kernels_and_embeddings_of_bert_only():
    factors = decay_only(tiny_bert(), adamw(0.5, weight_decay=0.1))
    kept = {path for path, factor in factors.items() if factor == 1.0}
    decayed = factors.keys() - kept
    # 2 norms of a layer and 1 of the embeddings; 6 dense layers a layer and
    # the pooler, each with a kernel and a bias; 3 embeddings.
    assert len(kept) == 2 * 3 + 7
    assert len(decayed) == 7 + 3
    assert {path.split("/")[-1] for path in kept} == {"gamma", "beta", "bias"}
    assert {path.split("/")[-1] for path in decayed} == {"kernel", "embeddings"}
    for path in decayed:
        assert factors[path] == pytest.approx(1 - 0.5 * 0.1)


def test_decays_the_same_on_two_replicas():
    runtime = Runtime(strategy="mirrored")
    with runtime.scope():
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2), _norm()]
        )
        # A constant loss has no gradient, and leaves the decay alone.
        model.compile(adamw(0.5, weight_decay=0.1), _constant_loss)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    model.fit(np.ones((4, 3)), np.ones((4, 2)), batch_size=4, verbose=0)
    kernel, bias, gamma, beta = model.get_weights()[:4]
    np.testing.assert_allclose(kernel, 0.95, rtol=1e-6)
    for spared in (bias, gamma, beta):
        np.testing.assert_array_equal(spared, 1.0)


def _norm():
    return keras.layers.LayerNormalization()


def _constant_loss(_, output):
    return 0.0 * keras.ops.sum(output, axis=-1)


def test_a_loaded_optimizer_still_spares_norms(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(adamw(0.5, weight_decay=0.1, global_clipnorm=1.0), "mse")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.global_clipnorm == 1.0
    kernel, bias = decay_only(loaded, loaded.optimizer).values()
    assert kernel == pytest.approx(0.95)
    assert bias == 1.0


def test_negative_decay():
    check_usage_error(lambda: adamw(0.1, -0.1), "weight_decay=-0.1")
