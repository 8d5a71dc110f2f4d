"""What no rule is known for stays as it is, with all it depends on."""

import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

from kbig import compression
from tests.compression.structured.silence import check_exact
from tests.compression.structured.test_shrink_graphs import GENERATOR
from tests.compression.structured.test_shrink_graphs import IMAGES
from tests.compression.structured.test_shrink_graphs import SEQUENCES
from tests.compression.structured.test_shrink_graphs import VECTORS
from tests.compression.structured.test_shrink_graphs import functional


def lambda_reader(x):
    x = layers.Dense(6, name="read")(x)
    x = layers.Lambda(lambda y: y[:, ::-1], output_shape=(6,))(x)
    return layers.Dense(2)(layers.Dense(4, name="free")(x))


def softmax_reader(x):
    x = layers.Dense(6, activation="softmax", name="read")(x)
    return layers.Dense(2)(layers.Dense(4, name="free")(x))


def norm_reader(x):
    x = layers.LayerNormalization()(layers.Dense(6, name="read")(x))
    return layers.Dense(2)(layers.Dense(4, name="free")(x))


def backwards(x):
    return x[:, ::-1]


def custom_activation(x):
    x = layers.Dense(6, activation=backwards, name="read")(x)
    return layers.Dense(2)(layers.Dense(4, name="free")(x))


def input_adder(x):
    y = layers.Add()([layers.Dense(5, name="read")(x), x])
    return layers.Dense(2)(layers.Dense(4, name="free")(y))


def noise_reader(x):
    y = layers.Dense(6, name="read")(x)
    y = layers.Dropout(0.5, noise_shape=(None, 6))(y)
    return layers.Dense(2)(layers.Dense(4, name="free")(y))


def matrix_product(x):
    y = layers.Dense(6, name="read")(x)
    y = ops.matmul(y, np.ones((6, 3), "float32"))
    return layers.Dense(2)(layers.Dense(4, name="free")(y))


def constant_adder(x):
    y = layers.Dense(6, name="read")(x) + np.arange(6, dtype="float32")
    return layers.Dense(2)(layers.Dense(4, name="free")(y))


@keras.saving.register_keras_serializable("tests.shrink")
class Reversed(keras.Model):
    def call(self, inputs):
        return inputs[:, ::-1]

    def compute_output_shape(self, input_shape):
        return input_shape


def subclassed_reader(x):
    y = Reversed(name="reversed")(layers.Dense(6, name="read")(x))
    return layers.Dense(2)(layers.Dense(4, name="free")(y))


WHOLE = {
    "lambda": (lambda_reader, "Lambda"),
    "softmax": (softmax_reader, "softmax"),
    "norm": (norm_reader, "normalization couples"),
    "activation": (custom_activation, "may couple units"),
    "input": (input_adder, "never removed"),
    "noise": (noise_reader, "noise_shape counts the units"),
    "product": (matrix_product, "operation without a rule"),
    "constant": (constant_adder, "never removed"),
    "subclassed": (subclassed_reader, "Reversed, without a rule"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_not_understood_is_kept_whole_and_reported(name):
    build, reason = WHOLE[name]
    plan, smaller = check_exact(functional(VECTORS, build), VECTORS)
    assert [x.layers for x in plan.groups] == [("free",)]
    reasons = {x.layer: x.reason for x in plan.kept_whole}
    assert reason in reasons["read"]
    assert reason in str(plan)


@keras.saving.register_keras_serializable("tests.shrink")
class TiedLogits(layers.Layer):
    """Holds another layer's embedding, as the head of a language model."""

    def __init__(self, embedding, **kwargs):
        super().__init__(**kwargs)
        self.embedding = embedding

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.embedding.embeddings))

    def get_config(self):
        config = keras.saving.serialize_keras_object(self.embedding)
        return {**super().get_config(), "embedding": config}

    @classmethod
    def from_config(cls, config):
        embedding = keras.saving.deserialize_keras_object(
            config.pop("embedding")
        )
        return cls(embedding, **config)


def test_a_weight_that_an_unknown_layer_holds_too_is_kept_whole():
    embedding = layers.Embedding(9, 6, name="tokens")
    x = keras.Input((4,), dtype="int32")
    y = layers.GRU(6, name="gru")(embedding(x))
    y = layers.Dense(6, name="hidden")(layers.Dense(8, name="free")(y))
    model = keras.Model(x, TiedLogits(embedding)(y))
    plan, smaller = check_exact(model, GENERATOR.integers(0, 9, (3, 4)))
    assert {x.layers for x in plan.groups} == {("gru",), ("free",)}
    reasons = {x.layer: x.reason for x in plan.kept_whole}
    assert "shared with what must stay" in reasons["tokens"]
    # Still one matrix.
    assert smaller.layers[-1].embedding is smaller.get_layer("tokens")


def test_a_mask_beside_the_input():
    x = keras.Input((4,), dtype="int32")
    y = layers.Embedding(9, 6, mask_zero=True, name="tokens")(x)
    y = layers.Dense(6, name="hidden")(y)
    y = layers.GlobalAveragePooling1D()(y, mask=ops.not_equal(x, 0))
    model = keras.Model(x, layers.Dense(2)(y))
    plan, _ = check_exact(model, GENERATOR.integers(0, 9, (3, 4)))
    assert len(plan.groups) == 2


def test_noise_that_a_sequence_shares_counts_no_units():
    def build(x):
        x = layers.Dense(6, name="hidden")(x)
        x = layers.Dropout(0.5, noise_shape=(None, 1, None))(x)
        return layers.Dense(2)(layers.GlobalAveragePooling1D()(x))

    plan, smaller = check_exact(functional(SEQUENCES, build), SEQUENCES)
    assert [x.units_after for x in plan.groups] == [3]
    smaller.compile("sgd", "mse")
    smaller.fit(SEQUENCES, np.zeros((len(SEQUENCES), 2)), verbose=0)


def test_grouped_convolutions_are_kept_whole():
    def build(x):
        x = layers.Conv2D(4, 1, name="before")(x)
        x = layers.Conv2D(6, 3, groups=2, name="grouped")(x)
        return layers.Dense(2)(layers.GlobalAveragePooling2D()(x))

    plan = compression.plan_shrink(functional(IMAGES, build), 0.5)
    assert plan.groups == ()
    reasons = {x.layer: x.reason for x in plan.kept_whole}
    assert "groups of channels" in reasons["before"]
    assert "groups of channels" in reasons["grouped"]
