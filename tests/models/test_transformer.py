import keras_hub
import numpy as np
import pytest

from kbig import models
from kbig.models.transformer import masked_mean


def paper_positions(length, dim):
    """PE of section 3.5 of Vaswani et al., 2017, in float64."""
    table = np.zeros((length, dim))
    for position in range(length):
        for i in range(dim // 2):
            angle = position / 10000 ** (2 * i / dim)
            table[position, 2 * i] = np.sin(angle)
            table[position, 2 * i + 1] = np.cos(angle)
    return table


def test_sinusoidal_positions_are_the_paper_s():
    # The layer rounds 1 / 10000 to float32, which shows from 1e-7 on.
    layer = keras_hub.layers.SinePositionEncoding(dtype="float64")
    encoded = layer(np.zeros((1, 600, 16)))
    np.testing.assert_allclose(
        encoded[0], paper_positions(600, 16), rtol=0, atol=1e-5
    )


def test_sinusoidal_positions_survive_mixed_precision():
    model = models.transformer(2, vocabulary_size=9, position="sinusoidal")
    layer = model.get_layer("positions")
    encoded = layer(np.zeros((1, 600, 16), "float16"))
    np.testing.assert_allclose(
        encoded[0], paper_positions(600, 16), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_order_matters_and_padding_does_not(position):
    model = models.transformer(
        3, vocabulary_size=9, hidden_dim=8, position=position
    )
    logits = model(np.array([[3, 8, 1]]))
    padded = model(np.array([[3, 8, 1, 0, 0]]))
    turned = model(np.array([[1, 8, 3]]))
    np.testing.assert_allclose(padded, logits, atol=1e-5)
    assert np.abs(turned - logits).max() > 1e-4


def test_a_sequence_of_padding_only_is_finite():
    model = models.transformer(3, vocabulary_size=9, hidden_dim=8)
    assert np.isfinite(model(np.zeros((1, 4), "int32"))).all()


def test_masked_mean():
    steps = np.array([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    mask = np.array([[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(masked_mean(steps, mask), [[2.0], [0.0]])
    np.testing.assert_allclose(masked_mean(steps), [[104 / 3], [7.0]])


def test_masked_mean_of_float16_does_not_overflow():
    steps = np.full((1, 512, 1), 1000.0, "float16")
    mask = np.ones((1, 512), bool)
    np.testing.assert_allclose(masked_mean(steps, mask), [[1000.0]])


def test_parameters():
    model = models.transformer(
        3,
        input_shape=(None, 5),
        num_layers=2,
        hidden_dim=8,
        num_heads=2,
        max_length=16,
    )
    attention = 4 * (8 * 8 + 8)
    feed_forward = 8 * 32 + 32 + 32 * 8 + 8
    encoder = attention + feed_forward + 2 * 2 * 8
    projection, positions, head = (5 + 1) * 8, 16 * 8, (8 + 1) * 3
    expected = projection + positions + 2 * encoder + head
    assert model.count_params() == expected
