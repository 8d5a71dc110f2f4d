"""Text models of every task, exported for servers and run there."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import data
from kbig import export
from kbig import models

TEXTS = ["the cat sat on the mat", "a tree has leaves", "walking and running"]
LENGTH = 16


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(0)
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    backbone = models.bert(size, len(vocabulary()))
    # Weights as they start hardly tell one text from another.
    for weight in backbone.weights:
        if weight.name in ("kernel", "embeddings"):
            weight.assign(10 * weight)
    return backbone


def vocabulary():
    return data.train_vocabulary(TEXTS * 5, 80)


def exported(model, directory, **options):
    report = export.saved_model(
        model,
        directory,
        tokenizer=data.tokenizer(vocabulary()),
        sequence_length=LENGTH,
        **options,
    )
    loaded = tf.saved_model.load(report.path)
    return report, loaded.signatures["serving_default"]


def test_pairs_go_in_as_two_strings(backbone, tmp_path):
    model = models.bert_classifier(backbone, 2)
    pairs = np.array([TEXTS[:2], TEXTS[1:]], dtype=object)
    _, serve = exported(
        model, tmp_path, samples=pairs, class_names=("no", "yes")
    )
    first, second = (tf.constant(list(side)) for side in pairs.T)
    outputs = serve(text=first, text_pair=second)
    encoded = data.encode(
        tf.constant(pairs.tolist()), data.tokenizer(vocabulary()), LENGTH
    )
    assert encoded["segment_ids"].numpy().max() == 1
    np.testing.assert_allclose(
        outputs["logits"], model.predict(encoded, verbose=0), atol=1e-5
    )
    # The order of the two matters.
    swapped = serve(text=second, text_pair=first)
    change = np.abs(swapped["logits"] - outputs["logits"])
    assert change.max() > 1e-2


def test_several_labels_are_judged_one_by_one(backbone, tmp_path):
    model = models.bert_classifier(backbone, 3)
    labels = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], "float32")
    report, serve = exported(
        model,
        tmp_path,
        samples=TEXTS,
        labels=labels,
        class_names=("a", "b", "c"),
        task="multilabel",
    )
    outputs = serve(text=tf.constant(TEXTS))
    assert "label" not in outputs
    np.testing.assert_allclose(
        outputs["probabilities"], tf.sigmoid(outputs["logits"]), atol=1e-6
    )
    assert 0 <= report.metric <= 1


def test_every_piece_gets_a_tag(backbone, tmp_path):
    model = models.bert_token_classifier(backbone, 3)
    names = ("O", "B-X", "I-X")
    report, serve = exported(
        model, tmp_path, samples=TEXTS, class_names=names, task="tags"
    )
    outputs = {k: v.numpy() for k, v in serve(text=tf.constant(TEXTS)).items()}
    assert outputs["label"].shape == outputs["tokens"].shape == (3, LENGTH)
    assert outputs["tokens"][0, :3].tolist() == [b"[CLS]", b"the", b"cat"]
    expected = np.array([name.encode() for name in names])
    assert (outputs["label"] == expected[outputs["logits"].argmax(-1)]).all()
    assert report.top1_agreement == 1.0
