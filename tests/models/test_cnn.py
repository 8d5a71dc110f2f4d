import keras
import numpy as np
import pytest

from kbig import models

BLOCKS = ("plain", "residual", "depthwise")


def parameters(block):
    """Of `cnn((28, 28, 3), 10, filters=(4, 8))`; 4 a batch norm channel."""
    norm = 4
    stem = 9 * 3 * 4 + norm * 4
    head = (8 + 1) * 10
    if block == "plain":
        first = 9 * (3 * 4 + 4 * 4) + norm * (4 + 4)
        second = 9 * (4 * 8 + 8 * 8) + norm * (8 + 8)
        return first + second + head
    if block == "residual":
        first = 4 * 4 + 9 * (4 * 4 + 4 * 4) + norm * 3 * 4
        second = 4 * 8 + 9 * (4 * 8 + 8 * 8) + norm * 3 * 8
        return stem + first + second + head
    first = 9 * 4 + 4 * 4 + norm * (4 + 4)
    second = 9 * 4 + 4 * 8 + norm * (4 + 8)
    return stem + first + second + head


@pytest.mark.parametrize("block", BLOCKS)
def test_parameters(block):
    model = models.cnn((28, 28, 3), 10, filters=(4, 8), block=block)
    assert model.count_params() == parameters(block)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_stage_halves_the_image(block):
    model = models.cnn((28, 20, 1), 10, filters=(4, 8, 6), block=block)
    pooled = model.get_layer("pool").input
    # Rounded up: 28, 14, 7, 4 and 20, 10, 5, 3.
    assert pooled.shape == (None, 4, 3, 6)


@pytest.mark.parametrize("block", BLOCKS)
def test_pixel_scale_does_not_matter_to_training(block):
    model = models.cnn((8, 8, 1), 3, filters=(8,), block=block)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), "uint8")
    from_bytes = model(pixels, training=True)
    from_floats = model(pixels / 255, training=True)
    # Batch norm's epsilon of 1e-3 weighs against variances of about 0.1.
    np.testing.assert_allclose(from_bytes, from_floats, atol=0.05)
    assert np.std(from_bytes) > 0.1


@pytest.mark.parametrize("block", BLOCKS)
def test_each_convolution_is_normalized_next(block):
    model = models.cnn((8, 8, 1), 3, block=block)
    for layer in model.layers:
        if isinstance(
            layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D
        ):
            (consumer,) = layer._outbound_nodes
            assert isinstance(
                consumer.operation, keras.layers.BatchNormalization
            )
            assert consumer.operation.momentum == 0.9
            assert not layer.use_bias
