"""Every entry of the table in a model of one layer, as an int8 file."""

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops
from keras.src.ops import core
from keras.src.ops import numpy as arrays
from keras_hub.src.layers.modeling.cached_multi_head_attention import (
    CachedMultiHeadAttention,
)

import kbig
from kbig.compression.quantization.attach import operations
from kbig.compression.quantization.table import float_class
from kbig.compression.quantization.table import registered
from kbig.compression.quantization.table import spec_of
from kbig.models.transformer import masked_mean
from tests.compression.quantization.int8 import check_equal

L = keras.layers
IMAGE, SERIES, ROW, IDS = (6, 6, 3), (5, 4), (6,), (5,)
ROWS = 16


def of(layer, *shapes):
    """A model of one layer."""
    inputs = [keras.Input(s, name=f"x{i}") for i, s in enumerate(shapes)]
    outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    return keras.Model(inputs, outputs)


def of_operation(function, *shapes):
    inputs = [keras.Input(s, name=f"x{i}") for i, s in enumerate(shapes)]
    return keras.Model(inputs, function(*inputs))


def attention(layer, **options):
    x = keras.Input(SERIES)
    return keras.Model(x, layer(x, x, **options))


def adapted(layer):
    layer.adapt(np.random.default_rng(1).normal(1, 3, (50, *SERIES)))
    return layer


def position():
    x = keras.Input(SERIES)
    places = keras_hub.layers.PositionEmbedding(
        5, initializer=keras.initializers.RandomNormal(stddev=1.0)
    )
    return keras.Model(x, L.Add()([x, places(x)]))


def tied():
    embedding = L.ReversibleEmbedding(
        12, 4, embeddings_initializer=keras.initializers.RandomNormal(stddev=1)
    )
    ids = keras.Input(IDS, dtype="int32")
    return keras.Model(ids, embedding(embedding(ids), reverse=True))


def masked_lm():
    embedding = L.ReversibleEmbedding(12, 4)
    ids = keras.Input(IDS, dtype="int32", name="ids")
    places = keras.Input((2,), dtype="int32", name="places")
    head = keras_hub.layers.MaskedLMHead(token_embedding=embedding)
    return keras.Model([ids, places], head(embedding(ids), places))


def tokens(layer):
    ids = keras.Input(IDS, dtype="int32")
    return keras.Model(ids, layer(ids))


def encoder(**options):
    # Of 4 channels a normalization would make several steps of one.
    x = keras.Input((*SERIES[:-1], 16))
    layer = keras_hub.layers.TransformerEncoder(8, 2, **options)
    return keras.Model(x, layer(x))


def mean_of_real():
    ids = keras.Input(IDS, dtype="int32")
    x = L.Embedding(12, 4)(ids)
    return keras.Model(ids, masked_mean(x, ops.not_equal(ids, 0)))


