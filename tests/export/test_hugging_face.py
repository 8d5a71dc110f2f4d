"""Directories for transformers: read again, and beside a float64 formula."""

import json

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import kbig.pretrained
from kbig import data
from kbig import export
from kbig import models
from kbig.errors import GateError
from kbig.errors import UsageError
from tests import hugging_face

VOCABULARY = hugging_face.VOCABULARY
INPUTS = hugging_face.random_inputs()
REAL = INPUTS["padding_mask"].astype(bool)
SIZE = {
    "num_layers": 2,
    "hidden_dim": 16,
    "num_heads": 4,
    "intermediate_dim": 24,
    "max_sequence_length": 12,
    "dropout": 0.2,
}


def backbone_of(**options):
    """With no number as it starts: zeros and ones would hide a mistake."""
    backbone = models.bert(SIZE | options, 30)
    return scattered(backbone)


def scattered(model):
    generator = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(generator.normal(0.1, 0.4, weight.shape))
    return model


def config_of(directory):
    return json.loads((directory / "config.json").read_text())


@pytest.mark.parametrize(
    "activation, name", [("gelu", "gelu"), ("gelu_approximate", "gelu_new")]
)
def test_a_backbone_comes_back_bit_for_bit(activation, name, tmp_path):
    backbone = backbone_of(activation=activation, layer_norm_epsilon=1e-3)
    tokenizer = data.tokenizer(VOCABULARY, lowercase=True, strip_accents=False)
    report = export.hugging_face(
        backbone, tmp_path / "bert", tokenizer=tokenizer
    )
    assert report.architecture == "BertModel"
    assert config_of(tmp_path / "bert")["hidden_act"] == name
    loaded = kbig.pretrained.load(str(tmp_path / "bert"))
    assert loaded.notes == ()
    for mine, theirs in zip(backbone.weights, loaded.backbone.weights):
        assert mine.path == theirs.path
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(
        backbone(INPUTS)["sequence_output"],
        loaded.backbone(INPUTS)["sequence_output"],
    )
    assert loaded.backbone.dropout == 0.2
    assert loaded.vocabulary == VOCABULARY
    assert (loaded.lowercase, loaded.strip_accents) == (True, False)
    assert report.parameters == backbone.count_params()
    assert [x.name for x in tmp_path.iterdir()] == ["bert"]


def test_a_checkpoint_that_is_read_and_written_is_the_same(tmp_path):
    hugging_face.write(tmp_path / "theirs", hidden_act="gelu_new")
    loaded = kbig.pretrained.load(str(tmp_path / "theirs"))
    export.hugging_face(
        loaded.masked_lm, tmp_path / "ours", vocabulary=loaded.vocabulary
    )
    theirs, ours = (
        load_file(tmp_path / name / "model.safetensors")
        for name in ("theirs", "ours")
    )
    # No pooler is needed to guess tokens, and its model here has none.
    pooler = {name for name in theirs if "pooler" in name}
    assert {*ours} == {*theirs} - pooler
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
    config = config_of(tmp_path / "ours")
    assert config["architectures"] == ["BertForMaskedLM"]
    expected = hugging_face.CONFIG | {"hidden_act": "gelu_new"}
    assert {key: config[key] for key in expected} == expected


@pytest.mark.parametrize("activation", ["gelu", "gelu_approximate"])
def test_a_classifier_computes_what_the_files_say(activation, tmp_path):
    model = models.bert_classifier(backbone_of(activation=activation), 3, 0.3)
    scattered(model)
    report = export.hugging_face(
        model,
        tmp_path / "topics",
        vocabulary=VOCABULARY,
        class_names=("animal", "plant", "act"),
    )
    assert report.architecture == "BertForSequenceClassification"
    assert report.largest_difference < 1e-5
    config = config_of(tmp_path / "topics")
    assert config["id2label"] == {"0": "animal", "1": "plant", "2": "act"}
    assert config["classifier_dropout"] == 0.3
    weights = load_file(tmp_path / "topics/model.safetensors")
    outputs = hugging_face.forward(
        weights, INPUTS, config["hidden_act"], config["layer_norm_eps"]
    )
    kernel, bias = weights["classifier.weight"], weights["classifier.bias"]
    logits = outputs["pooled_output"] @ kernel.T + bias
    np.testing.assert_allclose(model(INPUTS), logits, atol=1e-4)


