"""Every builder, one contract."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from kbig import models
from tests import contracts

TINY_BERT = {
    "num_layers": 1,
    "hidden_dim": 16,
    "num_heads": 2,
    "max_sequence_length": 8,
}
BATCH = 8
LABELS = np.arange(BATCH) % 2
IMAGES = np.random.default_rng(0).integers(0, 256, (BATCH, 8, 8, 1), "uint8")
FEATURES = np.random.default_rng(1).normal(size=(BATCH, 6, 3))
TOKENS = np.random.default_rng(2).integers(1, 20, (BATCH, 6))
TOKENS[:, 4:] = 0
BERT_INPUTS = {
    "token_ids": TOKENS,
    "segment_ids": np.zeros_like(TOKENS),
    "padding_mask": (TOKENS != 0).astype("int32"),
}
MASKED_INPUTS = {**BERT_INPUTS, "mask_positions": np.tile([1, 3], (BATCH, 1))}
PACKED_INPUTS = {
    **MASKED_INPUTS,
    "text_ids": np.tile([1, 1, 2, 2, 0, 0], (BATCH, 1)),
    "position_ids": np.tile([0, 1, 0, 1, 0, 0], (BATCH, 1)),
}
MASKED_LABELS = TOKENS[:, [1, 3]]


def tiny_bert():
    return models.bert(TINY_BERT, vocabulary_size=20)


def cnn(**options):
    return models.cnn((8, 8, 1), 2, filters=(4, 8), **options)


def tokens_transformer(**options):
    return models.transformer(
        2, vocabulary_size=20, hidden_dim=16, max_length=8, **options
    )


def masked_lm(next_sentence):
    return models.bert_masked_lm(tiny_bert(), next_sentence)


BUILDERS = {
    "mlp": (lambda: models.mlp((8, 8, 1), 2, rescale=1 / 255), IMAGES, LABELS),
    "cnn-plain": (cnn, IMAGES, LABELS),
    "cnn-residual": (lambda: cnn(block="residual"), IMAGES, LABELS),
    "cnn-depthwise": (lambda: cnn(block="depthwise"), IMAGES, LABELS),
    "rnn-lstm": (lambda: models.rnn((6, 3), 2, units=(8, 4)), FEATURES, LABELS),
    "rnn-gru": (
        lambda: models.rnn(
            num_outputs=2, cell="gru", vocabulary_size=20, bidirectional=True
        ),
        TOKENS,
        LABELS,
    ),
    "rnn-simple": (
        lambda: models.rnn((None, 3), 2, cell="simple"),
        FEATURES,
        LABELS,
    ),
    "transformer-tokens": (tokens_transformer, TOKENS, LABELS),
    "transformer-sinusoidal": (
        lambda: tokens_transformer(position="sinusoidal"),
        TOKENS,
        LABELS,
    ),
    "transformer-features": (
        lambda: models.transformer(2, input_shape=(6, 3), hidden_dim=16),
        FEATURES,
        LABELS,
    ),
    "bert_classifier": (
        lambda: models.bert_classifier(tiny_bert(), 2),
        BERT_INPUTS,
        LABELS,
    ),
    "bert_token_classifier": (
        lambda: models.bert_token_classifier(tiny_bert(), 20),
        BERT_INPUTS,
        TOKENS,
    ),
    "packed": (
        lambda: models.packed(masked_lm(False)),
        PACKED_INPUTS,
        MASKED_LABELS,
    ),
    "bert_masked_lm": (lambda: masked_lm(False), MASKED_INPUTS, MASKED_LABELS),
    "bert_masked_lm-next_sentence": (
        lambda: masked_lm(True),
        MASKED_INPUTS,
        {"masked_lm": MASKED_LABELS, "next_sentence": LABELS},
    ),
}
every_builder = pytest.mark.parametrize("name", BUILDERS)


def cross_entropy(targets):
    return keras.tree.map_structure(
        lambda _: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        targets,
    )


@pytest.mark.first_cases(1)
@every_builder
def test_learns_one_batch(name):
    build, inputs, targets = BUILDERS[name]
    contracts.check_learns(build, inputs, targets, cross_entropy(targets))


@every_builder
def test_saves(name, tmp_path):
    build, inputs, _ = BUILDERS[name]
    contracts.check_saving(build(), inputs, tmp_path / "model.keras")


@pytest.mark.first_cases(1)
@every_builder
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32(name, policy):
    build, inputs, _ = BUILDERS[name]
    contracts.check_precision(build, inputs, policy)


@pytest.mark.slow
def test_loads_without_kbig(tmp_path):
    path = tmp_path / "model.keras"
    model = masked_lm(next_sentence=True)
    model.save(path)
    np.savez(tmp_path / "inputs.npz", **MASKED_INPUTS)
    script = f"""
