import json

import keras
import numpy as np
import pytest

import kbig.pretrained
from kbig import models
from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.runs import Run
from tests import hugging_face

SIZE = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
VOCABULARY = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcd")
INPUTS = {
    "token_ids": np.array([[2, 7, 6, 3, 0]]),
    "segment_ids": np.array([[0, 0, 1, 1, 0]]),
    "padding_mask": np.array([[1, 1, 1, 1, 0]]),
    "mask_positions": np.array([[1, 2]]),
}
BERT_INPUTS = {k: x for k, x in INPUTS.items() if k != "mask_positions"}


def run_of(path, model, vocabulary=VOCABULARY, **config):
    run = Run.create(path, "pretrain-mlm", {"lowercase": True, **config})
    run.save_model(model, vocabulary=vocabulary)
    return str(run.directory)


def preset_of(path, vocabulary=VOCABULARY, **options):
    import keras_hub

    backbone = models.bert(SIZE, len(VOCABULARY))
    backbone.save_to_preset(str(path))
    keras_hub.models.BertTokenizer(list(vocabulary), **options).save_to_preset(
        str(path)
    )
    return backbone


@pytest.mark.parametrize("next_sentence", [False, True])
def test_a_pretraining_run(next_sentence, tmp_path):
    size = SIZE | {"activation": "gelu"}
    model = models.bert_masked_lm(models.bert(size, 9), next_sentence)
    head = model.get_layer("masked_lm")
    bias = next(w for w in head.weights if w.name == "output_bias")
    bias.assign(np.arange(9))
    source = run_of(tmp_path / "run", model)
    loaded = kbig.pretrained.load(source)
    assert loaded.source == source
    assert loaded.vocabulary == VOCABULARY
    assert (loaded.lowercase, loaded.strip_accents) == (True, True)
    assert bool(loaded.notes) is not next_sentence  # About the pooler.
    keras.tree.map_structure(
        np.testing.assert_array_equal, loaded.masked_lm(INPUTS), model(INPUTS)
    )
    states = loaded.backbone(BERT_INPUTS)["sequence_output"]
    np.testing.assert_array_equal(
        states, models.find_bert(model)(BERT_INPUTS)["sequence_output"]
    )
    shared = loaded.masked_lm.get_layer("token_embedding")
    assert shared is loaded.backbone.token_embedding


def test_a_finetuning_run_and_its_casing(tmp_path):
    model = models.bert_classifier(models.bert(SIZE, 9), 3)
    source = run_of(
        tmp_path / "run", model, lowercase=False, strip_accents=True
    )
    loaded = kbig.pretrained.load(source)
    assert (loaded.lowercase, loaded.strip_accents) == (False, True)
    assert loaded.masked_lm is None
    assert loaded.notes == ()
    assert loaded.tokenizer().get_vocabulary() == list(VOCABULARY)


def test_the_precision_is_that_in_force(tmp_path):
    source = run_of(
        tmp_path / "run", models.bert_masked_lm(models.bert(SIZE, 9))
    )
    preset_of(tmp_path / "preset")
    hugging_face.write(tmp_path / "theirs")
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        loaded = [
            kbig.pretrained.load(x)
            for x in (source, tmp_path / "preset", tmp_path / "theirs")
        ]
    finally:
        keras.config.set_dtype_policy(previous)
    for pretrained in loaded:
        layer = pretrained.backbone.transformer_layers[0]
        assert layer.compute_dtype == "bfloat16"


def test_a_hugging_face_directory(tmp_path):
    loaded = kbig.pretrained.load(hugging_face.write(tmp_path))
    assert loaded.vocabulary == hugging_face.VOCABULARY
    assert loaded.backbone.vocabulary_size == 30
    assert loaded.masked_lm is not None
    inputs = hugging_face.random_inputs()
    expected = hugging_face.forward(hugging_face.tensors(), inputs)
    np.testing.assert_allclose(
        loaded.backbone(inputs)["pooled_output"],
        expected["pooled_output"],
        atol=1e-5,
    )


# tokenizer_config.json, the normalizer of tokenizer.json, what comes out.
CASINGS = {
    "neither": (None, None, (True, True)),
    "cased": ({"do_lower_case": False}, None, (False, False)),
    "accents kept": (
        {"do_lower_case": True, "strip_accents": False},
        None,
        (True, False),
    ),
    "newer file": (
        None,
        {"lowercase": False, "strip_accents": None},
        (False, False),
    ),
    "both": (
        {"do_lower_case": True, "strip_accents": None},
        {"lowercase": False, "strip_accents": False},
        (True, True),
    ),
    "no normalizer": ({}, None, (True, True)),
}


def tokenizer_file(vocabulary, normalizer):
    ids = {token: i for i, token in enumerate(vocabulary)}
    return json.dumps({"model": {"vocab": ids}, "normalizer": normalizer})


@pytest.mark.parametrize("name", CASINGS)
def test_casing_is_that_of_their_tokenizer(name, tmp_path):
    older, newer, expected = CASINGS[name]
    hugging_face.write(tmp_path)
    if older is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(older))
    if newer is not None:
        text = tokenizer_file(hugging_face.VOCABULARY, newer)
        (tmp_path / "tokenizer.json").write_text(text)
    loaded = kbig.pretrained.load(tmp_path)
    assert (loaded.lowercase, loaded.strip_accents) == expected


