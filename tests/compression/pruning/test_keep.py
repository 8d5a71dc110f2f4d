"""Zeros of a pruned model, while it is trained on and after."""

import keras
import numpy as np
import pytest

from kbig.compression import KeepZeros
from tests.compression.pruning.tiny import Kill
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import half_zero
from tests.compression.pruning.tiny import mlp
from tests.compression.pruning.tiny import zeros
from tests.contracts import check_usage_error


def sparse():
    keras.utils.set_random_seed(3)
    model = mlp()
    model.compile("adam", "mse")
    return model, half_zero(model.get_layer("second").kernel)


@pytest.mark.ci
def test_they_stay_and_a_plain_fit_later_lets_them_go():
    model, kernel = sparse()
    fit(model, KeepZeros(), epochs=1)
    assert zeros(kernel) == 128
    assert kernel.constraint is None
    fit(model, epochs=1)
    assert zeros(kernel) < 64


@pytest.mark.ci
def test_after_an_interrupt():
    model, kernel = sparse()
    callback = KeepZeros()
    with pytest.raises(InterruptedError):
        fit(model, callback, Kill(), epochs=1)
    assert zeros(kernel) == 128
    callback.detach()
    assert kernel.constraint is None
    fit(model, epochs=1)
    assert zeros(kernel) < 64


def test_embeddings_keep_theirs():
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            keras.layers.Embedding(9, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", "mse")
    table = half_zero(model.layers[0].embeddings)
    rows = np.random.default_rng(0).integers(0, 9, (32, 4))
    model.fit(rows, rows[:, :2], verbose=0, callbacks=[KeepZeros()])
    assert zeros(table) == 18


def test_a_kernel_that_starts_as_zeros_learns():
    model, _ = sparse()
    last = model.get_layer("last").kernel
    last.assign(np.zeros((16, 2)))
    fit(model, KeepZeros(), epochs=1)
    assert zeros(last) < 8


def test_a_model_without_an_optimizer():
    model, kernel = sparse()
    model.optimizer = None
    check_usage_error(lambda: fit(model, KeepZeros()), "optimizer=None")
    assert kernel.constraint is None
