import numpy as np

from kbig import models


def test_parameters():
    model = models.mlp((28, 28), 10, hidden_dims=(64, 32))
    expected = (784 + 1) * 64 + (64 + 1) * 32 + (32 + 1) * 10
    assert model.count_params() == expected


def test_rescales():
    plain = models.mlp((4,), 2)
    rescaling = models.mlp((4,), 2, rescale=1 / 255)
    rescaling.set_weights(plain.get_weights())
    pixels = np.array([[0, 51, 102, 255]], "uint8")
    np.testing.assert_allclose(
        rescaling(pixels), plain(pixels / 255), rtol=1e-5, atol=1e-6
    )
