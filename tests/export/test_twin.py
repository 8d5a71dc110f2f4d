import keras
import numpy as np
import pytest

from kbig import export
from kbig import models
from kbig import training

BERT = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
BUILDERS = {
    "mlp": lambda: models.mlp((4,), 3),
    "cnn": lambda: models.cnn((8, 8, 1), 3, filters=(4,)),
    "rnn": lambda: models.rnn((5, 2), 3, units=(4,), bidirectional=True),
    "forecaster": lambda: models.forecaster((5, 1), 3, units=(4,)),
    "masked_lm": lambda: models.bert_masked_lm(models.bert(BERT, 20)),
    "bert": lambda: models.bert_classifier(models.bert(BERT, 20), 3),
}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", BUILDERS)
def test_the_twin_is_the_float32_model_with_the_same_weights(name, policy):
    plain = BUILDERS[name]()
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        mixed = BUILDERS[name]()
    finally:
        keras.config.set_dtype_policy(previous)
    mixed.set_weights(plain.get_weights())
    twin = export.float32_twin(mixed)
    dtypes = {layer.compute_dtype for layer in twin._flatten_layers()}
    assert dtypes == {"float32"}
    generator = np.random.default_rng(0)
    inputs = {
        x.name: (
            1 + generator.random((2, *(side or 6 for side in x.shape[1:])))
        ).astype(x.dtype)
        for x in plain.inputs
    }
    inputs = inputs if len(inputs) > 1 else next(iter(inputs.values()))
    np.testing.assert_array_equal(twin(inputs), plain(inputs))
    assert not np.array_equal(mixed(inputs), plain(inputs))


def test_a_float32_model_is_its_own_twin():
    model = models.mlp((4,), 3)
    assert export.float32_twin(model) is model


def test_layers_of_the_callers_own_are_found_again():
    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((3,))
    outputs = Doubling(dtype="mixed_bfloat16")(inputs)
    twin = export.float32_twin(keras.Model(inputs, outputs))
    assert twin(np.ones((1, 3), "float32")).numpy().tolist() == [[2, 2, 2]]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_where_there_is_a_gpu_the_twin_does_without_cudnn(
    cell, bidirectional, monkeypatch
):
    model = models.rnn(
        (5, 2), 3, cell=cell, units=(4, 3), bidirectional=bidirectional
    )
    assert export.float32_twin(model) is model
    monkeypatch.setattr("kbig.export.twin._sees_gpu", lambda: True)
    twin = export.float32_twin(model)
    choices = [
        layer.use_cudnn
        for layer in twin._flatten_layers()
        if hasattr(layer, "use_cudnn")
    ]
    assert len(choices) >= 2 and not any(choices)
    inputs = np.random.default_rng(0).normal(size=(2, 5, 2)).astype("float32")
    np.testing.assert_array_equal(twin(inputs), model(inputs))
    assert export.float32_twin(twin) is twin


def test_the_twin_of_a_fused_model_computes_as_ever():
    model = BUILDERS["bert"]()
    x = {tensor.name: np.ones((2, 4), "int32") for tensor in model.inputs}
    expected = model(x)
    with training.fused(model, "bfloat16"):
        twin = export.float32_twin(model)
        assert not np.array_equal(model(x), expected)
        np.testing.assert_array_equal(twin(x), expected)


def test_a_gpu_changes_nothing_for_other_layers(monkeypatch):
    monkeypatch.setattr("kbig.export.twin._sees_gpu", lambda: True)
    for model in (models.mlp((4,), 3), models.rnn((5, 2), 3, cell="simple")):
        assert export.float32_twin(model) is model


def test_what_a_model_was_compiled_with_need_not_be_found_again():
    def own_loss(labels, outputs):
        return keras.ops.mean(outputs - labels)

    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.mlp((4,), 3)
    finally:
        keras.config.set_dtype_policy(previous)
    model.compile("adam", own_loss)
    assert not export.float32_twin(model).compiled
