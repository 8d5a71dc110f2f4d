import keras
import numpy as np
import pytest

from kbig import data
from kbig import evaluation
from kbig.errors import GateError
from kbig.errors import UsageError

WORDS = ["a", "b", "c", "##b"]


@pytest.fixture(scope="module")
def tokenizer():
    return data.tokenizer([*data.SPECIAL_TOKENS, *WORDS])


def inputs():
    return {
        name: keras.Input((None,), dtype="int32", name=name)
        for name in ("token_ids", "segment_ids", "padding_mask")
    }


@pytest.fixture(scope="module")
def token_model():
    """Says the id of each token, as the largest of ten logits."""
    given = inputs()
    return keras.Model(given, keras.ops.one_hot(given["token_ids"], 10) * 2.0)


@pytest.fixture(scope="module")
def sum_model():
    """Sums ids, segments and tokens of a row."""
    given = inputs()
    sums = [
        keras.ops.sum(keras.ops.cast(given[name], "float32"), -1)
        for name in sorted(given)
    ]
    return keras.Model(given, keras.ops.stack(sums, -1))


@pytest.mark.parametrize("pairs", [False, True])
def test_texts_are_predicted_in_their_order(sum_model, tokenizer, pairs):
    generator = np.random.default_rng(0)
    texts = [
        " ".join(generator.choice(WORDS[:3], size))
        for size in generator.integers(0, 60, 80)
    ]
    texts = list(zip(texts, texts[1:] + texts[:1])) if pairs else texts
    predicted = evaluation.predict_texts(sum_model, texts, tokenizer, 48, 16)
    encoded = data.encode(texts, tokenizer, 48)
    expected = [encoded[name].numpy().sum(-1) for name in sorted(encoded)]
    np.testing.assert_array_equal(predicted, np.transpose(expected))


def test_xla_sees_whole_batches_only(sum_model, tokenizer):
    texts = ["a " * (size % 40) for size in range(70)]
    expected = evaluation.predict_texts(sum_model, texts, tokenizer, 48, 8)
    shapes = []

    class Spy:
        jit_compile = True

        def predict(self, inputs, batch_size, verbose):
            shapes.append((*inputs["token_ids"].shape, batch_size))
            return sum_model.predict(inputs, batch_size=batch_size, verbose=0)

    predicted = evaluation.predict_texts(Spy(), texts, tokenizer, 48, 8)
    np.testing.assert_array_equal(predicted, expected)
    # 30 texts of up to 14 words, 16 of up to 22, and 24 longer ones.
    assert shapes == [(32, 16, 8), (16, 24, 8), (24, 48, 8)]


def test_tags_are_those_of_first_pieces(token_model, tokenizer):
    words = [("ab", "\u0007", "c"), ("b",) * 30, ("a",), ("c",) * 12]
    predicted = evaluation.predict_tags(token_model, words, tokenizer, 24)
    # "ab" is "a" (5) and "##b" (8); what is cut off is 0.
    expected = [[5, 0, 7], [6] * 22 + [0] * 8, [5], [7] * 12]
    assert [row.tolist() for row in predicted] == expected


def test_tags_of_logits_that_are_not_finite_are_none(token_model, tokenizer):
    broken = keras.Model(token_model.input, token_model.output * np.nan)
    with pytest.raises(GateError, match="training diverged"):
        evaluation.predict_tags(broken, [("ab", "c")], tokenizer, 24)


@pytest.mark.ci
def test_a_model_learns_tags_from_batches(tokenizer):
    generator = np.random.default_rng(0)
    kinds = {"a": 0, "ab": 1, "b": 2, "c": 0}
    words = [
        tuple(generator.choice(list(kinds), size))
        for size in generator.integers(1, 30, 100)
    ]
    tags = [np.array([kinds[word] for word in row]) for row in words]
    given = inputs()
    hidden = keras.layers.Embedding(10, 8)(given["token_ids"])
    # "a" and "ab" differ in what follows.
    hidden = keras.layers.Conv1D(16, 3, padding="same", activation="relu")(
        hidden
    )
    model = keras.Model(given, keras.layers.Dense(3)(hidden))
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="mean_with_sample_weight"
    )
    model.compile(keras.optimizers.Adam(2e-2), loss, weighted_metrics=["acc"])
    batches = data.tagged_batches(words, tags, 16, tokenizer, 40, shuffle=True)
    fitted = model.fit(batches, epochs=10, verbose=0, shuffle=False)
    assert fitted.history["acc"][-1] > 0.99
    predicted = evaluation.predict_tags(model, words, tokenizer, 40)
    report = evaluation.tagging(predicted, tags, ("x", "y", "z"))
    assert report.token_accuracy > 0.99


def test_nothing_to_predict(token_model, tokenizer):
    with pytest.raises(UsageError, match="Received: none"):
        evaluation.predict_texts(token_model, [], tokenizer, 24)
    with pytest.raises(UsageError, match="Received: none"):
        evaluation.predict_tags(token_model, [], tokenizer, 24)


DECISIONS = {
    "classification": (np.eye(3)[[0, 1, 2, 1]], [0, 1, 2, 2], "abc"),
    "multilabel": (
        np.array([[1.0, -1, 2], [-1, 1, 1]]),
        np.array([[1, 0, 0], [0, 1, 1]]),
        "abc",
    ),
    "regression": (np.array([[1.0], [3], [2]]), [1.0, 2.0, 4.0], ()),
    "tags": ([[0, 1, 2], [1]], [[0, 1, 0], [1]], ("O", "B-X", "I-X")),
}


def test_every_task_is_tried():
    assert set(DECISIONS) == set(evaluation.TASKS)


@pytest.mark.parametrize("name", DECISIONS)
def test_scores_of_decisions_are_the_main_metrics_of_reports(name):
    task = evaluation.TASKS[name]
    outputs, labels, class_names = DECISIONS[name]
    report = task.evaluate(outputs, labels, class_names)
    decisions = {
        "classification": lambda x: x.argmax(-1),
        "multilabel": lambda x: x > 0,
        "regression": np.ravel,
        "tags": lambda x: x,
    }[name](outputs)
    score = task.score(decisions, labels, class_names)
    assert getattr(report, task.metric) == pytest.approx(score)
    assert task.metric == task.metrics[0]
    for metric in task.metrics:
        assert np.isfinite(getattr(report, metric))
    assert len(report.interval) == 2
