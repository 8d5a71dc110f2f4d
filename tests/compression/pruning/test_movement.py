"""Movement pruning against its formula, in float64."""

import keras
import numpy as np
import pytest

from kbig.compression import Pruner
from kbig.compression.pruning.schedules import PolynomialSparsity
from kbig.errors import UsageError
from kbig.training import Runtime
from kbig.training import adam

RATE = 0.1


@pytest.fixture(params=["by operations", "by a loop"])
def update(request, monkeypatch):
    """Has scores learn the one way or the other."""
    if request.param == "by a loop":
        monkeypatch.setattr(adam, "LARGE", 1)


def linear(kernel):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(1, use_bias=False)]
    )
    model.set_weights([np.asarray(kernel, "float32")[:, None]])
    return model


def expected_weights(x, y, weight, updates):
    """The weights after each step of plain descent, in float64.

    Args:
        x: `(steps, rows, 4)`.
        y: `(steps, rows)`.
        weight: `(4,)`, at first.
        updates: steps, and how many of the weights are removed after them;
            the last is for good.
    """
    scores, mean, square, removed = np.zeros((4, 4))
    kept, limit, growth, last, seen = np.ones(4, bool), np.nan, 0, np.nan, []
    for step, (inputs, targets) in enumerate(zip(x, y), 1):
        gradient = 2 * inputs.T @ (inputs @ weight - targets) / len(inputs)
        change = gradient * (weight + removed)
        mean = 0.9 * mean + 0.1 * change
        square = 0.999 * square + 0.001 * change**2
        deviation = np.sqrt(square / (1 - 0.999**step))
        scores = scores - RATE * mean / (1 - 0.9**step) / deviation
        if not np.isnan(limit):
            limit = min(limit + growth, last)
            weight, removed = weight + removed, 0 * removed
            kept = (scores > limit) | (kept & (scores == limit))
            weight, removed = weight * kept, weight * ~kept
        weight = (weight - RATE * gradient) * kept
        if step in updates:
            weight, removed = weight + removed, 0 * removed
            order = np.sort(scores)
            kept = scores >= order[updates[step]]
            weight, removed = weight * kept, weight * ~kept
            limit, later = np.nan, [each for each in updates if each > step]
            if later:
                limit, last = order[updates[step]], order[updates[later[0]]]
                growth = (last - limit) / (later[0] - step)
        seen.append(weight)
    return np.array(seen)


class Look(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(self.model.get_weights()[0][:, 0])


def weights_seen(x, y, weight, pruner):
    model = linear(weight)
    model.compile(keras.optimizers.SGD(RATE), "mse")
    look = Look()
    model.fit(
        x.reshape(-1, 4),
        y.reshape(-1),
        batch_size=x.shape[1],
        shuffle=False,
        verbose=0,
        callbacks=[pruner, look],
    )
    return np.array(look.seen)


def changing_data():
    """After 5 steps it is weight 1 that matters, not weight 0."""
    x = np.random.default_rng(0).normal(size=(20, 32, 4))
    first, second = [2.0, 0.0, 2.0, 2.0], [0.0, 3.0, 2.0, 2.0]
    y = np.stack([b @ (first if n < 5 else second) for n, b in enumerate(x)])
    return x, y


def at(updates):
    """A schedule: how many of four weights are removed at some steps."""
    return lambda step: (int(step) in updates, updates.get(int(step), 0) / 4)


@pytest.mark.parametrize(
    "updates", [{5: 1}, {5: 1, 20: 1}, {3: 1, 9: 2, 14: 2}, {2: 0, 12: 3}]
)
@pytest.mark.usefixtures("update")
def test_weights_go_and_return_as_their_scores_say(updates):
    x, y = changing_data()
    start = np.array([1.0, 1.1, 0.9, 1.2])
    expected = expected_weights(x, y, start, updates)
    found = weights_seen(x, y, start, Pruner(at(updates), method="movement"))
    np.testing.assert_array_equal(found == 0, expected == 0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_what_was_removed_returns_before_the_next_update():
    start = [1.0, 1.0, 1.0, 1.0]
    pruner = Pruner(at({5: 1, 20: 1}), method="movement")
    one = weights_seen(*changing_data(), start, pruner)[:, 1]
    returned = int(np.argmax(one[5:] != 0)) + 5
    assert one[4] == 0  # It moved towards zero.
    assert 5 < returned < 19
    assert 0.5 < one[returned] < 1.5  # As it was, but for a step or two.


@pytest.mark.parametrize("updates", [{0: 0, 5: 0, 20: 0}, {0: 0, 20: 0}])
def test_nothing_goes_where_nothing_shall(updates):
    pruner = Pruner(at(updates), method="movement")
    seen = weights_seen(*changing_data(), [1.0, 1.1, 0.9, 1.2], pruner)
    assert (seen != 0).all()


def test_weights_that_a_callback_puts_back_are_theirs():
    """What was set aside before is not added to them."""

    class PutBack(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 7:
                self.model.set_weights([np.full((4, 1), 1.5)])

    model = linear([1.0, 1.0, 1.0, 1.0])
    model.compile(keras.optimizers.SGD(1e-6), "mse")
    x, y = changing_data()
    look = Look()
    model.fit(
        x.reshape(-1, 4),
        y.reshape(-1),
        batch_size=32,
        shuffle=False,
        verbose=0,
        callbacks=[
            Pruner(at({5: 1, 20: 1}), method="movement"),
            PutBack(),
            look,
        ],
    )
    seen = np.array(look.seen)
    assert (seen[4] == 0).sum() == 1
    # Each is what was put back, or what was set aside.
    put_back = np.isclose(seen[8:], 1.5, atol=1e-3)
    aside = np.isclose(seen[8:], 1.0, atol=1e-3)
    assert (put_back | aside | (seen[8:] == 0)).all()
    assert put_back.any()


@pytest.mark.usefixtures("update")
def test_two_replicas_remove_what_one_does():
    """The gradient of all rows decides, on both."""
    x, y = changing_data()
    start, schedule = [1.0, 1.1, 0.9, 1.2], at({3: 1, 9: 2, 14: 2})
    alone = weights_seen(x, y, start, Pruner(schedule, method="movement"))
    with Runtime("mirrored", "float32").scope():
        both = weights_seen(x, y, start, Pruner(schedule, method="movement"))
    np.testing.assert_array_equal(both == 0, alone == 0)
    np.testing.assert_allclose(both, alone, rtol=1e-4)


def test_gradients_that_are_not_finite_are_told():
    x, y = changing_data()
    y[3] = np.nan
    pruner = Pruner(at({2: 1, 9: 1}), method="movement")
    with pytest.raises(UsageError, match="not finite"):
        weights_seen(x, y, [1.0, 1.1, 0.9, 1.2], pruner)


def test_groups_wait_for_the_next_update():
    schedule = lambda step: (step in (5, 20), 0.25)  # noqa: E731
    pruner = Pruner(schedule, "1:4", method="movement")
    one = weights_seen(*changing_data(), [1.0, 1.0, 1.0, 1.0], pruner)[:, 1]
    np.testing.assert_array_equal(one[4:19], 0)
    assert one[19] != 0


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


def test_the_optimizer_is_given_back():
    model = linear([1.0, 2.0, 3.0, 4.0])
    model.compile("adam", "mse")
    x = np.ones((32, 4))
    model.fit(x, x[:, 0], verbose=0, callbacks=[Pruner(0.5, method="movement")])
    assert "apply" not in vars(model.optimizer)
    model.save_weights  # noqa: B018 (still a model)
    model.fit(x, x[:, 0], verbose=0)
