import keras
import numpy as np
import pytest

from kbig import models

SIZE = {
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 4,
    "max_sequence_length": 6,
}
TEXTS = ([2, 7, 9, 3], [2, 11, 3], [2, 5, 6, 7, 8, 3])
LENGTH = 15  # Longer than the position embedding, and two of padding.


def padded(rows):
    return np.array([row + [0] * (LENGTH - len(row)) for row in rows])


def packed_inputs():
    return {
        "token_ids": padded([sum(TEXTS, [])]),
        "segment_ids": padded([[0, 0, 1, 1] + [0] * 9]),
        "padding_mask": padded([[1] * 13]),
        "text_ids": padded([[1] * 4 + [2] * 3 + [3] * 6]),
        "position_ids": padded([[0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 5]]),
    }


def alone(text):
    ids = np.array([text])
    segments = np.zeros_like(ids)
    if text is TEXTS[0]:
        segments[0, 2:] = 1
    return {
        "token_ids": ids,
        "segment_ids": segments,
        "padding_mask": np.ones_like(ids),
    }


def backbone(**options):
    backbone = models.bert({**SIZE, **options}, vocabulary_size=20)
    # Weights large enough for texts that see each other to show.
    generator = np.random.default_rng(0)
    for variable in backbone.trainable_variables:
        if variable.name in ("kernel", "embeddings"):
            variable.assign(generator.normal(0, 0.5, variable.shape))
    return backbone


def test_texts_in_one_row_give_what_they_give_alone():
    model = models.bert_token_classifier(backbone(), 5)
    logits = models.packed(model)(packed_inputs())
    assert logits.shape == (1, LENGTH, 5)
    expected = [model(alone(text))[0] for text in TEXTS]
    np.testing.assert_allclose(
        logits[0, :13], np.concatenate(expected), atol=1e-5
    )
    # The comparison can fail: without the ids of texts it does.
    mixed = packed_inputs() | {"text_ids": padded([[1] * 13])}
    mixed = models.packed(model)(mixed)
    assert np.abs(mixed[0, :13] - np.concatenate(expected)).max() > 1e-3


@pytest.mark.parametrize("activation", ["gelu", "gelu_approximate"])
def test_masked_tokens_in_one_row_are_guessed_as_alone(activation):
    model = models.bert_masked_lm(backbone(activation=activation))
    positions = np.array([[1, 5, 11]])
    logits = models.packed(model)(
        packed_inputs() | {"mask_positions": positions}
    )
    for index, (text, position) in enumerate(zip(TEXTS, (1, 1, 4))):
        inputs = alone(text) | {"mask_positions": np.array([[position]])}
        np.testing.assert_allclose(
            logits[0, index], model(inputs)[0, 0], atol=1e-5
        )


def test_it_shares_every_weight_with_the_plain_model():
    model = models.bert_masked_lm(backbone())
    packed = models.packed(model)
    assert packed.count_params() == model.count_params()
    assert all(
        any(weight is other for other in model.weights)
        for weight in packed.weights
    )


def test_saved_and_loaded_it_computes_the_same(tmp_path):
    packed = models.packed(models.bert_token_classifier(backbone(), 5))
    packed.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    inputs = packed_inputs()
    np.testing.assert_array_equal(loaded(inputs), packed(inputs))
    found = models.find_bert(loaded)
    assert found.num_layers == 2


@pytest.mark.ci
def test_in_bfloat16_and_xla_texts_stay_apart_too():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = backbone(num_layers=1, dropout=0.0)
        model = models.packed(models.bert_token_classifier(encoder, 5))
    finally:
        keras.config.set_dtype_policy(previous)
    model.compile("sgd", "mse", jit_compile=True)
    inputs = {k: np.repeat(x, 2, axis=0) for k, x in packed_inputs().items()}
    inputs["token_ids"][1, 4:13] = 4  # Every text but the first.
    logits = model.predict(inputs, verbose=0)
    np.testing.assert_array_equal(logits[0, :4], logits[1, :4])
    assert np.abs(logits[0, 4:13] - logits[1, 4:13]).max() > 0.1
    assert np.isfinite(model.train_on_batch(inputs, np.zeros((2, LENGTH, 5))))
