"""Models by hand, with what the builders of kbig do not have."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from kbig import compression
from kbig import models
from tests.compression.structured.silence import check_exact
from tests.compression.structured.silence import layer_at

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.normal(size=(4, 8, 8, 3)).astype("float32")
SEQUENCES = GENERATOR.normal(size=(4, 6, 3)).astype("float32")
VECTORS = GENERATOR.normal(size=(4, 5)).astype("float32")


def functional(inputs, build, **options):
    x = keras.Input(inputs.shape[1:])
    return keras.Model(x, build(x), **options)


def residual_with_concat(x):
    x = layers.Conv2D(6, 3, padding="same", name="stem")(x)
    a = layers.Conv2D(6, 3, padding="same", activation="relu", name="a")(x)
    x = layers.Add()([x, a])
    b = layers.Conv2D(4, 1, name="b")(x)
    x = layers.Concatenate()([b, x])
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(5, 3, name="c")(x)
    return layers.Dense(2, name="logits")(layers.Flatten()(x))


def squeeze_and_excite(x):
    x = layers.Conv2D(8, 3, name="conv")(x)
    s = layers.GlobalAveragePooling2D(keepdims=True)(x)
    s = layers.Dense(4, activation="relu", name="squeeze")(s)
    s = layers.Dense(8, activation="sigmoid", name="excite")(s)
    x = layers.Multiply()([x, s])
    return layers.Dense(2)(layers.GlobalMaxPooling2D()(x))


def operations(x):
    x = layers.Conv2D(6, 3, name="conv")(x)
    x = ops.relu(x) * 2.0 + ops.tanh(x)
    x = ops.transpose(x, (0, 3, 1, 2))
    x = ops.mean(x[:, :, 1:, :], axis=(2, 3))
    x = ops.concatenate([x, ops.expand_dims(x, 1)[:, 0, :]], axis=-1)
    return layers.Dense(2)(x)


def image_zoo(x):
    x = layers.ZeroPadding2D(1)(x)
    x = layers.SeparableConv2D(6, 3, depth_multiplier=2, name="separable")(x)
    x = layers.PReLU(shared_axes=(1, 2))(x)
    x = layers.AveragePooling2D(2)(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, use_bias=False)(x)
    x = layers.UpSampling2D(2)(x)
    x = layers.Conv2DTranspose(4, 3, name="transposed")(x)
    x = layers.SpatialDropout2D(0.5)(x)
    x = layers.Cropping2D(1)(x)
    x = layers.Permute((3, 1, 2))(x)
    return layers.Dense(2)(layers.Flatten()(x))


def reshaped(x):
    x = layers.Dense(4 * 4 * 6, name="dense")(layers.Flatten()(x))
    x = layers.Reshape((4, 4, 6))(x)
    x = layers.Conv2D(4, 3, name="conv")(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Reshape((1, 1, 4))(x)
    return layers.Dense(2)(layers.Flatten()(x))


def channels_first(x):
    x = layers.Permute((3, 1, 2))(x)
    options = {"data_format": "channels_first"}
    x = layers.SeparableConv2D(6, 1, name="separable", **options)(x)
    x = layers.BatchNormalization(axis=1)(x)
    x = layers.Flatten(**options)(x)
    return layers.Dense(2)(x)


def sequence_zoo(x):
    x = layers.Conv1D(6, 3, padding="causal", name="conv")(x)
    x = layers.TimeDistributed(layers.Dense(8, name="inner"), name="outer")(x)
    x = layers.GRU(6, return_sequences=True, reset_after=False, name="gru")(x)
    x = layers.Bidirectional(
        layers.SimpleRNN(4, return_sequences=True, name="cell"),
        merge_mode="sum",
        name="both",
    )(x)
    x = layers.EinsumDense(
        "abc,cd->abd", output_shape=(None, 8), bias_axes="d", name="einsum"
    )(x)
    return layers.Dense(2)(layers.GlobalAveragePooling1D()(x))


def states(x):
    _, h, c = layers.LSTM(6, return_state=True, name="encoder")(x)
    x = layers.LSTM(6, name="decoder")(x, initial_state=[h, c])
    x = layers.RepeatVector(3)(x)
    x = layers.LSTM(4, name="last")(x)
    return layers.Dense(2)(x)


def attention(x):
    x = layers.Dense(8, name="width")(x)
    y = layers.MultiHeadAttention(4, 3, name="attention")(x, x)
    x = layers.Add()([x, y])
    return layers.Dense(2)(layers.GlobalAveragePooling1D()(x))


GRAPHS = {
    "residual-concat": (residual_with_concat, IMAGES),
    "squeeze-excite": (squeeze_and_excite, IMAGES),
    "operations": (operations, IMAGES),
    "images": (image_zoo, IMAGES),
    "reshaped": (reshaped, IMAGES),
    "sequences": (sequence_zoo, SEQUENCES),
    "states": (states, SEQUENCES),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_the_rest_computes_the_same(name):
    build, inputs = GRAPHS[name]
    plan, _ = check_exact(functional(inputs, build), inputs)
    assert not plan.kept_whole[1:], plan  # The logits alone.


def test_additions_tie_and_concatenations_do_not():
    plan = compression.plan_shrink(
        functional(IMAGES, residual_with_concat), 0.5
    )
    found = {x.layers: (x.units, x.units_after) for x in plan.groups}
    assert found == {
        ("stem", "a"): (6, 3),
        ("b",): (4, 2),
        ("c",): (5, 3),
    }


def test_a_reshape_ties_the_units_of_a_channel():
    plan = compression.plan_shrink(functional(IMAGES, reshaped), 0.5)
    kept = {x.layers: x.kept[0] for x in plan.groups}[("dense",)]
    channels = {x % 6 for x in kept}
    assert len(channels) == 3
    assert kept == tuple(x for x in range(96) if x % 6 in channels)


def test_channels_first_convolutions():
    model = functional(IMAGES, channels_first)
    smaller = compression.shrink(model, 0.5)
    assert smaller.get_layer("separable").filters == 3
    assert smaller.layers[-1].kernel.shape == (3 * 64, 2)


def test_a_width_that_attention_keeps_is_shrunk_with_it():
    model = functional(SEQUENCES, attention)
    plan = compression.plan_shrink(model, {"attention": 2, "width": 5})
    smaller = plan.apply()
    shapes = {
        x.name: x.kernel.shape
        for x in smaller.get_layer("attention")._flatten_layers()
        if hasattr(x, "kernel")
    }
    assert shapes["query"] == (5, 2, 3)
    assert shapes["attention_output"] == (2, 3, 5)


def test_a_layer_that_is_called_twice_loses_the_same_units_in_both():
    shared = layers.Dense(6, activation="relu", name="shared")
    first, second = keras.Input((5,)), keras.Input((5,))
    a = layers.Dense(5, name="a")(first)
    b = layers.Dense(5, name="b")(second)
    x = layers.Concatenate()([shared(a), shared(b)])
    model = keras.Model([first, second], layers.Dense(2)(x))
    plan, smaller = check_exact(model, [VECTORS, VECTORS[::-1]])
    assert {(*sorted(x.layers), x.units_after) for x in plan.groups} == {
        ("a", "b", 3),
        ("shared", 3),
    }
    assert len(smaller.layers) == len(model.layers)


def test_a_layer_that_also_reads_an_input_keeps_what_it_reads():
    shared = layers.Dense(5, name="shared")
    x = keras.Input((5,))
    model = keras.Model(x, layers.Dense(2)(shared(shared(x))))
    plan = compression.plan_shrink(model, 0.5)
    assert plan.groups == ()
    assert plan.kept_whole[0].layer == "shared"
    assert "shared with what must stay" in plan.kept_whole[0].reason


def test_models_inside_models():
    inner_input = keras.Input((6,))
    inner = keras.Model(
        inner_input,
        [
            layers.Dense(4, name="left")(inner_input),
            layers.Dense(8, activation="relu", name="right")(inner_input),
        ],
        name="inner",
    )
    tail = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6, name="hidden"), layers.ReLU()],
        name="tail",
    )
    x = keras.Input((5,))
    left, right = inner(layers.Dense(6, name="first")(x))
    outputs_ = layers.Dense(2)(layers.Concatenate()([tail(left), right]))
    plan, smaller = check_exact(keras.Model(x, outputs_), VECTORS)
    assert {x.layers[0] for x in plan.groups} == {
        "first",
        "inner/left",
        "inner/right",
        "tail/hidden",
    }
    assert smaller.get_layer("inner").output[0].shape == (None, 2)
    assert isinstance(smaller.get_layer("tail"), keras.Sequential)


def test_a_model_inside_that_is_called_twice():
    inner = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, activation="relu", name="hidden")],
        name="inner",
    )
    x = keras.Input((5,))
    y = inner(inner(layers.Dense(6, name="first")(x)))
    plan, smaller = check_exact(keras.Model(x, layers.Dense(2)(y)), VECTORS)
    (group,) = plan.groups
    assert group.layers == ("first", "inner/hidden")
    assert smaller.get_layer("inner").count_params() == 3 * 3 + 3


def test_a_sequential_model_stays_one():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(8, activation="relu", name="hidden"),
            layers.Dense(2),
        ],
        name="plain",
    )
    _, smaller = check_exact(model, IMAGES)
    assert isinstance(smaller, keras.Sequential)
    assert smaller.name == "plain"
    assert smaller.get_layer("hidden").kernel.shape == (36 * 3, 4)


def test_options_names_and_flags_carry_over():
    def build(x):
        x = layers.Dense(
            6,
            kernel_regularizer=keras.regularizers.L2(0.1),
            bias_constraint=keras.constraints.NonNeg(),
            dtype="mixed_bfloat16",
            name="hidden",
        )(x)
        frozen = layers.Dense(4, name="frozen", trainable=False)
        return layers.Dense(2, name="logits")(frozen(x))

    model = functional(VECTORS, build, name="mine")
    model.get_layer("logits").kernel.trainable = False
    smaller = compression.shrink(model, 0.5)
    hidden = layer_at(smaller, "hidden")
    assert smaller.name == "mine"
    assert not smaller.get_layer("frozen").trainable
    assert hidden.dtype_policy.name == "mixed_bfloat16"
    assert float(hidden.kernel_regularizer.l2) == pytest.approx(0.1)
    assert isinstance(hidden.bias_constraint, keras.constraints.NonNeg)
    assert [x.path for x in smaller.trainable_weights] == [
        "hidden/kernel",
        "hidden/bias",
        "logits/bias",
    ]
    assert len(smaller.losses) == 1


def test_both_directions_lose_the_same_units():
    model = models.rnn((6, 3), 2, units=(6,), bidirectional=True)
    (group,) = compression.plan_shrink(model, {"lstm_0": 2}).groups
    assert group.layers == ("lstm_0/forward_lstm_0", "lstm_0/backward_lstm_0")
    assert group.units == 6
    assert group.kept[0] == group.kept[1]


def test_initializers_that_hold_arrays_of_the_old_shape():
    def fixed(shape, dtype=None):
        return ops.ones((4, 6), dtype)

    table = GENERATOR.normal(size=(9, 4))
    start = keras.initializers.Constant(table)
    x = keras.Input((4,), dtype="int32")
    y = layers.Embedding(9, 4, embeddings_initializer=start, name="tokens")(x)
    y = layers.Dense(6, kernel_initializer=fixed, name="hidden")(y)
    model = keras.Model(x, layers.Dense(2)(layers.GlobalMaxPooling1D()(y)))
    inputs = GENERATOR.integers(0, 9, (3, 4))
    plan, smaller = check_exact(model, inputs)
    assert [x.units_after for x in plan.groups] == [2, 3]
    hidden = smaller.get_layer("hidden")
    # What fits any shape stays as it was.
    assert isinstance(hidden.bias_initializer, keras.initializers.Zeros)
    last = smaller.layers[-1].kernel_initializer
    assert isinstance(last, keras.initializers.GlorotUniform)
