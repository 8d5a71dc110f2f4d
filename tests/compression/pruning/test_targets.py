"""What is found in a model, and how each weight is a matrix."""

import keras
import numpy as np
import pytest

import kbig
from kbig.compression.pruning.targets import find
from tests.contracts import check_usage_error


def names(model, **options):
    return {kernel.name for kernel in find(model, **options)[0]}


def test_nested_layers_of_a_bert():
    size = {"num_layers": 2, "hidden_dim": 16, "num_heads": 2}
    backbone = kbig.models.bert(size, 50)
    model = kbig.models.bert_classifier(backbone, 3)
    found, left_alone = find(model)
    # Two layers of six kernels each, the pooler where it is used, the head.
    per_layer = [k.name for k in found if "transformer_layer_1/" in k.name]
    assert len(per_layer) == 6
    assert {k.shape for k in found if "transformer_layer_0/" in k.name} == {
        (16, 16),
        (16, 64),
        (64, 16),
    }
    assert "logits/kernel" in {k.name for k in found}
    assert not any("embedding" in k.name for k in found)
    assert left_alone == {}


def test_embeddings_only_when_asked():
    model = kbig.models.rnn(num_outputs=2, vocabulary_size=20, units=(4,))
    assert not any("embedding" in n for n in names(model))
    assert any("embedding" in n for n in names(model, embeddings=True))


@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_both_kernels_of_a_cell(cell):
    model = kbig.models.rnn((5, 3), 2, cell=cell, units=(4,))
    kinds = [n.rpartition("/")[2] for n in names(model)]
    assert sorted(kinds) == ["kernel", "kernel", "recurrent_kernel"]


def test_depthwise_norm_and_biases_are_left_alone():
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.SeparableConv2D(4, 3, name="separable")(x)
    model = keras.Model(inputs, x)
    assert names(model) == {"separable/pointwise_kernel"}


def test_a_shared_layer_once():
    shared = keras.layers.Dense(3, name="shared")
    a, b = keras.Input((3,)), keras.Input((3,))
    model = keras.Model([a, b], keras.layers.Add()([shared(a), shared(b)]))
    assert len(find(model)[0]) == 1


def test_what_is_not_trained_is_left_alone_and_said():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(3, name="frozen", trainable=False),
            keras.layers.Dense(3, name="lora"),
            keras.layers.Dense(3, name="plain"),
        ]
    )
    model.get_layer("lora").enable_lora(2)
    found, left_alone = find(model)
    assert [k.layer for k in found] == ["plain"]
    assert set(left_alone) == {"frozen/kernel", "lora/kernel"}
    assert "merge" in left_alone["lora/kernel"]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        # A product with the matrix must be what the layer computes.
        (keras.layers.Dense(5), (4,)),
        (keras.layers.EinsumDense("bc,cde->bde", (2, 3)), (4,)),
        (keras.layers.EinsumDense("bde,dec->bc", (5,)), (2, 3)),
        (keras.layers.EinsumDense("...x,xy->...y", (5,)), (4,)),
        (keras.layers.Conv2D(5, 2), (2, 2, 3)),
        (keras.layers.Conv1D(5, 3), (3, 2)),
    ],
)
def test_a_matrix_of_inputs_and_outputs(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    kernel = find(model)[0][0]
    inputs = np.random.default_rng(0).normal(size=(6, *shape))
    matrix = kernel.to_matrix(kernel.variable.numpy())
    np.testing.assert_allclose(
        np.ravel(model(inputs)),
        np.ravel(inputs.reshape(6, -1) @ matrix),
        atol=1e-5,
    )


def test_a_transposed_convolution_is_told_its_inputs():
    layer = keras.layers.Conv2DTranspose(5, 1, use_bias=False)
    model = keras.Sequential([keras.Input((1, 1, 3)), layer])
    kernel = find(model)[0][0]
    inputs = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(
        np.reshape(model(inputs[:, None, None]), (6, 5)),
        inputs @ kernel.to_matrix(kernel.variable.numpy()),
        atol=1e-5,
    )


def test_there_and_back():
    layer = keras.layers.EinsumDense("bde,cde->bc", (5,))
    model = keras.Sequential([keras.Input((2, 3)), layer])
    kernel = find(model)[0][0]
    value = kernel.variable.numpy()
    assert kernel.shape == (6, 5)
    np.testing.assert_array_equal(
        kernel.from_matrix(kernel.to_matrix(value)), value
    )


def test_a_model_that_is_not_built():
    model = keras.Sequential([keras.layers.Dense(2)])
    check_usage_error(lambda: find(model), "built", "Input")