def test_what_is_left_out_is_said(tmp_path):
    model = models.bert_masked_lm(backbone_of(), next_sentence=True)
    report = export.hugging_face(model, tmp_path / "m", vocabulary=VOCABULARY)
    assert "head for next sentences" in str(report)
    loaded = kbig.pretrained.load(str(tmp_path / "m"))
    assert loaded.notes == ()  # It has a pooler.
    given = {**INPUTS, "mask_positions": np.tile([1, 0, 2], (3, 1))}
    np.testing.assert_allclose(
        loaded.masked_lm(given), model(given)["masked_lm"], atol=1e-5
    )


def test_a_tagger_keeps_its_head(tmp_path):
    model = models.bert_token_classifier(backbone_of(), 5)
    scattered(model)
    report = export.hugging_face(
        model, tmp_path / "tags", vocabulary=VOCABULARY
    )
    assert report.architecture == "BertForTokenClassification"
    weights = load_file(tmp_path / "tags/model.safetensors")
    assert weights["classifier.weight"].shape == (5, 16)
    assert not [name for name in weights if "pooler" in name]
    states = hugging_face.forward(weights, INPUTS, "gelu_new")
    logits = states["sequence_output"] @ weights["classifier.weight"].T
    logits = logits + weights["classifier.bias"]
    got = np.asarray(model(INPUTS))
    np.testing.assert_allclose(got[REAL], logits[REAL], atol=1e-4)


def test_the_policy_in_force_does_not_matter(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = models.bert_classifier(models.bert(SIZE, 30), 3)
        report = export.hugging_face(
            model, tmp_path / "m", vocabulary=VOCABULARY
        )
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert report.largest_difference < 1e-5


def foreign_head():
    backbone = models.bert(SIZE, 30)
    features = keras.layers.Dense(16, "relu", name="features")
    x = features(backbone.output["pooled_output"])
    logits = keras.layers.Dense(3, name="logits")(x)
    return keras.Model(backbone.input, logits)


def test_layers_between_are_found_and_nothing_is_left(tmp_path):
    with pytest.raises(GateError, match="not one of BERT's"):
        export.hugging_face(
            foreign_head(), tmp_path / "m", vocabulary=VOCABULARY
        )
    assert [*tmp_path.iterdir()] == []


def mean_classifier():
    return models.bert_classifier(models.bert(SIZE, 30), 3, pooling="mean")


@pytest.mark.parametrize(
    "make, options, message",
    [
        (mean_classifier, {}, "averages the tokens"),
        (
            lambda: models.packed(
                models.bert_token_classifier(backbone_of(), 3)
            ),
            {},
            "position_ids, text_ids",
        ),
        (
            lambda: models.bert_classifier(backbone_of(), 2),
            {"class_names": ["a", "a"]},
            "2 different class names",
        ),
        (
            lambda: models.bert_classifier(backbone_of(), 2),
            {"class_names": ["a", "b", "a"]},
            "2 different class names",
        ),
        (lambda: models.mlp((4,), 3), {}, "no model with this head"),
        (backbone_of, {"vocabulary": None}, "either a tokenizer or a vocab"),
        (
            backbone_of,
            {"vocabulary": None, "tokenizer": "cased"},
            "tokenizer='cased'",
        ),
        (backbone_of, {"class_names": ["a"]}, "Received: 1, "),
        (backbone_of, {"vocabulary": "abc"}, "abc"),
        (
            lambda: models.bert(SIZE, 12),
            {},
            f"vocabulary of {len(VOCABULARY)} and a model of 12",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    make, options, message, tmp_path
):
    options = {"vocabulary": VOCABULARY} | options
    with pytest.raises(UsageError, match=message):
        export.hugging_face(make(), tmp_path / "m", **options)
    assert [*tmp_path.iterdir()] == []


def test_a_directory_with_files_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="must not exist, or be empty"):
        export.hugging_face(backbone_of(), tmp_path, vocabulary=VOCABULARY)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["gelu", "gelu_approximate"])
def test_transformers_gives_the_same(activation, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    model = models.bert_classifier(backbone_of(activation=activation), 3)
    scattered(model)
    export.hugging_face(model, tmp_path / "m", vocabulary=VOCABULARY)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "m"
    ).eval()
    theirs = ("input_ids", "token_type_ids", "attention_mask")
    given = {
        name: torch.tensor(np.asarray(value, "int64"))
        for name, value in zip(theirs, INPUTS.values())
    }
    with torch.no_grad():
        logits = loaded(**given).logits.numpy()
    np.testing.assert_allclose(model(INPUTS), logits, atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    ids = data.encode(["a b"], data.tokenizer(VOCABULARY), 6)["token_ids"]
    assert tokenizer("a b")["input_ids"] == [x for x in ids[0].numpy() if x]
