"""A small task and models that its pruning is tested on."""

import keras
import numpy as np

INPUTS = np.random.default_rng(1).normal(size=(96, 6)).astype("float32")
TARGETS = np.stack([INPUTS[:, :3].sum(1), INPUTS[:, 3:].prod(1)], axis=1)
STEPS = 12  # Of a batch of 8, an epoch.


def mlp(units=16):
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(units, "relu", name="first"),
            keras.layers.Dense(units, "relu", name="second"),
            keras.layers.Dense(2, name="last"),
        ]
    )


def fit(model, *callbacks, epochs=2, **options):
    return model.fit(
        INPUTS,
        TARGETS,
        batch_size=8,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **options,
    )


def zeros(variable):
    return int(np.sum(np.asarray(variable.numpy()) == 0))


def expected_zeros(variable, sparsity):
    """By arithmetic: what is left is the nearest whole number."""
    size = int(np.prod(variable.shape))
    return size - round(size * (1 - sparsity))


def check_sparse(kernels, sparsity):
    for kernel in kernels:
        assert zeros(kernel) == expected_zeros(kernel, sparsity), kernel.path


def half_zero(variable):
    """Half of its numbers are zero now, here and there."""
    value = np.array(variable.numpy())
    order = np.random.default_rng(0).permutation(value.size)
    value.reshape(-1)[order[::2]] = 0
    variable.assign(value)
    return variable


class Kill(keras.callbacks.Callback):
    """An error in the tenth step of an epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 9:
            raise InterruptedError
