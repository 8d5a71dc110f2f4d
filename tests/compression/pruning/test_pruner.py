"""Exact sparsity at the end of `fit`, whatever a model and `fit` are."""

import gzip

import keras
import numpy as np
import pytest

import kbig
from kbig.compression import Pruner
from kbig.compression.pruning.schedules import PolynomialSparsity
from tests.compression.pruning.tiny import INPUTS
from tests.compression.pruning.tiny import STEPS
from tests.compression.pruning.tiny import TARGETS
from tests.compression.pruning.tiny import check_sparse
from tests.compression.pruning.tiny import fit
from tests.compression.pruning.tiny import mlp
from tests.compression.pruning.tiny import zeros


def kernels(model):
    return [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jit_compile": True},
        {"jit_compile": False, "steps_per_execution": 5},
        {"run_eagerly": True},
    ],
)
def test_exact_however_it_is_compiled(options):
    model = mlp()
    model.compile("adam", "mse", **options)
    fit(model, Pruner(0.7))
    check_sparse(kernels(model), 0.7)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.Adam(gradient_accumulation_steps=4),
        lambda: keras.optimizers.Adam(use_ema=True),
        lambda: keras.optimizers.Adam(
            use_ema=True, ema_overwrite_frequency=5, ema_momentum=0.5
        ),
        lambda: kbig.training.adamw(1e-2, 0.1),
        lambda: kbig.training.adamw(1e-2, gradient_accumulation_steps=3),
        lambda: kbig.training.adamw(1e-2, use_ema=True),
    ],
)
def test_exact_with_any_optimizer(optimizer):
    model = mlp()
    model.compile(optimizer(), "mse")
    fit(model, Pruner(0.7))
    check_sparse(kernels(model), 0.7)


@pytest.mark.ci
def test_averaged_weights_are_sparse_where_they_are_looked_at():
    """`SwapEMAWeights` puts them into the model for each validation."""
    seen = []

    class Look(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            seen.append(zeros(self.model.layers[1].kernel))

    model = mlp()
    model.compile(keras.optimizers.Adam(use_ema=True), "mse")
    schedule = PolynomialSparsity(0.75, 0, STEPS)
    swap = keras.callbacks.SwapEMAWeights()
    fit(
        model,
        Pruner(schedule),
        swap,
        Look(),
        validation_data=(INPUTS, TARGETS),
    )
    assert seen == [192, 192]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"]
)
def test_exact_in_mixed_precision(policy):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = mlp()
    finally:
        keras.config.set_dtype_policy(previous)
    model.compile("adam", "mse")
    fit(model, Pruner(0.7))
    check_sparse(kernels(model), 0.7)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    ("policy", "method"),
    [
        ("float32", "magnitude"),
        ("mixed_float16", "movement"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (
                ("mixed_bfloat16", "magnitude"),
                ("mixed_float16", "magnitude"),
                ("float32", "movement"),
                ("mixed_bfloat16", "movement"),
            )
        ),
    ],
)
def test_exact_on_two_replicas(policy, method):
    runtime = kbig.training.Runtime("mirrored", precision=policy)
    with runtime.scope():
        model = mlp()
        model.compile(kbig.training.adamw(1e-2), "mse", jit_compile=False)
    pruner = Pruner(0.7, method=method)
    fit(model, pruner)
    check_sparse(kernels(model), 0.7)
    for row in pruner.report().weights:
        assert row.sparsity == pytest.approx(0.7, abs=0.02)


