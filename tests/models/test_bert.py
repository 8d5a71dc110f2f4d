import keras
import numpy as np
import pytest

from kbig import models
from kbig.models import BERT_SIZES
from tests.contracts import check_usage_error

TINY = {"num_layers": 2, "hidden_dim": 16, "num_heads": 4}
INPUTS = {
    "token_ids": np.array([[2, 7, 9, 3, 0]]),
    "segment_ids": np.array([[0, 0, 1, 1, 0]]),
    "padding_mask": np.array([[1, 1, 1, 1, 0]]),
}


def parameters(num_layers, hidden_dim, vocabulary_size=30522):
    """BERT's, pooler included, from the shapes in Devlin et al., 2019."""
    embeddings = (vocabulary_size + 512 + 2) * hidden_dim + 2 * hidden_dim
    attention = 4 * (hidden_dim + 1) * hidden_dim
    feed_forward = 8 * hidden_dim**2 + 5 * hidden_dim
    layer = attention + feed_forward + 4 * hidden_dim
    pooler = (hidden_dim + 1) * hidden_dim
    return embeddings + num_layers * layer + pooler


PUBLISHED_MILLIONS = {
    "tiny": 4.4,
    "mini": 11.2,
    "small": 28.8,
    "medium": 41.4,
    "base": 109.5,
    "large": 335.1,
}


def test_sizes_are_the_published_ones():
    millions = {
        name: round(parameters(size["num_layers"], size["hidden_dim"]) / 1e6, 1)
        for name, size in BERT_SIZES.items()
    }
    assert millions == PUBLISHED_MILLIONS
    # A head is 64 wide in every published size, which no count shows.
    assert {
        size["hidden_dim"] // size["num_heads"] for size in BERT_SIZES.values()
    } == {64}


@pytest.mark.parametrize("size", ["tiny", "mini"])
def test_parameters(size):
    expected = parameters(
        BERT_SIZES[size]["num_layers"], BERT_SIZES[size]["hidden_dim"]
    )
    assert models.bert(size).count_params() == expected


def test_size_as_a_mapping():
    size = {**TINY, "intermediate_dim": 24, "max_sequence_length": 6}
    backbone = models.bert({**size, "dropout": 0.0}, vocabulary_size=20)
    config = backbone.get_config()
    assert {key: config[key] for key in size} == size
    assert config["dropout"] == 0.0
    assert models.bert(TINY, 20).get_config()["intermediate_dim"] == 64


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("activation", ["gelu", "gelu_approximate"])
def test_classifier_s_backbone_is_found_after_loading(activation, tmp_path):
    size = {**TINY, "activation": activation, "layer_norm_epsilon": 1e-3}
    backbone = models.bert(size, vocabulary_size=20)
    model = models.bert_classifier(backbone, num_classes=3)
    model.save(tmp_path / "model.keras")
    found = models.find_bert(keras.models.load_model(tmp_path / "model.keras"))
    assert found.get_config() == backbone.get_config()
    outputs = found.predict(INPUTS, verbose=0)
    expected = backbone.predict(INPUTS, verbose=0)
    for name, output in outputs.items():
        np.testing.assert_array_equal(output, expected[name])


def test_head_starts_as_bert_does():
    model = models.bert_classifier(models.bert(TINY, 20), num_classes=4000)
    kernel, bias = model.get_layer("logits").get_weights()
    # Keras cuts at two deviations, which leaves 0.8796 of the deviation.
    assert np.std(kernel) == pytest.approx(0.02 * 0.8796, rel=0.02)
    assert np.abs(kernel).max() <= 0.04
    assert not bias.any()


def test_masked_lm_stays_tied_after_loading(tmp_path):
    backbone = models.bert(TINY, vocabulary_size=20)
    model = models.bert_masked_lm(backbone)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = {**INPUTS, "mask_positions": np.array([[1, 2]])}
    before = loaded.predict(inputs, verbose=0)
    # A token that the input lacks: only the output side can show the change.
    embeddings = loaded.get_layer("token_embedding").embeddings
    changed = embeddings.numpy()
    changed[15, 0] += 1.0
    embeddings.assign(changed)
    difference = loaded.predict(inputs, verbose=0) - before
    assert np.abs(difference[..., 15]).max() > 0.1
    assert not np.delete(difference, 15, axis=-1).any()


