import keras
import numpy as np
import pytest

from kbig.training import Runtime
from kbig.training import adamw


def test_decays_the_same_on_two_replicas():
    runtime = Runtime(strategy="mirrored")
    with runtime.scope():
        model = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(2), _norm()]
        )
        # A constant loss has no gradient, and leaves the decay alone.
        model.compile(adamw(0.5, weight_decay=0.1), _constant_loss)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    model.fit(np.ones((4, 3)), np.ones((4, 2)), batch_size=4, verbose=0)
    kernel, bias, gamma, beta = model.get_weights()[:4]
    np.testing.assert_allclose(kernel, 0.95, rtol=1e-6)
    for spared in (bias, gamma, beta):
        np.testing.assert_array_equal(spared, 1.0)


def _norm():
    return keras.layers.LayerNormalization()


def _constant_loss(_, output):
    return 0.0 * keras.ops.sum(output, axis=-1)


INPUTS = np.random.default_rng(3).normal(size=(24, 3))


def weights_after(optimizer, strategy):
    """Of ten steps on the whole batch; each half has other targets."""
    with Runtime(strategy, "float32").scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(optimizer(), "mse", jit_compile=False)
    targets = INPUTS[:, :2] * np.repeat([[9.0], [-1.0]], 12, axis=0)
    model.fit(
        INPUTS, targets, batch_size=24, epochs=10, shuffle=False, verbose=0
    )
    return model.get_weights()


@pytest.mark.ci
@pytest.mark.parametrize(
    "options",
    [
        {"global_clipnorm": 0.1},
        {"clipnorm": 0.1, "use_ema": True, "ema_momentum": 0.5},
        {"clipvalue": 0.05, "amsgrad": True},
    ],
)
def test_two_replicas_clip_the_gradients_of_the_whole_batch(options):
    def clipped():
        return adamw(0.05, weight_decay=0.1, epsilon=0.1, **options)

    one = weights_after(clipped, "none")
    for weight, other in zip(weights_after(clipped, "mirrored"), one):
        np.testing.assert_allclose(weight, other, atol=1e-6)


def test_trains_in_float16_on_two_replicas():
    runtime = Runtime("mirrored", precision="mixed_float16")
    with runtime.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(adamw(0.1), "mse")
    inputs = np.random.default_rng(3).normal(size=(64, 3))
    history = model.fit(
        inputs, inputs[:, :2], batch_size=16, epochs=4, verbose=0
    ).history["loss"]
    assert history[-1] < 0.5 * history[0]
