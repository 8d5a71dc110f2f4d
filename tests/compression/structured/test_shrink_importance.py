"""Which units matter: norms, first-order Taylor, the caller's scores."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kbig import compression
from kbig import models
from kbig.compression.structured.subject import Subject
from tests.compression.structured.silence import randomize
from tests.contracts import check_usage_error

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
GENERATOR = np.random.default_rng(0)


def scores(model, path, *options):
    subject = Subject.of(model, 128)
    groups, _ = subject.groups(None)
    by_class = subject.scores(*options, groups)
    return by_class[subject.classes.class_of[subject.trace.sources[path].units]]


def magnitudes(model, path):
    return scores(model, path, "magnitude", None, None)


def test_the_magnitude_of_a_dense_unit_has_its_bias():
    model = models.mlp((5,), 2, (4,))
    randomize(model)
    kernel, bias = model.get_layer("hidden_0").get_weights()
    np.testing.assert_allclose(
        magnitudes(model, "hidden_0"),
        np.sqrt((kernel**2).sum(axis=0) + bias**2),
        rtol=1e-6,
    )


def test_the_magnitude_of_a_recurrent_unit_has_all_its_gates():
    model = models.rnn((6, 3), 2, units=(4,))
    randomize(model)
    total = sum(
        (w.reshape(-1, 4, 4) ** 2).sum(axis=(0, 1))
        for w in model.get_layer("lstm_0").get_weights()
    )
    np.testing.assert_allclose(
        magnitudes(model, "lstm_0"), np.sqrt(total), rtol=1e-6
    )


def test_units_that_go_together_have_the_mean_magnitude():
    model = models.cnn((8, 8, 1), 2, filters=(4,), block="residual")
    randomize(model)
    norms = [
        np.sqrt((model.get_layer(name).kernel.numpy() ** 2).sum((0, 1, 2)))
        for name in ("stage_0_second", "stage_0_shortcut")
    ]
    np.testing.assert_allclose(
        magnitudes(model, "stage_0_second"), np.mean(norms, axis=0), rtol=1e-6
    )


def batches(shape, count=3):
    return [
        (
            GENERATOR.normal(size=(8, *shape)).astype("float32"),
            GENERATOR.integers(0, 2, 8),
        )
        for _ in range(count)
    ]


def gate_gradients(model, layer, data):
    """The oracle: the derivative of the loss by a factor on each channel."""
    hidden = model.get_layer(layer).output
    below = keras.Model(model.input, hidden)
    above = keras.Model(hidden, model.output)
    totals = []
    for x, y in data:
        gate = tf.ones(hidden.shape[-1])
        with tf.GradientTape() as tape:
            tape.watch(gate)
            loss = LOSS(y, above(below(x) * gate))
        totals.append(np.abs(tape.gradient(loss, gate)))
    return np.mean(totals, axis=0)


@pytest.mark.parametrize(
    "build, path, activation, shape",
    [
        (lambda: models.mlp((5,), 2, (6, 4)), "hidden_0", "dropout_0", (5,)),
        (
            lambda: models.cnn((8, 8, 1), 2, filters=(4, 6)),
            "stage_0_second",
            "stage_0_second_relu",
            (8, 8, 1),
        ),
        (
            lambda: models.cnn((8, 8, 1), 2, filters=(4, 6), block="residual"),
            "stem",
            "stem_relu",
            (8, 8, 1),
        ),
        (
            lambda: models.cnn((8, 8, 1), 2, filters=(4, 6), block="depthwise"),
            "stage_0_pointwise",
            # The depthwise convolution and its norm go with the unit.
            "stage_1_depthwise_relu",
            (8, 8, 1),
        ),
    ],
)
def test_taylor_is_the_derivative_by_a_factor_on_the_unit(
    build, path, activation, shape
):
    model = build()
    randomize(model, seed=1)
    data = batches(shape)
    expected = gate_gradients(model, activation, data)
    assert expected.max() > 0
    found = scores(model, path, "taylor", data, LOSS)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-6)


def test_taylor_sees_what_magnitude_does_not():
    model = models.mlp((5,), 2, (6,))
    randomize(model)
    logits = model.get_layer("logits")
    kernel = logits.kernel.numpy()
    kernel[[1, 4]] = 0  # Nothing reads these units, large as they are.
    logits.kernel.assign(kernel)
    hidden = model.get_layer("hidden_0")
    hidden.kernel.assign(hidden.kernel * np.array([1, 9, 1, 1, 9, 1.0]))
    data = tf.data.Dataset.from_tensor_slices(batches((5,), 1)[0]).batch(4)
    options = {"importance": "taylor", "batches": data, "loss": LOSS}
    (group,) = compression.plan_shrink(model, {"hidden_0": 4}, **options).groups
    assert group.kept == ((0, 2, 3, 5),)
    (group,) = compression.plan_shrink(model, {"hidden_0": 2}).groups
    assert group.kept == ((1, 4),)


def test_taylor_takes_the_loss_and_the_weights_of_the_samples():
    model = models.mlp((5,), 2, (6,))
    randomize(model)
    ((x, y),) = batches((5,), 1)
    weights = np.array([1.0] * 4 + [0.0] * 4, "float32")
    model.compile("sgd", LOSS)
    found = scores(model, "hidden_0", "taylor", [(x, y, weights)], None)
    half = scores(model, "hidden_0", "taylor", [(x[:4], y[:4])], LOSS)
    # Keras divides by the number of samples, whatever they weigh.
    np.testing.assert_allclose(found, half / 2, rtol=1e-4)


def test_frozen_layers_have_gradients_too():
    model = models.mlp((5,), 2, (6,))
    randomize(model)
    data = batches((5,), 1)
    expected = scores(model, "hidden_0", "taylor", data, LOSS)
    model.trainable = False
    found = scores(model, "hidden_0", "taylor", data, LOSS)
    np.testing.assert_array_equal(found, expected)
    assert expected.max() > 0


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_taylor_tells_recurrent_units_apart(cell):
    model = models.rnn(num_outputs=2, cell=cell, vocabulary_size=9, units=(4,))
    x = GENERATOR.integers(1, 9, (4, 6))
    found = scores(
        model, f"{cell}_0", "taylor", [(x, np.array([0, 1, 0, 1]))], LOSS
    )
    assert np.isfinite(found).all()
    assert len(set(found)) == 4


def test_scores_of_the_caller():
    model = models.mlp((5,), 2, (4, 3))
    given = {"hidden_0": [3, 0, 2, 1], "hidden_1": [0, 5, 6]}
    plan = compression.plan_shrink(model, 0.5, importance=given)
    kept = {x.layers[0]: x.kept[0] for x in plan.groups}
    assert kept == {"hidden_0": (0, 2), "hidden_1": (1, 2)}
    assert plan.importance == "given"


def test_a_function_scores_what_it_knows():
    model = models.mlp((5,), 2, (4, 3))
    plan = compression.plan_shrink(
        model,
        0.5,
        layers="hidden_0",
        importance=lambda x: [1, 2, 3, 4] if x.name == "hidden_0" else None,
    )
    assert plan.groups[0].kept == ((2, 3),)


def plan(**options):
    return compression.plan_shrink(models.mlp((5,), 2, (4, 3)), 0.5, **options)


def diverged(**options):
    model = models.mlp((5,), 2, (4, 3))
    model.get_layer("hidden_1").bias.assign([1, np.nan, 2])
    return compression.plan_shrink(model, 0.5, **options)


def two_outputs(loss):
    x = keras.Input((5,))
    y = keras.layers.Dense(4)(x)
    heads = [keras.layers.Dense(1)(y), keras.layers.Dense(2)(y)]
    data = [(DATA[0][0], [np.zeros((2, 1)), np.zeros((2, 2))])]
    return compression.plan_shrink(
        keras.Model(x, heads), 0.5, importance="taylor", batches=data, loss=loss
    )


def test_a_loss_of_its_own_may_take_several_outputs():
    def total(y, outputs):
        return sum(keras.ops.mean((a - b) ** 2) for a, b in zip(y, outputs))

    plan = two_outputs(total)
    assert [x.units_after for x in plan.groups] == [2]


DATA = [(np.zeros((2, 5), "float32"), np.zeros(2))]
MISTAKES = {
    "name": (lambda: plan(importance="norm"), "'norm'", "'taylor'"),
    "kind": (lambda: plan(importance=3), "importance=3"),
    "batches": (lambda: plan(importance="taylor"), "batches=None"),
    "no-batch": (
        lambda: plan(importance="taylor", batches=[], loss=LOSS),
        "without a batch",
    ),
    "no-targets": (
        lambda: plan(importance="taylor", batches=[DATA[0][0]], loss=LOSS),
        "(x, y)",
    ),
    "no-loss": (
        lambda: plan(importance="taylor", batches=DATA),
        "loss=None",
        "not compiled",
    ),
    "loss-name": (
        lambda: plan(importance="taylor", batches=DATA, loss="mze"),
        "loss='mze'",
    ),
    "losses": (
        lambda: plan(importance="taylor", batches=DATA, loss=["mse", "mse"]),
        "loss=['mse', 'mse']",
    ),
    "one-of-two": (lambda: two_outputs("mse"), "loss='mse'", "2 outputs"),
    "two": (lambda: two_outputs(["mse", "mse"]), "2 outputs", "compile"),
    "weight": (diverged, "bias of hidden_1 with NaN"),
    "weight-taylor": (
        lambda: diverged(importance="taylor", batches=DATA, loss=LOSS),
        "bias of hidden_1 with NaN",
    ),
    "data": (
        lambda: plan(
            importance="taylor",
            batches=[(DATA[0][0] * np.nan, DATA[0][1])],
            loss=LOSS,
        ),
        "no finite gradient",
    ),
    "unused": (lambda: plan(batches=DATA), "importance='magnitude'"),
    "unknown": (
        lambda: plan(importance={"hiden": [1]}),
        "['hiden']",
        "hidden_0, hidden_1, logits",
    ),
    "shape": (
        lambda: plan(importance={"hidden_0": [1, 2, 3]}),
        "shape (3,)",
        "(4,)",
    ),
    "nan": (
        lambda: plan(importance={"hidden_0": [1, 2, 3, np.nan]}),
        "nan",
    ),
    "negative": (
        lambda: plan(importance={"hidden_0": [1, 2, 3, -4]}),
        "at least 0",
    ),
    "lacking": (
        lambda: plan(importance={"hidden_0": [1, 2, 3, 4]}),
        "none of hidden_1",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(mistake):
    call, *fragments = MISTAKES[mistake]
    check_usage_error(call, *fragments)