def test_masked_lm_reads_the_positions():
    model = models.bert_masked_lm(models.bert(TINY, vocabulary_size=20))
    forwards = model({**INPUTS, "mask_positions": np.array([[1, 3]])})
    backwards = model({**INPUTS, "mask_positions": np.array([[3, 1]])})
    assert forwards.shape == (1, 2, 20)
    np.testing.assert_allclose(
        forwards[:, ::-1], backwards, rtol=1e-5, atol=1e-6
    )
    assert np.abs(forwards[:, 0] - forwards[:, 1]).max() > 1e-3


@pytest.mark.parametrize("next_sentence", [False, True])
def test_find_bert_copies_what_was_pretrained(next_sentence, tmp_path):
    backbone = models.bert({**TINY, "dropout": 0.3}, vocabulary_size=20)
    model = models.bert_masked_lm(backbone, next_sentence)
    model.save(tmp_path / "model.keras")
    found = models.find_bert(keras.models.load_model(tmp_path / "model.keras"))
    assert found.get_config() == backbone.get_config()
    outputs = found.predict(INPUTS, verbose=0)
    expected = backbone.predict(INPUTS, verbose=0)
    np.testing.assert_array_equal(
        outputs["sequence_output"], expected["sequence_output"]
    )
    if next_sentence:
        np.testing.assert_array_equal(
            outputs["pooled_output"], expected["pooled_output"]
        )


def test_next_sentence_is_two_outputs():
    model = models.bert_masked_lm(models.bert(TINY, 20), next_sentence=True)
    outputs = model({**INPUTS, "mask_positions": np.array([[1, 2, 3]])})
    assert outputs["masked_lm"].shape == (1, 3, 20)
    assert outputs["next_sentence"].shape == (1, 2)


def test_the_output_bias_starts_at_the_frequencies():
    frequencies = np.arange(1.0, 21.0)
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    model = models.bert_masked_lm(
        models.bert(size, 20), token_frequencies=frequencies
    )
    # Weights of 0 leave the bias alone in the logits.
    model.get_layer("token_embedding").embeddings.assign(np.zeros((20, 16)))
    ids = np.ones((1, 4), "int32")
    logits = model(
        {
            "token_ids": ids,
            "segment_ids": 0 * ids,
            "padding_mask": ids,
            "mask_positions": ids[:, :1],
        }
    )
    np.testing.assert_allclose(
        logits[0, 0], np.log(frequencies / 210), rtol=1e-5
    )


@pytest.mark.parametrize("frequencies", [np.ones(19), np.arange(20.0)])
def test_frequencies_that_do_not_fit(frequencies):
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    check_usage_error(
        lambda: models.bert_masked_lm(
            models.bert(size, 20), token_frequencies=frequencies
        ),
        "token_frequencies",
    )


def test_mean_pooling_averages_real_tokens_only():
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    backbone = models.bert(size, 20)
    model = models.bert_classifier(backbone, 3, pooling="mean")
    short = {
        "token_ids": np.array([[2, 7, 3]]),
        "segment_ids": np.zeros((1, 3), "int32"),
        "padding_mask": np.ones((1, 3), "int32"),
    }
    padded = {k: np.pad(v, ((0, 0), (0, 5))) for k, v in short.items()}
    np.testing.assert_allclose(model(padded), model(short), atol=1e-5)
    states = backbone(short)["sequence_output"]
    head = model.get_layer("logits")
    np.testing.assert_allclose(
        model(short), head(np.mean(states, axis=1)), atol=1e-5
    )
    assert not [w for w in model.trainable_weights if "pooled" in w.path]
    assert backbone.pooled_dense.trainable


def test_unknown_pooling():
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    check_usage_error(
        lambda: models.bert_classifier(models.bert(size, 20), 3, pooling="max"),
        "'max'",
        "'mean'",
    )
