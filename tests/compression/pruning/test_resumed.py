"""What was interrupted, saved and loaded ends as if it had not been."""

import warnings

import keras
import numpy as np
import pytest

import kbig
from kbig.compression import Pruner
from tests.compression.pruning.tiny import INPUTS
from tests.compression.pruning.tiny import STEPS
from tests.compression.pruning.tiny import TARGETS
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import mlp
from tests.contracts import check_usage_error


def start(optimizer):
    keras.utils.set_random_seed(7)
    model = mlp()
    model.compile(optimizer(), "mse")
    return model


class Stop(keras.callbacks.Callback):
    """Stops after an epoch, as an end that comes from outside."""

    def __init__(self, last):
        super().__init__()
        self.last = last

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == self.last


def assert_same(model, other):
    for a, b in zip(model.weights, other.weights):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


OPTIMIZERS = [
    lambda: keras.optimizers.Adam(1e-2),
    lambda: kbig.training.adamw(1e-2, use_ema=True, ema_momentum=0.9),
    lambda: kbig.training.adamw(1e-2, gradient_accumulation_steps=3),
]


@pytest.mark.ci
@pytest.mark.parametrize(
    ("optimizer", "pattern"),
    [
        (OPTIMIZERS[0], "unstructured"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                (OPTIMIZERS[1], "unstructured"),
                (OPTIMIZERS[2], "unstructured"),
                (OPTIMIZERS[0], "2:4"),
                (OPTIMIZERS[0], (2, 2)),
            )
        ),
    ],
)
def test_by_magnitude_bit_for_bit(tmp_path, optimizer, pattern):
    sparsity = None if pattern == "2:4" else 0.8
    layers = ["second", "last"]

    def pruner():
        return Pruner(sparsity, pattern, layers=layers)

    whole = start(optimizer)
    fit(whole, pruner(), epochs=4)
    model = start(optimizer)
    for epoch, last in ((0, 1), (2, 2), (3, 3)):
        # A new process would know no more than what is in the file. With
        # averages, `fit` ends by putting them into the weights: what goes on
        # is the state of an epoch, as a checkpoint keeps it.
        path = tmp_path / f"{epoch}.keras"
        callbacks = [pruner(), keras.callbacks.ModelCheckpoint(path)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Training stopped")
            fit(model, *callbacks, Stop(last), epochs=4, initial_epoch=epoch)
        if last < 3:
            model = keras.models.load_model(path)
    assert_same(model, whole)


@pytest.mark.ci
@pytest.mark.parametrize(
    "optimizer",
    [
        OPTIMIZERS[0],
        # Five batches a step: the second run begins within one.
        lambda: kbig.training.adamw(1e-2, gradient_accumulation_steps=5),
    ],
)
def test_by_movement_bit_for_bit(tmp_path, optimizer):
    whole = start(optimizer)
    fit(whole, Pruner(0.8, method="movement"), epochs=4)

    first = Pruner(0.8, method="movement")
    model = start(optimizer)
    with pytest.warns(UserWarning, match="stopped"):
        fit(model, first, Stop(1), epochs=4)
    model.save(tmp_path / "half.keras")
    first.save_state(tmp_path / "half.npz")
    model = keras.models.load_model(tmp_path / "half.keras")
    second = Pruner(0.8, method="movement")
    check_usage_error(
        lambda: fit(model, second, epochs=4, initial_epoch=2), "load_state"
    )
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    other.compile("adam", "mse")
    third = Pruner(0.8, method="movement")
    third.load_state(tmp_path / "half.npz")
    check_usage_error(lambda: fit(other, third), "another model", "(6, 2)")
    second.load_state(tmp_path / "half.npz")
    fit(model, second, epochs=4, initial_epoch=2)
    assert_same(model, whole)

    later = Pruner(0.8, method="movement")
    later.load_state(tmp_path / "half.npz")
    dense = start(optimizer)
    check_usage_error(lambda: fit(dense, later, epochs=4), "another moment")
    check_usage_error(
        lambda: Pruner(0.8).load_state(tmp_path / "half.npz"), "magnitude"
    )


@pytest.mark.ci
def test_within_an_epoch_by_exact_resume(tmp_path):
    import tensorflow as tf

    def run(kill_at=None):
        model = start(OPTIMIZERS[0])
        resume = kbig.training.ExactResume(tmp_path / "resume", 5)
        data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(8)

        class Kill(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                if int(self.model.optimizer.iterations.numpy()) == kill_at:
                    raise InterruptedError

        model.fit(
            resume.remaining(data),
            steps_per_epoch=STEPS,
            epochs=3,
            initial_epoch=resume.initial_epoch(STEPS),
            verbose=0,
            callbacks=[Pruner(0.8), Kill(), resume],
        )
        return model

    with pytest.raises(InterruptedError):
        run(kill_at=18)
    resumed = run()
    whole = start(OPTIMIZERS[0])
    fit(whole, Pruner(0.8), epochs=3)
    assert_same(resumed, whole)


@pytest.mark.ci
def test_the_same_pruner_goes_on_after_an_interrupt():
    model, pruner = start(OPTIMIZERS[0]), Pruner(0.8)

    class Kill(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 9:
                raise InterruptedError

    with pytest.raises(InterruptedError):
        fit(model, pruner, Kill())
    fit(model, Pruner(0.8))
    fit(model, pruner)
    assert pruner.report().weights[1].sparsity == pytest.approx(0.8, abs=0.01)
    assert all(w.constraint is None for w in model.weights)


def test_the_saved_model_is_plain(tmp_path):
    model = start(OPTIMIZERS[0])
    fit(model, Pruner(0.8))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for layer in loaded.layers:
        assert type(layer) is keras.layers.Dense
        assert layer.kernel_constraint is None
    assert_same(loaded, model)
