import json

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from kbig import models
from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.models import hugging_face_names
from tests import hugging_face

INPUTS = hugging_face.random_inputs()
REAL = INPUTS["padding_mask"].astype(bool)
POSITIONS = np.tile([1, 0, 2], (3, 1))


def largest(outputs, expected):
    """Of the differences, padding aside."""
    return max(
        np.abs(outputs[name] - expected[name])[
            REAL if name == "sequence_output" else ...
        ].max()
        for name in ("sequence_output", "pooled_output")
    )


@pytest.mark.parametrize("epsilon", [1e-12, 0.05])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_it_computes_what_the_checkpoint_does(activation, epsilon, tmp_path):
    hugging_face.write(tmp_path, hidden_act=activation, layer_norm_eps=epsilon)
    loaded = models.load_hugging_face(tmp_path)
    assert loaded.notes == ()
    weights = hugging_face.tensors()
    expected = hugging_face.forward(weights, INPUTS, activation, epsilon)
    assert largest(loaded.backbone(INPUTS), expected) < 1e-5
    logits = loaded.masked_lm({**INPUTS, "mask_positions": POSITIONS})
    chosen = np.take_along_axis(
        expected["masked_lm"], POSITIONS[..., None], axis=1
    )
    np.testing.assert_allclose(logits, chosen, atol=1e-4)
    # What is compared does depend on both.
    other = {"gelu": "gelu_new", "gelu_new": "gelu"}[activation]
    for options in ((other, epsilon), (activation, 0.051 - epsilon)):
        different = hugging_face.forward(weights, INPUTS, *options)
        assert largest(different, expected) > 1e-4


def test_it_computes_the_same_after_saving_and_finding(tmp_path):
    hugging_face.write(tmp_path, layer_norm_eps=0.05)
    backbone = models.load_hugging_face(tmp_path).backbone
    expected = hugging_face.forward(
        hugging_face.tensors(), INPUTS, epsilon=0.05
    )
    models.bert_classifier(backbone, 3).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert largest(models.find_bert(loaded)(INPUTS), expected) < 1e-5