BUILDERS = {
    L.Dense: lambda: of(L.Dense(5, "relu"), ROW),
    L.Conv1D: lambda: of(L.Conv1D(5, 3, 2, "causal", use_bias=True), SERIES),
    L.Conv2D: lambda: of(L.Conv2D(5, 3, 2, "same"), IMAGE),
    L.DepthwiseConv2D: lambda: of(
        L.DepthwiseConv2D(3, depth_multiplier=2), IMAGE
    ),
    L.SeparableConv2D: lambda: of(L.SeparableConv2D(5, 3), IMAGE),
    L.Conv2DTranspose: lambda: of(L.Conv2DTranspose(5, 3, 2), IMAGE),
    L.EinsumDense: lambda: of(
        L.EinsumDense("abc,cde->abde", (5, 2, 3), bias_axes="de"), SERIES
    ),
    L.Embedding: lambda: tokens(L.Embedding(12, 4)),
    L.ReversibleEmbedding: tied,
    L.BatchNormalization: lambda: of(L.BatchNormalization(), IMAGE),
    L.LayerNormalization: lambda: of(L.LayerNormalization(), SERIES),
    L.Normalization: lambda: of(adapted(L.Normalization()), SERIES),
    L.Activation: lambda: of(L.Activation("silu"), ROW),
    L.ReLU: lambda: of(L.ReLU(6.0), ROW),
    L.LeakyReLU: lambda: of(L.LeakyReLU(0.1), ROW),
    L.Softmax: lambda: of(L.Softmax(), ROW),
    L.Add: lambda: of(L.Add(), ROW, ROW, ROW),
    L.Subtract: lambda: of(L.Subtract(), ROW, ROW),
    L.Multiply: lambda: of(L.Multiply(), ROW, ROW, ROW),
    L.Concatenate: lambda: of(L.Concatenate(), ROW, ROW),
    L.GlobalAveragePooling1D: lambda: of(L.GlobalAveragePooling1D(), SERIES),
    L.GlobalAveragePooling2D: lambda: of(L.GlobalAveragePooling2D(), IMAGE),
    L.Identity: lambda: of(L.Identity(), ROW),
    L.Dropout: lambda: of(L.Dropout(0.5), ROW),
    L.SpatialDropout1D: lambda: of(L.SpatialDropout1D(0.5), SERIES),
    L.SpatialDropout2D: lambda: of(L.SpatialDropout2D(0.5), IMAGE),
    L.GaussianNoise: lambda: of(L.GaussianNoise(0.5), ROW),
    L.Flatten: lambda: of(L.Flatten(), IMAGE),
    L.Reshape: lambda: of(L.Reshape((4, 5)), SERIES),
    L.Permute: lambda: of(L.Permute((2, 1)), SERIES),
    L.RepeatVector: lambda: of(L.RepeatVector(3), ROW),
    L.MaxPooling1D: lambda: of(L.MaxPooling1D(), SERIES),
    L.MaxPooling2D: lambda: of(L.MaxPooling2D(), IMAGE),
    L.AveragePooling1D: lambda: of(L.AveragePooling1D(2), SERIES),
    L.AveragePooling2D: lambda: of(L.AveragePooling2D(2), IMAGE),
    L.GlobalMaxPooling1D: lambda: of(L.GlobalMaxPooling1D(), SERIES),
    L.GlobalMaxPooling2D: lambda: of(L.GlobalMaxPooling2D(), IMAGE),
    L.ZeroPadding1D: lambda: of(L.ZeroPadding1D(1), SERIES),
    L.ZeroPadding2D: lambda: of(L.ZeroPadding2D(1), IMAGE),
    L.Cropping1D: lambda: of(L.Cropping1D(1), SERIES),
    L.Cropping2D: lambda: of(L.Cropping2D(1), IMAGE),
    L.UpSampling1D: lambda: of(L.UpSampling1D(2), SERIES),
    L.UpSampling2D: lambda: of(L.UpSampling2D(2), IMAGE),
    L.Rescaling: lambda: of(L.Rescaling(0.5, 0.1), ROW),
    L.MultiHeadAttention: lambda: attention(L.MultiHeadAttention(2, 3)),
    CachedMultiHeadAttention: lambda: attention(CachedMultiHeadAttention(2, 3)),
    L.LSTM: lambda: of(L.LSTM(4, return_sequences=True), SERIES),
    L.GRU: lambda: of(L.GRU(4), SERIES),
    L.SimpleRNN: lambda: of(L.SimpleRNN(4), SERIES),
    L.LSTMCell: lambda: of(L.LSTM(4), SERIES),
    L.GRUCell: lambda: of(L.GRU(4, return_sequences=True), SERIES),
    L.SimpleRNNCell: lambda: of(L.SimpleRNN(4, "relu"), SERIES),
    L.Bidirectional: lambda: of(L.Bidirectional(L.GRU(4)), SERIES),
    keras_hub.layers.TransformerEncoder: encoder,
    keras_hub.layers.PositionEmbedding: position,
    keras_hub.layers.TokenAndPositionEmbedding: lambda: tokens(
        keras_hub.layers.TokenAndPositionEmbedding(12, 5, 4)
    ),
    keras_hub.layers.MaskedLMHead: masked_lm,
    arrays.Add: lambda: of_operation(lambda x, y: x + y, ROW, ROW),
    arrays.Subtract: lambda: of_operation(lambda x, y: x - y, ROW, ROW),
    arrays.Multiply: lambda: of_operation(lambda x: x * 0.5, ROW),
    arrays.Mean: lambda: of_operation(lambda x: ops.mean(x, 1), SERIES),
    arrays.Sum: lambda: of_operation(lambda x: ops.sum(x, 1), SERIES),
    arrays.Maximum: lambda: of_operation(ops.maximum, ROW, ROW),
    arrays.Minimum: lambda: of_operation(ops.minimum, ROW, ROW),
    arrays.TrueDivide: lambda: of_operation(
        lambda x: x / (1 + ops.sum(x * x, 1, keepdims=True)), ROW
    ),
    arrays.Divide: lambda: of_operation(lambda x: ops.divide(x, 3.0), ROW),
    arrays.GetItem: lambda: of_operation(lambda x: x[:, 1:3], SERIES),
    arrays.Reshape: lambda: of_operation(
        lambda x: ops.reshape(x, (-1, 20)), SERIES
    ),
    arrays.Squeeze: lambda: of_operation(
        lambda x: ops.squeeze(x[:, :1], 1), SERIES
    ),
    arrays.ExpandDims: lambda: of_operation(
        lambda x: ops.expand_dims(x, 1), ROW
    ),
    arrays.Transpose: lambda: of_operation(
        lambda x: ops.transpose(x, (0, 2, 1)), SERIES
    ),
    core.Cast: mean_of_real,
    arrays.NotEqual: mean_of_real,
    arrays.Equal: lambda: tokens_equal(),
}


