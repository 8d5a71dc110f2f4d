"""Runs that go on, or seem to: what was there before decides."""

import warnings

import keras
import numpy as np
import pytest

from kbig.compression import Pruner
from kbig.compression.pruning import standing
from kbig.compression.pruning.schedules import PolynomialSparsity
from tests.compression.pruning.test_resumed import Stop
from tests.compression.pruning.test_resumed import assert_same
from tests.compression.pruning.tiny import INPUTS
from tests.compression.pruning.tiny import STEPS
from tests.compression.pruning.tiny import Kill
from tests.compression.pruning.tiny import check_sparse
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import mlp
from tests.compression.pruning.tiny import zeros
from tests.contracts import check_usage_error


def kernels(model):
    return [layer.kernel for layer in model.layers]


def start():
    keras.utils.set_random_seed(3)
    model = mlp()
    model.compile("adam", "mse")
    return model


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("before", [STEPS - 1, 2 * STEPS])
@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_a_dense_model_that_was_trained_before(before, method):
    model = start()
    model.fit(INPUTS[:before], INPUTS[:before, :2], batch_size=1, verbose=0)
    # It might be a run that was interrupted within its first epoch.
    is_told = method == "movement" and before < STEPS
    told = pytest.warns(UserWarning, match="new scores, at step 11")
    with told if is_told else _nothing():
        fit(model, Pruner(0.7, method=method), epochs=1)
    check_sparse(kernels(model), 0.7)


@pytest.mark.ci
def test_movement_in_few_steps_is_warned_of(monkeypatch):
    with pytest.warns(UserWarning, match=f"a run of {2 * STEPS}, in which"):
        fit(start(), Pruner(0.7, method="movement"))
    monkeypatch.setattr(standing, "ENOUGH_STEPS", 2 * STEPS)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Movement pruning takes")
        fit(start(), Pruner(0.7, method="movement"))


@pytest.mark.ci
def test_a_dense_model_in_later_epochs():
    model = start()
    fit(model, epochs=2)
    fit(model, Pruner(0.7), epochs=4, initial_epoch=2)
    check_sparse(kernels(model), 0.7)


def test_a_schedule_that_ended_before():
    model = start()
    fit(model, epochs=3)
    pruner = Pruner(PolynomialSparsity(0.8, 0, 30, 5))
    before = model.get_weights()
    check_usage_error(lambda: fit(model, pruner), "ended at step 30", "step 36")
    for weight, old in zip(model.get_weights(), before):
        np.testing.assert_array_equal(weight, old)


@pytest.mark.ci
@pytest.mark.parametrize(
    "last",
    [3, *(pytest.param(last, marks=pytest.mark.slow) for last in (2, 6, 8))],
)
@pytest.mark.parametrize(
    ("pattern", "scope"),
    [
        ("unstructured", "global"),
        # Of 16 x 2 these are blocks whose share is not the elements'.
        ((4, 1), "layer"),
        ("unstructured", "layer"),
    ],
)
def test_bit_for_bit_wherever_it_is_interrupted(tmp_path, pattern, scope, last):
    """Before, on and between updates, and after the last."""

    def pruner():
        layers = ["second", "last"]
        return Pruner(0.65, pattern, scope=scope, layers=layers)

    whole = start()
    fit(whole, pruner(), epochs=10)
    model = start()
    with pytest.warns() if last < 6 else _nothing():
        fit(model, pruner(), Stop(last), epochs=10)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    fit(model, pruner(), epochs=10, initial_epoch=last + 1)
    assert_same(model, whole)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("method", "pattern", "sparsity"),
    [
        ("magnitude", "unstructured", 0.8),
        ("movement", "unstructured", 0.8),
        ("movement", (4, 1), 0.75),
    ],
)
def test_zeros_stay_when_a_sparse_model_is_pruned_further(
    tmp_path, method, pattern, sparsity
):
    """Also where the second pruning is interrupted and goes on."""
    model = start()
    layers = ["second"]
    fit(model, Pruner(0.5, pattern, layers=layers), epochs=1)
    kernel = model.get_layer("second").kernel
    before = kernel.numpy() == 0
    model.compile("adam", "mse")
    first, second = (
        Pruner(sparsity, pattern, layers=layers, method=method)
        for _ in range(2)
    )
    with pytest.warns(UserWarning, match="stopped"):
        fit(model, first, Stop(1), epochs=3)
    assert 128 < zeros(kernel) < 256 * sparsity
    if method == "movement":
        first.save_state(tmp_path / "half.npz")
        second.load_state(tmp_path / "half.npz")
    fit(model, second, epochs=3, initial_epoch=2)
    check_sparse([kernel], sparsity)
    assert (kernel.numpy()[before] == 0).all()


def _nothing():
    import contextlib

    return contextlib.nullcontext()


