"""A small model and a run of it that may be killed and go on."""

import keras
import numpy as np
import tensorflow as tf

from kbig import data
from kbig.training import ExactResume
from kbig.training import Runtime
from kbig.training import WarmupLinear
from kbig.training import adamw

STEPS_PER_EPOCH, EPOCHS = 4, 3
TOTAL = STEPS_PER_EPOCH * EPOCHS
ROWS = np.random.default_rng(0).normal(size=(22, 5)).astype("float32")


class KilledError(Exception):
    """What ends a run in the middle."""


class KillAfter(keras.callbacks.Callback):
    """Raises once so many steps were taken, before anything is written."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch, logs=None):
        self.steps -= 1
        if self.steps == 0:
            raise KilledError


def make_model(strategy="none"):
    """Dropout, moving averages, a schedule and gradients that wait."""
    with Runtime(strategy).scope():
        model = keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(6, "relu"),
                keras.layers.Dropout(0.3),
                keras.layers.BatchNormalization(),
                keras.layers.Dense(1),
            ]
        )
        rate = WarmupLinear(0.05, warmup_steps=2, total_steps=TOTAL)
        optimizer = adamw(rate, gradient_accumulation_steps=3)
        model.compile(optimizer, "mse")
    return model


def examples(shuffle=True):
    """6 batches, the last not full: a pass is not an epoch of `fit`."""
    dataset = tf.data.Dataset.from_tensor_slices((ROWS, ROWS[:, :1]))
    return data.batches(dataset, 4, shuffle=shuffle, seed=1)


def train(
    directory,
    *,
    every_steps=1,
    callbacks=(),
    strategy="none",
    steps_per_execution=1,
    **options,
):
    """One process's life: begins or goes on."""
    model = make_model(strategy)
    model.steps_per_execution = steps_per_execution
    resume = ExactResume(directory, every_steps=every_steps)
    # Under a strategy Keras opens a data set twice, and so shuffles anew.
    batches = examples(shuffle=strategy == "none")
    history = model.fit(
        resume.remaining(batches),
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        initial_epoch=resume.initial_epoch(STEPS_PER_EPOCH),
        callbacks=[*callbacks, resume],
        verbose=0,
        **options,
    ).history
    return model, history


def state(model):
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


def check_identical(model, other):
    for value, expected in zip(state(model), state(other), strict=True):
        np.testing.assert_array_equal(value, expected)