def test_what_transformers_itself_computes(tmp_path):
    hugging_face.write(tmp_path)
    loaded = models.load_hugging_face(tmp_path)
    outputs = loaded.backbone(INPUTS)
    logits = loaded.masked_lm({**INPUTS, "mask_positions": POSITIONS})
    # transformers 5.23, BertModel and BertForMaskedLM, of these very files.
    np.testing.assert_allclose(
        outputs["sequence_output"][0, 0, :4],
        [0.4777617, -0.0240519, -0.8982834, -1.2051244],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        outputs["pooled_output"][:, 0],
        [-0.9688652, -0.6465156, -0.7107171],
        atol=1e-5,
    )
    np.testing.assert_allclose(
        logits[0, 0, :4],
        [-6.4249897, -3.5712256, 2.1003928, -0.8062398],
        atol=1e-4,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats_are_taken_as_they_are(dtype, tmp_path):
    weights = hugging_face.tensors()
    hugging_face.write(tmp_path, weights, dtype)
    backbone = models.load_hugging_face(tmp_path).backbone
    rounded = {k: x.astype(dtype) for k, x in weights.items()}
    expected = hugging_face.forward(rounded, INPUTS)
    assert largest(backbone(INPUTS), expected) < 1e-5
    assert backbone.token_embedding.embeddings.dtype == "float32"


def old_names(weights):
    return {
        name.removeprefix("bert.")
        .replace("LayerNorm.weight", "LayerNorm.gamma")
        .replace("LayerNorm.bias", "LayerNorm.beta"): x
        for name, x in weights.items()
    }


def in_two_files(directory, weights):
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, chosen in parts.items():
        arrays = {name: weights[name].astype("float32") for name in chosen}
        save_file(arrays, directory / file)
    (directory / "model.safetensors").unlink()
    index = {
        "weight_map": {n: f for f, chosen in parts.items() for n in chosen}
    }
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("form", ["old names", "two files"])
def test_other_forms_of_a_checkpoint(form, tmp_path):
    weights = hugging_face.tensors()
    if form == "old names":
        hugging_face.write(tmp_path, old_names(weights))
    else:
        in_two_files(hugging_face.write(tmp_path), weights)
    loaded = models.load_hugging_face(tmp_path)
    expected = hugging_face.forward(weights, INPUTS)
    assert largest(loaded.backbone(INPUTS), expected) < 1e-5
    assert loaded.masked_lm is not None


def test_what_is_absent_or_left_out_is_said(tmp_path):
    weights = hugging_face.tensors(pooler=False, head=False)
    weights["classifier.weight"] = np.zeros((2, 16))
    weights["bert.embeddings.position_ids"] = np.arange(12)
    hugging_face.write(tmp_path, weights, attention_probs_dropout_prob=0.2)
    loaded = models.load_hugging_face(tmp_path)
    assert loaded.masked_lm is None
    dropout, pooler, others = loaded.notes
    assert "0.1" in dropout and "0.2" in dropout
    assert "no pooler" in pooler
    assert others == "Left out of it: classifier.weight."


@pytest.mark.parametrize("tied", [True, False])
def test_output_weights_must_be_those_of_the_embedding(tied, tmp_path):
    weights = hugging_face.tensors()
    decoder = weights["bert.embeddings.word_embeddings.weight"].copy()
    decoder[3, 3] += 0 if tied else 1
    weights["cls.predictions.decoder.weight"] = decoder
    loaded = models.load_hugging_face(hugging_face.write(tmp_path, weights))
    assert (loaded.masked_lm is not None) is tied
    assert any("not tied" in note for note in loaded.notes) is not tied


def test_writing_undoes_reading():
    sizes = {
        "vocabulary_size": 30,
        "num_layers": 2,
        "hidden_dim": 16,
        "intermediate_dim": 24,
        "max_sequence_length": 12,
        "num_segments": 2,
    }
    size = {k: v for k, v in sizes.items() if k != "vocabulary_size"}
    model = models.bert_masked_lm(
        models.bert({**size, "num_heads": 4}, 30), next_sentence=True
    )
    shapes = {v.path: v.shape for v in model.weights}
    table = (
        *hugging_face_names.encoder_tensors(sizes),
        *hugging_face_names.pooler_tensors(sizes),
        *hugging_face_names.masked_lm_tensors(sizes),
    )
    # One entry for each variable, and no other.
    assert {x.variable for x in table} == {
        path for path in shapes if not path.startswith("next_sentence")
    }
    weights = hugging_face.tensors()
    written = {}
    for tensor in table:
        name = tensor.name
        name = name if name.startswith("cls.") else f"bert.{name}"
        value = tensor.read(weights[name], shapes[tensor.variable])
        written[name] = tensor.write(value)
    assert written.keys() == weights.keys()
    for name, value in written.items():
        np.testing.assert_array_equal(value, weights[name].astype("float32"))


def without(weights, *endings):
    return {k: x for k, x in weights.items() if not k.endswith(endings)}


def test_missing_tensors_are_named(tmp_path):
    weights = without(hugging_face.tensors(), "1.output.dense.bias", "key.bias")
    hugging_face.write(tmp_path, weights)
    with pytest.raises(DataError, match="lacks 3 of 44") as caught:
        models.load_hugging_face(tmp_path)
    assert "encoder.layer.1.output.dense.bias" in str(caught.value)
    assert "encoder.layer.0.attention.self.key.bias" in str(caught.value)


def test_of_many_missing_tensors_the_first_are_named(tmp_path):
    hugging_face.write(tmp_path, num_hidden_layers=3)
    with pytest.raises(DataError, match=r"layer\.2\.\S+ and 12 more"):
        models.load_hugging_face(tmp_path)


def test_a_part_of_a_head_is_no_head(tmp_path):
    hugging_face.write(
        tmp_path, without(hugging_face.tensors(), "transform.dense.bias")
    )
    with pytest.raises(DataError, match=r"transform\.dense\.bias"):
        models.load_hugging_face(tmp_path)


def test_tensors_of_another_shape_are_named(tmp_path):
    hugging_face.write(tmp_path, intermediate_size=20, vocab_size=28)
    with pytest.raises(DataError) as caught:
        models.load_hugging_face(tmp_path)
    message = str(caught.value)
    assert "word_embeddings.weight has (30, 16), expected (28, 16)" in message
    assert "0.intermediate.dense.weight has (24, 16), expected (20" in message


WRONG_CONFIGS = {
    "other model": ({"model_type": "roberta"}, "'roberta'"),
    "no model": ({"model_type": None}, "None"),
    "activation": ({"hidden_act": "relu"}, "'relu'"),
    "positions": (
        {"position_embedding_type": "relative_key"},
        "'relative_key'",
    ),
    "decoder": ({"is_decoder": True}, "is_decoder=False"),
    "size missing": ({"hidden_size": None}, "lacks hidden_size"),
    "size of text": ({"num_hidden_layers": "2"}, "num_hidden_layers='2'"),
    "heads": ({"num_attention_heads": 5}, "num_heads=5"),
    "epsilon": ({"layer_norm_eps": -1.0}, "layer_norm_epsilon=-1.0"),
}


@pytest.mark.parametrize("mistake", WRONG_CONFIGS)
def test_what_cannot_be_computed_is_refused(mistake, tmp_path):
    changes, fragment = WRONG_CONFIGS[mistake]
    hugging_face.write(tmp_path, **changes)
    with pytest.raises(UsageError) as caught:
        models.load_hugging_face(tmp_path)
    assert fragment in str(caught.value)


def pickled(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def cut(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def one_part(directory):
    in_two_files(directory, hugging_face.tensors())
    (directory / "b.safetensors").unlink()


def integers(directory):
    weights = hugging_face.tensors()
    hugging_face.write(directory, weights, "int8")


BROKEN = {
    "pickle": (pickled, "safe_serialization"),
    "no weights": (
        lambda d: (d / "model.safetensors").unlink(),
        "no model.safetensors",
    ),
    "cut": (cut, "not a whole safetensors file"),
    "one part": (one_part, "b.safetensors"),
    "integers": (integers, "is I8"),
    "no config": (lambda d: (d / "config.json").unlink(), "Cannot read"),
    "config": (lambda d: (d / "config.json").write_text("{"), "not JSON"),
    "list": (lambda d: (d / "config.json").write_text("[]"), "JSON object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name, tmp_path):
    break_it, fragment = BROKEN[name]
    break_it(hugging_face.write(tmp_path))
    with pytest.raises(DataError) as caught:
        models.load_hugging_face(tmp_path)
    assert fragment in str(caught.value)
    assert str(tmp_path) in str(caught.value)
