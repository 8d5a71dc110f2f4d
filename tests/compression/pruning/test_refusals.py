"""One clear error, before training, and the model as it was."""

import keras
import numpy as np
import pytest

from kbig.compression import Pruner
from kbig.compression.pruning.schedules import PolynomialSparsity
from tests.compression.pruning.tiny import INPUTS
from tests.compression.pruning.tiny import TARGETS
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import mlp
from tests.contracts import check_usage_error


@pytest.mark.parametrize(
    ("arguments", "options", "fragments"),
    [
        ((1.0,), {}, ("below 1", "sparsity=1.0")),
        ((-0.1,), {}, ("sparsity=-0.1",)),
        ((float("nan"),), {}, ("nan",)),
        ((True,), {}, ("True",)),
        (("0.8",), {}, ("'0.8'",)),
        ((None,), {}, ("None",)),
        (({"a": 1.5},), {}, ("1.5",)),
        ((0.5, "4:2"), {}, ("4:2",)),
        ((0.5, "0x3"), {}, ("0x3",)),
        ((0.5, (1, 1)), {}, ("(1, 1)",)),
        ((0.5, (2.0, 4)), {}, ("2.0",)),
        ((0.8, "2:4"), {}, ("2:4", "0.5", "0.8")),
        ((0.8,), {"scope": "model"}, ("model", "global")),
        ((0.5, "2:4"), {"scope": "global"}, ("global", "2:4")),
        (({"a": 0.5},), {"scope": "global"}, ("global",)),
        (({"a": 0.5},), {"layers": "a"}, ("layers",)),
        ((0.5,), {"layers": []}, ("layers=[]",)),
        ((0.5,), {"method": "gradient"}, ("gradient", "movement")),
    ],
)
def test_arguments(arguments, options, fragments):
    check_usage_error(lambda: Pruner(*arguments, **options), *fragments)


def check_refused(model, pruner, *fragments, **options):
    """Nothing is changed: weights, constraints, what `fit` does later."""
    before = [w.numpy() for w in model.weights]
    check_usage_error(lambda: fit(model, pruner, **options), *fragments)
    for weight, old in zip(model.weights, before):
        np.testing.assert_array_equal(weight.numpy(), old)
        assert weight.constraint is None


def compiled(model):
    model.compile("adam", "mse")
    return model


def test_a_name_that_matches_nothing():
    check_refused(
        compiled(mlp()),
        Pruner(0.5, layers=["first", "conv*"]),
        "conv*",
        "first, second, last",
    )


def test_a_kernel_that_cannot_hold_the_pattern():
    check_refused(
        compiled(mlp()),
        Pruner(0.5, (32, 1), layers="first"),
        "6 x 16",
        "32x1",
    )


def test_no_kernel_can_hold_the_pattern():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    compiled(model)
    before = model.get_weights()
    pruner = Pruner(pattern="2:4")
    check_usage_error(
        lambda: model.fit(
            INPUTS[:, :2], TARGETS, verbose=0, callbacks=[pruner]
        ),
        "2:4",
        "2 inputs",
    )
    for weight, old in zip(model.weights, before):
        np.testing.assert_array_equal(weight.numpy(), old)
        assert weight.constraint is None
    model.fit(INPUTS[:, :2], TARGETS, verbose=0)
    assert (model.get_weights()[0] != 0).all()


def test_a_schedule_that_ends_after_the_run():
    check_refused(
        compiled(mlp()),
        Pruner(PolynomialSparsity(0.5, 0, 25)),
        "step 25",
        "step 24",
    )


def test_a_schedule_that_never_prunes():
    check_refused(
        compiled(mlp()), Pruner(lambda step: (False, 0.5)), "no update"
    )


def test_nothing_to_prune():
    model = mlp()
    model.trainable = False
    check_refused(compiled(model), Pruner(0.5), "first/kernel: is not trained")


def test_a_model_without_an_optimizer():
    model = compiled(mlp())
    model.optimizer = None
    check_refused(model, Pruner(0.5), "optimizer=None", "Compile it")


def test_a_model_that_another_optimizer_trains():
    class Two(keras.Sequential):
        """Like a GAN: what `compile` sets is not what trains it."""

        def train_step(self, data):
            return {"loss": keras.ops.zeros(())}

    model = Two([keras.Input((6,)), *mlp().layers])
    with pytest.warns(UserWarning, match="took no step"):
        fit(compiled(model), Pruner(0.5), epochs=1)


def test_a_model_that_is_not_built():
    model = keras.Sequential([keras.layers.Dense(2)])
    compiled(model)
    check_usage_error(lambda: fit(model, Pruner(0.5)), "must be built", "Input")
    assert not model.built


def test_a_run_of_unknown_length():
    model = compiled(mlp())

    def batches():
        yield INPUTS, TARGETS

    check_usage_error(
        lambda: model.fit(batches(), verbose=0, callbacks=[Pruner(0.5)]),
        "steps_per_epoch",
    )


def test_a_report_before_its_time():
    check_usage_error(Pruner(0.5).report, "fit")
    scored = Pruner(0.5, method="movement")
    check_usage_error(lambda: scored.save_state("x.npz"), "fit")
    model, pruner = compiled(mlp()), Pruner(0.5)
    fit(model, pruner)
    check_usage_error(lambda: pruner.save_state("x.npz"), "magnitude")
