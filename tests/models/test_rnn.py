import numpy as np
import pytest

from kbig import models

CELLS = ("lstm", "gru", "simple")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_is_not_read(cell, bidirectional):
    model = models.rnn(
        vocabulary_size=9,
        num_outputs=3,
        cell=cell,
        units=(5, 4),
        bidirectional=bidirectional,
    )
    short = model(np.array([[3, 8, 1]]))
    padded = model(np.array([[3, 8, 1, 0, 0]]))
    other = model(np.array([[3, 8, 1, 2, 2]]))
    np.testing.assert_allclose(padded, short, atol=1e-6)
    assert np.abs(other - short).max() > 1e-3


@pytest.mark.parametrize("cell, gates", zip(CELLS, (4, 3, 1)))
def test_parameters(cell, gates):
    model = models.rnn((None, 7), 2, cell=cell, units=(5,), bidirectional=True)
    # Keras's GRU has a second bias, after the recurrent product.
    biases = 2 if cell == "gru" else 1
    one_direction = gates * 5 * (7 + 5 + biases)
    assert model.count_params() == 2 * one_direction + (2 * 5 + 1) * 2


def test_simple_cell_is_the_recurrence():
    model = models.rnn((None, 2), 1, cell="simple", units=(3,))
    kernel, recurrent, bias, output, output_bias = model.get_weights()
    features = np.random.default_rng(0).normal(size=(1, 4, 2))
    state = np.zeros(3)
    for step in features[0]:
        state = np.tanh(step @ kernel + state @ recurrent + bias)
    np.testing.assert_allclose(
        model(features)[0], state @ output + output_bias, rtol=1e-5, atol=1e-6
    )
