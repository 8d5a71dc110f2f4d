"""What an interrupted run leaves is gone once another one begins."""

import keras
import pytest

from kbig.compression import KeepZeros
from kbig.compression import Pruner
from tests.compression.pruning.tiny import Kill
from tests.compression.pruning.tiny import check_sparse
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import mlp
from tests.compression.pruning.tiny import zeros


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("method", ["magnitude", "movement"])
@pytest.mark.parametrize(
    "following", [lambda: Pruner(0.5, layers="last"), KeepZeros]
)
def test_it_is_cleared_wherever_it_is(method, following):
    """The next run prunes other weights, or by another method."""
    keras.utils.set_random_seed(3)
    model = mlp()
    model.compile("adam", "mse")
    left = Pruner(0.5, layers="second", method=method)
    with pytest.raises(InterruptedError):
        fit(model, left, Kill(), epochs=1)
    kernel = model.get_layer("second").kernel
    assert zeros(kernel) > 60
    if following is KeepZeros:  # Then there is nothing that it would keep.
        kernel.assign(kernel + 1e-3)
    fit(model, following(), epochs=1)
    assert all(weight.constraint is None for weight in model.weights)
    assert "apply" not in vars(model.optimizer)
    assert zeros(kernel) < 30


@pytest.mark.ci
def test_the_one_that_was_interrupted_leaves_others_alone():
    model = mlp()
    model.compile("adam", "mse")
    left = Pruner(0.5, layers="second")
    with pytest.raises(InterruptedError):
        fit(model, left, Kill(), epochs=1)

    class Detach(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            left.detach()
            self.model.make_train_function(force=True)

    model.compile("adam", "mse")
    fit(model, Pruner(0.75, layers="second"), Detach())
    check_sparse([model.get_layer("second").kernel], 0.75)
