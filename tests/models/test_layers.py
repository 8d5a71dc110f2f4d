import keras
import numpy as np

from kbig.models.layers import calling


def test_calls_within_calls():
    layer, x = keras.layers.Identity(), np.ones(2, "float32")
    with calling([layer], lambda layer, x: 2 * x):
        with calling([layer], lambda layer, x: 3 * x):
            np.testing.assert_array_equal(layer(x), 3 * x)
        np.testing.assert_array_equal(layer(x), 2 * x)
    np.testing.assert_array_equal(layer(x), x)
    assert "call" not in vars(layer)