def test_a_shared_layer_and_a_constraint_of_its_own():
    shared = keras.layers.Dense(
        6, name="shared", kernel_constraint=keras.constraints.MaxNorm(0.5)
    )
    inputs = keras.Input((6,))
    x = shared(keras.ops.relu(shared(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    model.compile(keras.optimizers.Adam(0.05), "mse")
    fit(model, Pruner(0.5, layers="shared"))
    check_sparse([shared.kernel], 0.5)
    norms = np.linalg.norm(shared.kernel.numpy(), axis=0)
    assert norms.max() <= 0.5 + 1e-6
    assert isinstance(shared.kernel.constraint, keras.constraints.MaxNorm)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_cells_of_recurrent_layers(cell):
    model = kbig.models.rnn((3, 2), 2, cell=cell, units=(8,))
    model.compile("adam", "mse")
    model.fit(
        INPUTS.reshape(-1, 3, 2),
        TARGETS,
        epochs=2,
        verbose=0,
        callbacks=[Pruner(0.7)],
    )
    found = [w for w in model.weights if "kernel" in w.name]
    assert len(found) == 3
    check_sparse(found, 0.7)


@pytest.mark.parametrize("pattern", ["2:4", "1:4", (4, 2), "2x8"])
def test_patterns_at_the_end(pattern):
    model = mlp()
    model.compile("adam", "mse")
    sparsity = None if ":" in str(pattern) else 0.5
    pruner = Pruner(sparsity, pattern, layers=["second"])
    fit(model, pruner)
    assert pruner.report().below_target == ()
    assert ("Ampere" in str(pruner.report())) is (pattern == "2:4")
    kernel = model.get_layer("second").kernel.numpy() == 0
    if sparsity is None:
        groups = kernel.reshape(4, 4, 16).sum(1)
        np.testing.assert_array_equal(groups, int(pattern[0]))
    else:
        rows, columns = (4, 2) if pattern == (4, 2) else (2, 8)
        blocks = kernel.reshape(16 // rows, rows, 16 // columns, columns)
        shares = blocks.mean((1, 3))
        assert set(shares.ravel()) == {0.0, 1.0}
        assert shares.mean() == 0.5


def test_a_global_threshold():
    model = mlp()
    model.get_layer("first").kernel.assign(np.full((6, 16), 3.0))
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    pruner = Pruner(0.5, scope="global")
    fit(model, pruner)
    assert pruner.report().below_target == ()
    total = sum(np.prod(k.shape) for k in kernels(model))
    assert sum(map(zeros, kernels(model))) == total - round(total * 0.5)
    assert zeros(model.get_layer("first").kernel) == 0


def test_a_sparsity_by_name():
    model = mlp()
    model.compile("adam", "mse")
    pruner = Pruner({"last": 0.5, "s*": PolynomialSparsity(0.9, 0, 10)})
    fit(model, pruner)
    first, second, last = kernels(model)
    assert zeros(first) == 0
    check_sparse([second], 0.9)
    check_sparse([last], 0.5)
    assert pruner.report().left_alone == {"first/kernel": "was not named"}


@pytest.mark.ci
def test_schedules_of_tfmot_as_they_are():
    for schedule in (
        kbig.compression.PolynomialDecay(0.2, 0.8, 3, 17, frequency=5),
        kbig.compression.ConstantSparsity(0.8, 3, frequency=5),
    ):
        model = mlp()
        model.compile("adam", "mse")
        fit(model, Pruner(schedule))
        check_sparse(kernels(model), 0.8)


def test_removes_the_smallest_at_the_step_that_is_due():
    """With a learning rate of 0 the weights are known."""
    model = mlp()
    before = [kernel.numpy() for kernel in kernels(model)]
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(zeros(model.get_layer("second").kernel))

    model.compile(keras.optimizers.SGD(0.0), "mse")
    fit(model, Pruner(PolynomialSparsity(0.5, 2, 6, 4)), Look(), epochs=1)
    assert seen[:6] == [0, 0, 0, 0, 0, 128]
    for kernel, old in zip(kernels(model), before):
        new = kernel.numpy()
        np.testing.assert_array_equal(new[new != 0], old[new != 0])
        assert np.abs(old[new == 0]).max() <= np.abs(old[new != 0]).min()


@pytest.mark.ci
def test_a_model_that_was_fitted_before_and_is_after():
    model = mlp()
    model.compile("adam", "mse")
    fit(model, epochs=1)
    fit(model, Pruner(0.7))
    check_sparse(kernels(model), 0.7)
    fit(model, epochs=1)
    # Nothing holds the zeros any more.
    assert sum(map(zeros, kernels(model))) < 20


def test_a_kernel_of_zeros_is_trained_before_it_is_pruned():
    model = mlp()
    model.get_layer("last").kernel.assign(np.zeros((16, 2)))
    model.compile("adam", "mse")
    fit(model, Pruner(0.5))
    check_sparse([model.get_layer("last").kernel], 0.5)


def test_a_stop_before_the_target_is_said():
    model = mlp()
    model.compile("adam", "mse")

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 5

    pruner = Pruner(PolynomialSparsity(0.8, 0, 20))
    with pytest.warns(UserWarning, match="stopped at step 6"):
        fit(model, pruner, Stop())
    second = pruner.report().weights[1]
    assert pruner.report().below_target[1] == "second/kernel"
    assert second.target == 0.8
    assert second.sparsity == pytest.approx(0.8 * (1 - 0.7**3), abs=0.003)


def test_the_report_counts():
    model = mlp()
    model.compile("adam", "mse")
    pruner = Pruner(0.75)
    fit(model, pruner)
    report = pruner.report()
    assert report.below_target == ()
    assert "not reached" not in str(report)
    row = report.weights[1]
    assert (row.name, row.shape) == ("second/kernel", (16, 16))
    assert (row.target, row.sparsity, row.size) == (0.75, 0.75, 1024)
    content = model.get_layer("second").kernel.numpy().tobytes()
    assert row.gzip == len(gzip.compress(content)) < 500
    sizes = [6 * 16, 16 * 16, 16 * 2]
    assert report.size == 4 * sum(sizes)
    assert report.sparsity == pytest.approx(0.75)
    assert "LiteRT" in str(report)
    assert "second/kernel" in str(report)
