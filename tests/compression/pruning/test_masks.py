"""Masks against TFMOT's, made by its own code for the same weights."""

import numpy as np
import pytest

import kbig
from kbig.compression.pruning import masks
from kbig.compression.pruning.patterns import parse
from kbig.compression.pruning.targets import find

GENERATOR = np.random.default_rng(3)


@pytest.fixture(scope="module")
def tfmot():
    # Its schedules first, which keeps this process on Keras 3.
    assert kbig.compression.PolynomialDecay
    from tensorflow_model_optimization.python.core.sparsity.keras import (
        pruning_impl,
    )

    return pruning_impl


def tfmots_mask(tfmot, weight, sparsity, block=(1, 1), m_of_n=None):
    import tensorflow as tf

    pruning = tfmot.Pruning(
        training_step_fn=lambda: tf.constant(1, tf.int64),
        pruning_vars=[],
        pruning_schedule=lambda step: (True, tf.constant(sparsity)),
        block_size=list(block),
        block_pooling_type="AVG",
        sparsity_m_by_n=m_of_n,
    )
    _, mask = pruning._maybe_update_block_mask(tf.constant(weight))
    return mask.numpy().astype(bool)


def kbigs_mask(layer, weight, sparsity, pattern):
    import keras

    model = keras.Sequential([layer])
    model.build((None, *[8] * (weight.ndim - 2), weight.shape[-2]))
    kernel = find(model)[0][0]
    assert kernel.variable.shape == weight.shape
    mask = parse(pattern).mask(
        kernel.to_matrix(np.abs(weight)), sparsity, kernel.run
    )
    return kernel.from_matrix(mask)


def dense(shape):
    import keras

    return keras.layers.Dense(shape[-1])


def convolution(shape):
    import keras

    kinds = {3: keras.layers.Conv1D, 4: keras.layers.Conv2D}
    return kinds[len(shape)](shape[-1], shape[:-2])


SHAPES = [(16, 8), (13, 7), (3, 3, 8, 4), (3, 2, 5, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.77, 0.99])
def test_unstructured_as_tfmot(tfmot, shape, sparsity):
    weight = GENERATOR.normal(size=shape).astype("float32")
    layer = dense(shape) if len(shape) == 2 else convolution(shape)
    np.testing.assert_array_equal(
        kbigs_mask(layer, weight, sparsity, "unstructured"),
        tfmots_mask(tfmot, weight, sparsity),
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m_of_n", [(2, 4), (1, 4), (3, 8)])
def test_m_of_n_as_tfmot(tfmot, shape, m_of_n):
    # Whole numbers: ties are broken alike, too.
    weight = GENERATOR.integers(-4, 5, shape).astype("float32")
    layer = dense(shape) if len(shape) == 2 else convolution(shape)
    zeros, size = m_of_n
    np.testing.assert_array_equal(
        kbigs_mask(layer, weight, zeros / size, f"{zeros}:{size}"),
        tfmots_mask(tfmot, weight, 0.5, m_of_n=m_of_n),
    )


@pytest.mark.parametrize(
    ("shape", "block"),
    [
        ((16, 8), (4, 2)),
        ((16, 8), (1, 4)),
        # What is left over is one row or column short of a block: there
        # TFMOT's pooling lies where its mask does.
        ((15, 8), (4, 2)),
        ((16, 7), (2, 4)),
        ((15, 7), (4, 4)),
    ],
)
def test_blocks_as_tfmot(tfmot, shape, block):
    weight = GENERATOR.normal(size=shape).astype("float32")
    np.testing.assert_array_equal(
        kbigs_mask(dense(shape), weight, 0.6, block),
        tfmots_mask(tfmot, weight, 0.6, block),
    )


def test_blocks_of_a_pointwise_convolution_are_those_of_its_matrix():
    weight = GENERATOR.normal(size=(1, 1, 16, 8)).astype("float32")
    np.testing.assert_array_equal(
        kbigs_mask(convolution(weight.shape), weight, 0.6, (4, 2))[0, 0],
        kbigs_mask(dense((16, 8)), weight[0, 0], 0.6, (4, 2)),
    )


def test_a_cut_block_is_scored_by_what_is_there():
    # By hand; TFMOT pools from a row before the kernel here, and so takes the
    # mean of other rows than those that it then removes.
    scores = np.array([[1.0], [1.0], [1.0], [9.0], [2.0]])
    np.testing.assert_array_equal(
        masks.block_scores(scores, (4, 1)), [[3.0], [2.0]]
    )
    mask = parse((4, 1)).mask(scores, 0.5, 5)
    np.testing.assert_array_equal(mask[:, 0], [True] * 4 + [False])


@pytest.mark.parametrize("count", [1, 5, 9])
def test_ties_do_not_miss_the_count(count):
    mask = masks.top_mask(np.ones((3, 3)), count)
    np.testing.assert_array_equal(mask.ravel(), np.arange(9) < count)


def test_one_weight_stays_at_least():
    assert masks.kept(10, 0.99) == 1


def test_a_global_threshold_cuts_no_array_off():
    large, small = np.arange(1.0, 9.0), np.array([0.1, 0.2])
    found = masks.global_masks([large, small], 0.7)
    np.testing.assert_array_equal(found[0], large > 6)
    np.testing.assert_array_equal(found[1], [False, True])


def test_groups_do_not_reach_over_the_places_of_a_convolution():
    weight = np.arange(1.0, 13.0).reshape(2, 6, 1)  # Two places, six inputs.
    mask = kbigs_mask(convolution(weight.shape), weight, 0.5, "2:4")
    np.testing.assert_array_equal(
        mask[:, :, 0], [[False, False, True, True, True, True]] * 2
    )
