"""A teacher of one width and depth, a student of another."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import data
from kbig import models
from kbig.errors import UsageError
from kbig.training import Runtime
from kbig.tuning.distillation import Distiller
from kbig.tuning.distillation_losses import DistillationLoss
from kbig.tuning.distillation_losses import LabelAccuracy
from kbig.tuning.distillation_losses import agreement
from kbig.tuning.distillation_losses import distillation_targets
from kbig.tuning.distillation_losses import hidden_state_loss
from kbig.tuning.transfer import teacher_logits

TINY = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "dropout": 0.0}
LARGE = {"num_layers": 2, "hidden_dim": 48, "num_heads": 3, "dropout": 0.0}
ROWS, STEPS = 32, 8


def classifier(size, vocabulary_size=40, classes=3):
    backbone = models.bert(size, vocabulary_size)
    return models.bert_classifier(backbone, classes, 0.0, "mean")


def batch():
    random = np.random.default_rng(0)
    lengths = random.integers(3, STEPS + 1, ROWS)
    mask = (np.arange(STEPS) < lengths[:, None]).astype("int32")
    ids = random.integers(5, 40, (ROWS, STEPS)).astype("int32") * mask
    return {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": mask,
    }


def fit(distiller, epochs=1, runtime=None):
    runtime = runtime or Runtime("none", "float32", False)
    inputs = batch()
    logits = distiller.teacher(inputs).numpy()
    targets = distillation_targets(logits.argmax(-1), logits)
    with runtime.scope():
        distiller.compile(
            keras.optimizers.Adam(3e-3),
            DistillationLoss(),
            metrics=[LabelAccuracy(), agreement],
            jit_compile=runtime.jit_compile,
        )
    history = distiller.fit(
        inputs, targets, ROWS, epochs, verbose=0, shuffle=False
    )
    return inputs, history.history


@pytest.mark.ci
def test_a_student_comes_nearer_in_every_term(tmp_path):
    student, teacher = classifier(TINY), classifier(LARGE)
    before = teacher.get_weights()
    inputs, history = fit(Distiller(student, teacher), epochs=60)
    for term in ("loss", "hidden_loss", "attention_loss"):
        assert history[term][-1] < 0.7 * history[term][0], term
    assert history["agreement"][-1] > 0.75
    for old, new in zip(before, teacher.get_weights()):
        np.testing.assert_array_equal(old, new)
    # What is left is a plain model of its own size.
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_array_equal(loaded(inputs), student(inputs))
    assert loaded.count_params() == classifier(TINY).count_params()


def test_terms_are_what_their_formulas_say():
    student, teacher = classifier(TINY), classifier(LARGE)
    distiller = Distiller(student, teacher, hidden=0.5, attention=0.0)
    inputs = batch()
    distiller(inputs)
    taught = keras.Model(
        teacher.input,
        [
            teacher.get_layer(name).output
            for name in ("embeddings_dropout", "transformer_layer_1")
        ],
    )(inputs)
    learnt = keras.Model(
        student.input,
        [
            student.get_layer(name).output
            for name in ("embeddings_dropout", "transformer_layer_0")
        ],
    )(inputs)
    expected = np.mean(
        [
            hidden_state_loss(layer(x), y, inputs["padding_mask"])
            for layer, x, y in zip(distiller.projections, learnt, taught)
        ]
    )
    (added,) = distiller.losses
    assert float(added) == pytest.approx(0.5 * expected, rel=1e-5)


def test_a_student_like_its_teacher_has_nothing_to_learn_of_attention():
    teacher = classifier(LARGE)
    student = keras.models.clone_model(teacher)
    student.set_weights(teacher.get_weights())
    distiller = Distiller(student, teacher, hidden=0.0)
    distiller(batch())
    (added,) = distiller.losses
    assert float(added) == pytest.approx(0, abs=1e-6)
    assert not [
        variable
        for variable in distiller.trainable_variables
        if "projection" in variable.path
    ]


def test_a_replica_without_rows_adds_nothing():
    distiller = Distiller(classifier(TINY), classifier(LARGE))
    distiller({name: ids[:0] for name, ids in batch().items()})
    assert [float(loss) for loss in distiller.losses] == [0, 0]


@pytest.mark.slow
def test_fit_works_under_xla_in_mixed_precision():
    runtime = Runtime("none", "mixed_bfloat16", True)
    with runtime.scope():
        distiller = Distiller(classifier(TINY), classifier(LARGE))
    _, history = fit(distiller, 2, runtime)
    for term in ("loss", "hidden_loss", "attention_loss"):
        assert np.isfinite(history[term]).all()
    assert history["loss"][1] < history["loss"][0]


@pytest.mark.ci
def test_replicas_find_the_loss_of_one_device():
    runtime = Runtime("mirrored", "float32", False)
    with runtime.scope():
        distiller = Distiller(classifier(TINY), classifier(LARGE))
    inputs = batch()
    logits = distiller.teacher(inputs).numpy()
    targets = distillation_targets(logits.argmax(-1), logits)
    expected = float(DistillationLoss()(targets, distiller(inputs)))
    expected += float(sum(distiller.losses))
    _, history = fit(distiller, 2, runtime)
    # The rows of a replica are weighted alike, however many tokens they have.
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
    assert history["loss"][1] < history["loss"][0]


def test_logits_of_a_teacher_keep_the_order_of_the_texts():
    words = [chr(ord("a") + n) for n in range(26)]
    vocabulary = (*data.SPECIAL_TOKENS, *words)
    tokenizer = data.tokenizer(vocabulary)
    teacher = classifier(LARGE, len(vocabulary))
    texts = [" ".join(words[:n][::-1]) for n in (9, 1, 26, 3, 14)]
    found = teacher_logits(teacher, texts, tokenizer, 16, batch_size=2)
    expected = teacher(data.encode(texts, tokenizer, 16))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    "student, options, message",
    [
        (LARGE | {"num_layers": 3}, {}, "3 layers, taught by 2"),
        (TINY, {"hidden": 0.0, "attention": 0.0}, "hidden=0.0, attention=0.0"),
        (TINY, {"hidden": -1.0}, "hidden=-1.0"),
        (TINY, {"attention": float("nan")}, "attention=nan"),
    ],
)
def test_what_cannot_be_taught_is_named(student, options, message):
    teacher = classifier(LARGE)
    with pytest.raises(UsageError, match=message):
        Distiller(classifier(student), teacher, **options)
    assert teacher.trainable


def test_different_vocabularies_are_refused():
    with pytest.raises(UsageError, match="Received: 50 and 40 tokens"):
        Distiller(classifier(TINY, 50), classifier(LARGE))


def test_a_deeper_student_can_learn_attention():
    deep = classifier(TINY | {"num_layers": 3})
    distiller = Distiller(deep, classifier(LARGE), hidden=0.0)
    distiller(batch())
    assert len(distiller.losses) == 1


def test_only_classifiers_of_texts_teach():
    tagger = models.bert_token_classifier(models.bert(TINY, 40), 3)
    regressor = classifier(TINY, classes=1)
    for model in (tagger, regressor, models.mlp((4,), 2)):
        with pytest.raises(UsageError, match="must be a classifier of texts"):
            Distiller(classifier(TINY), model)
        with pytest.raises(UsageError, match="must be a classifier of texts"):
            teacher_logits(model, ["a"], None, 8)
    with pytest.raises(UsageError, match="Received: none"):
        teacher_logits(classifier(TINY), [], None, 8)
    inputs = {
        name: keras.Input((None,), dtype="int32", name=name) for name in batch()
    }
    nested = keras.Model(inputs, classifier(TINY)(inputs))
    with pytest.raises(UsageError, match="side by side"):
        Distiller(classifier(TINY), nested)
    assert tf.executing_eagerly()