@pytest.mark.ci
def test_layers_of_one_name_in_two_towers():
    def tower(name, trainable):
        hidden = keras.layers.Dense(8, name="hidden", trainable=trainable)
        return keras.Sequential([keras.Input((6,)), hidden], name=name)

    inputs = keras.Input((6,))
    towers = [tower("a", False), tower("b", True)]
    x = keras.layers.Add()([tower(inputs) for tower in towers])
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(x))
    model.compile("adam", "mse")
    pruner = Pruner(0.5)
    fit(model, pruner)
    assert zeros(towers[0].layers[0].kernel) == 0
    check_sparse([towers[1].layers[0].kernel], 0.5)
    report = pruner.report()
    assert [row.name for row in report.weights] == [
        "b/hidden/kernel",
        "out/kernel",
    ]
    assert report.left_alone == {"a/hidden/kernel": "is not trained"}
    fit(model, Pruner(0.75, layers="b/hidden"))
    check_sparse([towers[1].layers[0].kernel], 0.75)


@pytest.mark.ci
def test_either_kernel_of_a_cell_may_be_unable_to_hold_a_pattern():
    model = keras.Sequential(
        [keras.Input((6, 1)), keras.layers.LSTM(8, name="lstm")]
    )
    model.compile("adam", "mse")
    x = INPUTS[:, :, None]

    def run(**options):
        pruner = Pruner(pattern="2:4", **options)
        model.fit(x, np.zeros((96, 8)), verbose=0, callbacks=[pruner])
        return pruner.report()

    check_usage_error(
        lambda: run(layers="lstm"), "lstm_cell/kernel", "1 inputs"
    )
    report = run()
    assert [row.shape for row in report.weights] == [(8, 32)]
    assert "lstm/lstm_cell/kernel" in report.left_alone


def test_weights_that_are_not_finite():
    model = start()
    kernel = model.get_layer("second").kernel
    kernel.assign(np.full((16, 16), np.nan))
    check_usage_error(lambda: fit(model, Pruner(0.5)), "second/kernel", "NaN")
    assert np.isnan(kernel.numpy()).all()


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("is_last", [True, False])
def test_dense_weights_that_are_put_back_are_told(is_last):
    """A callback after the Pruner does so when nothing can warn any more."""
    model, pruner = start(), Pruner(0.9)
    best = keras.callbacks.EarlyStopping(
        "loss", mode="max", patience=9, restore_best_weights=True
    )
    callbacks = [best, pruner] if is_last else [pruner, best]
    told = pytest.warns(UserWarning, match="put back")
    with told if is_last else _nothing():
        fit(model, *callbacks)
    report = pruner.report()
    assert report.below_target == tuple(
        f"{name}/kernel" for name in ("first", "second", "last")
    )
    assert "Target not reached" in str(report)


@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_two_pruners_of_one_weight(method):
    model = start()
    first = Pruner(0.5, layers="second", method=method)
    second = Pruner(0.9, method=method)
    check_usage_error(lambda: fit(model, first, second), "one Pruner", "two")


@pytest.mark.ci
def test_two_pruners_of_different_weights():
    model = start()
    fit(model, Pruner(0.5, layers="second"), Pruner(0.75, layers="first"))
    check_sparse([model.get_layer("second").kernel], 0.5)
    check_sparse([model.get_layer("first").kernel], 0.75)


@pytest.mark.ci
@pytest.mark.parametrize("method", ["magnitude", "movement"])
def test_after_an_interrupt(method):
    model = start()
    first, second = (Pruner(0.5, method=method) for _ in range(2))
    with pytest.raises(InterruptedError):
        fit(model, first, Kill(), epochs=1)
    held = zeros(model.get_layer("second").kernel)
    assert held > 60
    first.detach()
    assert all(weight.constraint is None for weight in model.weights)
    assert "apply" not in vars(model.optimizer)
    fit(model, epochs=1)
    # But for those of units that give nothing, and so learn nothing.
    assert zeros(model.get_layer("second").kernel) < held / 2
    # Another one takes over, and then the first again.
    with pytest.raises(InterruptedError):
        fit(model, first, Kill(), epochs=1)
    model.compile("adam", "mse")
    fit(model, second)
    fit(model, Pruner(0.75))
    check_sparse(kernels(model), 0.75)


@pytest.mark.parametrize(
    ("schedule", "fragments"),
    [
        (lambda: PolynomialSparsity(1.5, 0, 20), ("final_sparsity=1.5",)),
        (lambda: PolynomialSparsity(0.5, 20, 0), ("begin_step=20",)),
        (lambda: PolynomialSparsity(0.5, 0, 20, 0), ("frequency=0",)),
        (lambda: lambda step: (True, 1.5), ("1.5",)),
    ],
)
def test_schedules_out_of_their_range(schedule, fragments):
    check_usage_error(lambda: fit(start(), Pruner(schedule())), *fragments)


def test_float64_weights_stay_what_they_are():
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(2, dtype="float64")]
    )
    before = model.layers[0].kernel.numpy()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, Pruner(0.5))
    after = model.layers[0].kernel.numpy()
    assert after.dtype == "float64"
    np.testing.assert_array_equal(after[after != 0], before[after != 0])
    assert zeros(model.layers[0].kernel) == 6


@pytest.mark.ci
def test_a_constraint_of_the_users_own_with_an_inner_one():
    class Clip(keras.constraints.Constraint):
        inner = None

        def __call__(self, w):
            return keras.ops.clip(w, -0.01, 0.01)

    model = start()
    model.get_layer("second").kernel.constraint = Clip()
    fit(model, Pruner(0.5))
    kernel = model.get_layer("second").kernel
    assert np.abs(kernel.numpy()).max() <= np.float32(0.01)
    assert isinstance(kernel.constraint, Clip)