def test_a_vocabulary_in_the_newer_file_alone(tmp_path):
    hugging_face.write(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    text = tokenizer_file(hugging_face.VOCABULARY, None)
    (tmp_path / "tokenizer.json").write_text(text)
    loaded = kbig.pretrained.load(tmp_path)
    assert loaded.vocabulary == hugging_face.VOCABULARY


def test_a_keras_hub_preset(tmp_path):
    backbone = preset_of(tmp_path, lowercase=True, strip_accents=True)
    loaded = kbig.pretrained.load(tmp_path)
    assert loaded.vocabulary == VOCABULARY
    assert (loaded.lowercase, loaded.strip_accents) == (True, True)
    assert loaded.notes == ()
    np.testing.assert_array_equal(
        loaded.backbone(BERT_INPUTS)["pooled_output"],
        backbone(BERT_INPUTS)["pooled_output"],
    )


def test_a_preset_that_keeps_accents_says_so(tmp_path):
    preset_of(tmp_path, lowercase=True)
    loaded = kbig.pretrained.load(tmp_path)
    assert loaded.strip_accents is False
    assert "accents" in loaded.notes[0]


def test_a_preset_that_cannot_be_downloaded(monkeypatch):
    import keras_hub

    def offline(name):
        raise ConnectionError("Failed to resolve\n'api.kaggle.com'")

    monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", offline)
    with pytest.raises(UsageError) as caught:
        kbig.pretrained.load("bert_tiny_en_uncased")
    message = str(caught.value)
    assert "'bert_tiny_en_uncased' (Failed to resolve 'api" in message
    assert "Hugging Face directory" in message
    assert "\n" not in message


def no_text(path):
    run = Run.create(path, "train-image", {})
    run.save_model(models.mlp((4,), 2))


def other_model(path):
    run_of(path, models.mlp((4,), 2))


def short(path):
    model = models.bert_masked_lm(models.bert(SIZE, 8))
    run_of(path, model)


def other_preset(path):
    import keras_hub

    keras_hub.models.RobertaBackbone(9, 1, 2, 16, 32).save_to_preset(str(path))
    keras_hub.models.BertTokenizer(list(VOCABULARY)).save_to_preset(str(path))


def half_a_preset(path):
    models.bert(SIZE, 9).save_to_preset(str(path))


def many_tokens(path):
    hugging_face.write(path)
    tokens = (*hugging_face.VOCABULARY, "one", "more")
    (path / "vocab.txt").write_text("\n".join(tokens))


def no_mask(path):
    hugging_face.write(path)
    tokens = [x for x in hugging_face.VOCABULARY if x != "[MASK]"]
    (path / "vocab.txt").write_text("\n".join(tokens))


def no_mask_in_the_newer_file(path):
    no_mask(path)
    tokens = (path / "vocab.txt").read_text().split("\n")
    (path / "vocab.txt").unlink()
    (path / "tokenizer.json").write_text(tokenizer_file(tokens, None))


def no_vocabulary(path):
    hugging_face.write(path)
    (path / "vocab.txt").unlink()


def gaps(path):
    no_vocabulary(path)
    text = json.dumps({"model": {"vocab": {"a": 0, "b": 2}}})
    (path / "tokenizer.json").write_text(text)


def whole_chinese(path):
    hugging_face.write(path)
    text = json.dumps({"tokenize_chinese_chars": False})
    (path / "tokenizer_config.json").write_text(text)


def other_files(path):
    path.mkdir()
    (path / "thesis.tex").write_text("")


def a_file(path):
    path.write_text("")


MISTAKES = {
    "run that reads no text": (no_text, UsageError, "train-image"),
    "run of another model": (other_model, UsageError, "no BERT"),
    "run with too many tokens": (short, DataError, "9 tokens", "8 rows"),
    "other preset": (other_preset, UsageError, "RobertaBackbone"),
    "half a preset": (half_a_preset, DataError, "no whole KerasHub preset"),
    "too many tokens": (many_tokens, DataError, "32 tokens", "30 rows"),
    "no mask token": (no_mask, DataError, "'[MASK]'"),
    "nor in the newer file": (no_mask_in_the_newer_file, DataError, "[MASK]"),
    "no vocabulary": (no_vocabulary, DataError, "vocab.txt"),
    "ids with gaps": (gaps, DataError, "ids 0, 1, 2"),
    "Chinese kept whole": (whole_chinese, UsageError, "Chinese"),
    "other files": (other_files, UsageError, "thesis.tex", "preset"),
    "a file": (a_file, UsageError, "holds no pretrained BERT"),
    "nothing": (lambda path: None, UsageError, "bert_tiny_en_uncased"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake(name, tmp_path):
    make, kind, *fragments = MISTAKES[name]
    path = tmp_path / "source"
    make(path)
    with pytest.raises(UsageError) as caught:
        kbig.pretrained.load(path)
    assert type(caught.value) is kind
    for fragment in fragments:
        assert fragment in str(caught.value)