def tokens_equal():
    ids = keras.Input(IDS, dtype="int32")
    x = L.Embedding(12, 4)(ids)
    same = ops.cast(ops.equal(ids, 3), "float32")
    return keras.Model(ids, x * ops.expand_dims(same, -1))


def inputs_of(model):
    generator = np.random.default_rng(0)
    found = {}
    for x in model.inputs:
        shape = (ROWS, *x.shape[1:])
        if x.dtype == "int32":
            high = 5 if x.name == "places" else 12
            found[x.name] = generator.integers(0, high, shape, "int32")
        else:
            found[x.name] = generator.normal(size=shape).astype("float32")
    return found if len(found) > 1 else next(iter(found.values()))


def in_order(model, x):
    """As the model takes them: positional."""
    if not isinstance(x, dict):
        return x
    return [x[each.name] for each in model.inputs]


def test_every_entry_has_a_model():
    assert spec_of(encoder().layers[-1])  # Imports the entries of KerasHub.
    own = {x for x in registered() if "tests." not in x.__module__}
    assert own - {L.InputLayer} == set(BUILDERS)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("layer", BUILDERS, ids=lambda x: x.__name__)
def test_int8_file_computes_the_layer(layer, tmp_path):
    model = BUILDERS[layer]()
    for weight in model.trainable_weights:
        # Biases and betas that start at zero would hide a lost one.
        noise = np.random.default_rng(0).normal(size=weight.shape)
        weight.assign_add(0.1 * noise)
    held = {float_class(x) for _, x in operations(model)}
    assert layer in held
    x = inputs_of(model)
    sample = in_order(model, x)
    quantized = kbig.compression.quantize_aware(model, sample)
    expected = np.asarray(model(sample))
    got = np.asarray(quantized(sample))
    differences = np.abs(got - expected) / np.ptp(expected)
    # Rows that hardly vary are stretched by a layer normalization.
    assert differences.mean() < 0.02
    assert differences.max() < 0.1
    check_equal(quantized, x, tmp_path)
