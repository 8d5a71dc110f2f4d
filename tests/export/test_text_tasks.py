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


@pytest.mark.ci
@pytest.mark.slow
def test_pairs_go_in_as_two_strings(backbone, tmp_path):
    model = models.bert_classifier(backbone, 2)
    head = model.layers[-1].kernel
    head.assign(10 * head)  # As the weights below it.
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


@pytest.mark.ci
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
    chosen, wanted = outputs["logits"].numpy() > 0, labels > 0.5
    # Two of what both say, over all that either says.
    f1 = 2 * (chosen & wanted).sum() / (chosen.sum() + wanted.sum())
    assert 0 < f1 < 1
    assert report.metric == pytest.approx(f1)


@pytest.mark.ci
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


@pytest.mark.ci
def test_padding_is_not_compared(tmp_path):
    """A tagger whose every word is tagged wrongly, and no padding is."""
    inputs = {
        name: keras.Input((LENGTH,), dtype="int32", name=name)
        for name in ("token_ids", "padding_mask")
    }

    def tagger(name, sign):
        shown = keras.ops.cast(inputs["padding_mask"], "float32")
        odd = keras.ops.cast(inputs["token_ids"] % 2, "float32") - 0.5
        first = sign * shown * odd + 9.0 * (1 - shown)
        logits = keras.ops.stack([first, -first], axis=-1)
        return keras.Model(inputs, {"logits": logits}, name=name)

    ids = np.arange(40 * LENGTH, dtype="int32").reshape(40, LENGTH)
    mask = (np.arange(LENGTH) < 2).astype("int32") + 0 * ids
    samples = {"token_ids": ids, "padding_mask": mask}
    path = export.saved_model(tagger("a", 1.0), tmp_path, samples=samples).path
    tags = {"task": "tags", "labels": (ids + 1) % 2}
    same = export.verify(tagger("a", 1.0), [path], samples, **tags)
    assert same.passed
    # Whatever the labels of padding are.
    assert same.keras_metric == 1.0
    report = export.verify(tagger("b", -1.0), [path], samples, **tags)
    (artefact,) = report.artefacts
    assert (artefact.top1_agreement, artefact.metric) == (0.0, 1.0)
    # From 0.5 to -0.5, and the range is 1: padding would make it 18.
    assert artefact.largest_difference == pytest.approx(1.0)
    assert "of 80 decisions" in artefact.faults[1]
