"""Movement pruning against its formula, in float64."""

import keras
import numpy as np

from kbig.compression import Pruner
from kbig.compression.pruning.schedules import PolynomialSparsity

RATE = 0.1


def linear(kernel):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.asarray(kernel, "float32")[:, None]])
    return model


def test_scores_learn_from_minus_weight_times_gradient_by_adam():
    """Five steps on a linear model, whose gradient is known."""
    generator = np.random.default_rng(5)
    x, y = generator.normal(size=(5, 8, 4)), generator.normal(size=(5, 8))
    weight = np.array([0.5, -1.0, 2.0, -0.1])
    model = linear(weight)
    model.compile(keras.optimizers.SGD(RATE), "mse")
    pruner = Pruner(PolynomialSparsity(0.5, 5, 5), method="movement")
    model.fit(
        x.reshape(40, 4),
        y.reshape(40),
        batch_size=8,
        shuffle=False,
        verbose=0,
        callbacks=[pruner],
    )
    scores, mean, square = np.zeros((3, 4))
    for step, (inputs, targets) in enumerate(zip(x, y), 1):
        gradient = 2 * inputs.T @ (inputs @ weight - targets) / 8
        mean = 0.9 * mean + 0.1 * gradient * weight
        square = 0.999 * square + 0.001 * (gradient * weight) ** 2
        deviation = np.sqrt(square / (1 - 0.999**step))
        scores -= mean / (1 - 0.9**step) / deviation
        weight = weight - RATE * gradient
    expected = np.where(np.argsort(np.argsort(-scores)) < 2, weight, 0)
    np.testing.assert_allclose(
        model.get_weights()[0][:, 0], expected, rtol=1e-5
    )


def test_a_large_weight_that_shrinks_goes_before_a_small_one_that_grows():
    model = linear([2.0, 2.0, 0.3, 0.3])
    x = np.random.default_rng(0).normal(size=(256, 4))
    y = x @ [0.2, 2.2, 1.5, 0.1]
    model.compile(keras.optimizers.SGD(0.02), "mse")
    schedule = PolynomialSparsity(0.5, 8, 8)
    pruner = Pruner(schedule, method="movement")
    model.fit(x, y, batch_size=32, verbose=0, shuffle=False, callbacks=[pruner])
    kernel = model.get_weights()[0][:, 0]
    assert kernel[2] != 0
    assert kernel[0] == 0


def test_what_was_removed_returns_with_its_value():
    """The data change their mind: first weight 0, then weight 1 matters."""
    x = np.random.default_rng(0).normal(size=(20, 32, 4)).astype("float32")
    first, second = [2.0, 0.0, 2.0, 2.0], [0.0, 3.0, 2.0, 2.0]
    y = np.stack([b @ (first if n < 5 else second) for n, b in enumerate(x)])
    model = linear([1.0, 1.0, 1.0, 1.0])
    model.compile(keras.optimizers.SGD(0.02), "mse")
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(model.get_weights()[0][:2, 0])

    schedule = PolynomialSparsity(0.25, 5, 20, frequency=15, power=1)
    constant = lambda step: (step in (5, 20), 0.25)  # noqa: E731
    model.fit(
        x.reshape(-1, 4),
        y.reshape(-1),
        batch_size=32,
        shuffle=False,
        verbose=0,
        callbacks=[Pruner(constant, method="movement"), Look()],
    )
    assert schedule(20)[1] == 0.25
    assert seen[4][1] == 0  # Removed: it moved towards zero.
    np.testing.assert_array_equal([w[1] for w in seen[5:19]], 0)
    assert seen[19][1] != 0  # It returns, and the other one goes.
    assert seen[19][0] == 0
    assert seen[19][1] == seen[3][1] or abs(seen[19][1] - seen[3][1]) < 0.2


def test_the_optimizer_is_given_back():
    model = linear([1.0, 2.0, 3.0, 4.0])
    model.compile("adam", "mse")
    x = np.ones((32, 4))
    model.fit(x, x[:, 0], verbose=0, callbacks=[Pruner(0.5, method="movement")])
    assert "apply" not in vars(model.optimizer)
    model.save_weights  # noqa: B018 (still a model)
    model.fit(x, x[:, 0], verbose=0)