import sys, keras, keras_hub, numpy as np
model = keras.models.load_model({str(path)!r}, safe_mode=True)
inputs = dict(np.load({str(tmp_path / "inputs.npz")!r}))
np.savez({str(tmp_path / "out.npz")!r}, **model.predict(inputs, verbose=0))
assert "kbig" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
    outputs = np.load(tmp_path / "out.npz")
    for key, expected in model.predict(MASKED_INPUTS, verbose=0).items():
        np.testing.assert_allclose(outputs[key], expected, atol=1e-6)


def wrong_bert(**changes):
    return models.bert({**TINY_BERT, **changes}, vocabulary_size=20)


MISTAKES = {
    "mlp-classes": (lambda: models.mlp((4,), 0), "num_classes=0"),
    "mlp-hidden": (lambda: models.mlp((4,), 2, (8, -1)), "(8, -1)"),
    "mlp-shape": (lambda: models.mlp((), 2), "input_shape=()"),
    "mlp-dropout": (lambda: models.mlp((4,), 2, dropout=1.0), "dropout=1.0"),
    "cnn-classes": (lambda: models.cnn((8, 8, 1), 0), "num_classes=0"),
    "cnn-shape": (lambda: models.cnn((8, 8), 2), "input_shape=(8, 8)"),
    "cnn-negative": (lambda: models.cnn((8, -8, 1), 2), "(8, -8, 1)"),
    "cnn-channels": (lambda: models.cnn((8, 8, None), 2), "(8, 8, None)"),
    "cnn-filters": (lambda: models.cnn((8, 8, 1), 2, ()), "filters=()"),
    "cnn-block": (
        lambda: cnn(block="dense"),
        "block='dense'",
        "'plain', 'residual', 'depthwise'",
    ),
    "rnn-outputs": (lambda: models.rnn((6, 3), 0), "num_outputs=0"),
    "rnn-units": (lambda: models.rnn((6, 3), units=(0,)), "units=(0,)"),
    "rnn-cell": (
        lambda: models.rnn((6, 3), cell="qrnn"),
        "cell='qrnn'",
        "'lstm', 'gru', 'simple'",
    ),
    "rnn-neither": (models.rnn, "input_shape=None"),
    "rnn-both": (
        lambda: models.rnn((6, 3), vocabulary_size=9),
        "vocabulary_size=9, input_shape=(6, 3)",
    ),
    "transformer-classes": (
        lambda: models.transformer(0, vocabulary_size=9),
        "num_classes=0",
    ),
    "transformer-neither": (lambda: models.transformer(2), "input_shape=None"),
    "transformer-vocabulary": (
        lambda: models.transformer(2, vocabulary_size=-9),
        "vocabulary_size=-9",
    ),
    "transformer-heads": (
        lambda: tokens_transformer(num_heads=3),
        "hidden_dim=16, num_heads=3",
        "hidden_dim=18",
    ),
    "transformer-position": (
        lambda: tokens_transformer(position="rotary"),
        "position='rotary'",
        "'learned', 'sinusoidal'",
    ),
    "transformer-length": (
        lambda: models.transformer(2, input_shape=(6, 3), max_length=5),
        "steps=6, max_length=5",
    ),
    "bert-size": (
        lambda: models.bert("huge"),
        "size='huge'",
        "'tiny', 'mini', 'small', 'medium', 'base', 'large'",
    ),
    "bert-vocabulary": (lambda: models.bert("tiny", 0), "vocabulary_size=0"),
    "bert-key": (lambda: wrong_bert(num_layer=1), "'num_layer'", "dropout"),
    "bert-missing": (
        lambda: models.bert({"num_layers": 1}),
        "Add hidden_dim, num_heads",
    ),
    "bert-heads": (lambda: wrong_bert(num_heads=5), "num_heads=5"),
    "bert-layers": (lambda: wrong_bert(num_layers=-1), "num_layers=-1"),
    "classifier-classes": (
        lambda: models.bert_classifier(tiny_bert(), 0),
        "num_classes=0",
    ),
    "token_classifier-classes": (
        lambda: models.bert_token_classifier(tiny_bert(), 0),
        "num_classes=0",
    ),
    "bert-activation": (lambda: wrong_bert(activation="relu"), "'relu'"),
    "bert-epsilon": (
        lambda: wrong_bert(layer_norm_epsilon=0),
        "layer_norm_epsilon=0",
    ),
    "packed-classifier": (
        lambda: models.packed(models.bert_classifier(tiny_bert(), 2)),
        "'bert_classifier'",
        "bert_token_classifier",
    ),
    "packed-next_sentence": (
        lambda: models.packed(masked_lm(True)),
        "next_sentence",
    ),
    "packed-cnn": (lambda: models.packed(cnn()), "'cnn'"),
    "masked_lm-backbone": (lambda: models.bert_masked_lm("tiny"), "'tiny'"),
    "find_bert": (lambda: models.find_bert(cnn()), "model='cnn'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    call, *fragments = MISTAKES[mistake]
    contracts.check_usage_error(call, *fragments)
