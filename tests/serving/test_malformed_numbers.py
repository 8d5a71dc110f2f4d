"""Odd ids and floats to real exports: refused, or answered as expected."""

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from kbig import models
from tests.serving.exports import LENGTH
from tests.serving.exports import are_refused
from tests.serving.exports import drawn
from tests.serving.exports import have
from tests.serving.exports import served_model
from tests.text_models import CLASSES
from tests.text_models import TEXTS

LONGEST = 512  # Positions that the model has.
EDGES = [-(2**31), -99, -66, -2, -1, 0, 1, 2, 65, 66, 2**31 - 1]


def change_value(draw, inputs):
    column = inputs[draw(st.sampled_from(sorted(inputs)))]
    if column.size:
        value = draw(st.sampled_from(EDGES))
        column.flat[draw(st.integers(0, column.size - 1))] = value


def change_shape(draw, inputs):
    name = draw(st.sampled_from(sorted(inputs)))
    cuts = [
        lambda x: x[:1],
        lambda x: x[:0],
        lambda x: x[:, :1],
        lambda x: x[:, :-1],
        lambda x: x[0],
        lambda x: x[..., None],
        lambda x: np.repeat(x, 2, 0),
    ]
    cut = draw(st.sampled_from(cuts))
    for key in draw(st.sampled_from([[name], list(inputs)])):
        inputs[key] = cut(inputs[key])


def change_dtype(draw, inputs):
    name = draw(st.sampled_from(sorted(inputs)))
    dtypes = ["int64", "uint8", "int16", "float32", "float64"]
    inputs[name] = inputs[name].astype(draw(st.sampled_from([*dtypes, "U"])))
    if inputs[name].dtype.kind == "f" and inputs[name].size:
        inputs[name].flat[0] = draw(st.sampled_from([1.5, np.nan, np.inf, 1]))
    if inputs[name].dtype == "int64" and inputs[name].size:
        inputs[name].flat[0] += draw(st.sampled_from([0, 2**32, -(2**40)]))


def change_names(draw, inputs):
    column = inputs.pop(draw(st.sampled_from(sorted(inputs))))
    if draw(st.booleans()):
        inputs[draw(st.sampled_from(["ids", "token_ids "]))] = column


CHANGES = [
    (),
    (change_value,),
    (change_value,),
    (change_shape,),
    (change_shape,),
    (change_dtype,),
    (change_value, change_dtype),
    (change_names,),
]


@st.composite
def ids(draw):
    rows = draw(st.integers(1, 3))
    steps = draw(st.sampled_from([1, 2, LENGTH, LONGEST, LONGEST + 1]))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    inputs = {
        "token_ids": generator.integers(0, 60, (rows, steps), "int32"),
        "segment_ids": generator.integers(0, 2, (rows, steps), "int32"),
        "padding_mask": np.ones((rows, steps), "int32"),
    }
    for change in draw(st.sampled_from(CHANGES)):
        change(draw, inputs)
    return inputs


def is_sound(inputs, vocabulary_size):
    """Whether the inputs are ids as the model's documentation has them."""
    if {*inputs} != {"token_ids", "segment_ids", "padding_mask"}:
        return False
    shapes = {x.shape for x in inputs.values()}
    whole = all(x.dtype.kind in "iu" for x in inputs.values())
    if len(shapes) > 1 or not whole or len(min(shapes)) != 2:
        return False
    tokens, segments = inputs["token_ids"], inputs["segment_ids"]
    mask = inputs["padding_mask"].astype("int64")
    return (
        min(tokens.shape) > 0
        and tokens.shape[1] <= LONGEST
        and tokens.min() >= 0
        and tokens.max() < vocabulary_size
        and {*segments.flat} <= {0, 1}
        and mask.min() >= -(2**31)
        and mask.max() < 2**31
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:You are using a softmax")
@drawn(150)
@hypothesis.given(ids())
def test_ids_are_answered_or_refused(topics, inputs):
    answers = topics.answers(inputs, "ids")
    if not is_sound(inputs, len(topics.job.tokenizer.get_vocabulary())):
        assert are_refused(answers)
        return
    given = {k: tf.constant(x, tf.int32) for k, x in inputs.items()}
    logits = topics.logits(given)
    assert have(answers, "logits", logits)
    direct = topics.direct["ids"](**given)["logits"]
    np.testing.assert_allclose(direct, logits, atol=1e-4)


@pytest.mark.parametrize("name, value", [("token_ids", -1), ("segment_ids", 2)])
def test_an_id_that_there_is_not_is_named(topics, name, value):
    inputs = {k: x.numpy() for k, x in topics.encoded(TEXTS).items()}
    inputs[name][1, 2] = value
    given = {k: tf.constant(x) for k, x in inputs.items()}
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        topics.direct["ids"](**given)
    size = {"token_ids": len(topics.job.tokenizer.get_vocabulary())}
    expected = f"{name} must be from 0 to {size.get(name, 2) - 1}"
    assert expected in str(caught.value)
    for answer in topics.answers(inputs, "ids"):
        assert expected in str(answer)


def test_ids_of_examples_are_not_cut_to_32_bits(tmp_path):
    ids = keras.Input((2,), dtype="int32", name="ids")
    x = keras.layers.Flatten()(keras.layers.Embedding(9, 4)(ids))
    model = keras.Model(ids, keras.layers.Dense(3, name="logits")(x))
    with served_model(model, tmp_path) as served:
        answers = served.answers({"ids": [[1, 8]]}, "classify")
        scores = tf.nn.softmax(served.logits(tf.constant([[1, 8]])))
        assert have(answers, "scores", scores)
        for answer in served.answers({"ids": [[1, 2**32]]}, "classify"):
            assert "ids must be of int32" in str(answer)
        for answer in served.answers({"ids": [[1, 9]]}, "classify"):
            assert "ids must be from 0 to 8" in str(answer)


# Floats


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    model = models.mlp((4,), 3, hidden_dims=(8,))
    with served_model(model, tmp_path_factory.mktemp("flowers")) as served:
        yield served


numbers = st.one_of(
    st.sampled_from([0.0, -0.0, 1e-45, 1e30, np.inf, -np.inf, np.nan]),
    st.floats(-10, 10, width=32),
)


@drawn(60)
@hypothesis.given(
    st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1)
)
def test_numbers_are_answered_and_nan_stays_nan(flowers, rows):
    (name,) = [x.name for x in flowers.job.model.inputs]
    array = np.array(rows, "float32")
    logits = flowers.logits(tf.constant(array))
    logits[np.isnan(array).any(-1)] = np.nan
    answers = flowers.answers({name: rows}, "serving_default")
    assert have(answers, "logits", logits)
    for answer in answers:
        labels = [
            "" if np.isnan(row).any() else CLASSES[row.argmax()]
            for row in logits
        ]
        assert answer["label"].tolist() == labels
    answers = flowers.answers({name: rows}, "classify")
    assert have(answers, "scores", tf.nn.softmax(logits))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [[]],
        [[1, 2, 3]],
        [[1, 2, 3, 4, 5]],
        [1, 2, 3, 4],
        [[[1, 2, 3, 4]]],
        [[1, 2, 3, 4], [1, 2, 3]],
        [["1", "2", "3", "4"]],
        [[1, 2, 3, None]],
        [[1j, 2, 3, 4]],
        np.zeros((0, 4), "float32"),
        np.zeros((1, 4), "datetime64[s]"),
        4.0,
        None,
    ],
)
def test_what_are_no_rows_of_numbers_is_refused(flowers, values):
    assert are_refused(flowers.answers(values, "serving_default"))
