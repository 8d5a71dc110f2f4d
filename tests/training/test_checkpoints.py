import os
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

from kbig import data
from kbig import models
from kbig.training import ExactResume
from kbig.training import adamw
from tests.training.resumed import EPOCHS
from tests.training.resumed import STEPS_PER_EPOCH
from tests.training.resumed import TOTAL
from tests.training.resumed import KillAfter
from tests.training.resumed import KilledError
from tests.training.resumed import check_identical
from tests.training.resumed import examples
from tests.training.resumed import make_model
from tests.training.resumed import train


@pytest.fixture(scope="module")
def whole():
    """A run that nothing ever happened to, without the callback."""
    model = make_model()
    model.fit(
        examples().repeat(),
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        verbose=0,
    )
    return model


def kill_and_resume(directory, steps, **options):
    for step in steps:
        with pytest.raises(KilledError):
            train(directory, callbacks=[KillAfter(step)], **options)
    return train(directory, **options)


@pytest.mark.ci
@pytest.mark.parametrize("every_steps", [1, 3])
def test_killed_at_steps_of_every_epoch(whole, tmp_path, every_steps):
    # Killed within an epoch, at its end, and in the run that went on. With
    # `every_steps` of 3 the second begins at 0 and the third at 6 at most.
    model, _ = kill_and_resume(tmp_path, (3, 5, 4), every_steps=every_steps)
    check_identical(model, whole)


@pytest.mark.ci
def test_steps_that_are_executed_together(whole, tmp_path):
    # Killed in the third execution, then in the second from where it was.
    model, _ = kill_and_resume(tmp_path, (3, 2), steps_per_execution=2)
    check_identical(model, whole)


@pytest.mark.slow
@pytest.mark.parametrize("every_steps", [1, 2, 5])
def test_killed_at_every_step(whole, tmp_path, every_steps):
    for step in range(1, TOTAL + 1):
        directory = tmp_path / str(step)
        model, _ = kill_and_resume(directory, [step], every_steps=every_steps)
        check_identical(model, whole)


@pytest.mark.ci
def test_validation_and_epochs_go_on(whole, tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, callbacks=[KillAfter(7)], validation_data=examples())
    # Killed in step 7, before it was written; 6 is in the second epoch.
    assert ExactResume(tmp_path).initial_step == 6
    assert ExactResume(tmp_path).initial_epoch(STEPS_PER_EPOCH) == 1
    model, history = train(tmp_path, validation_data=examples())
    assert len(history["val_loss"]) == 2
    check_identical(model, whole)
    # Finished: started again it loads, and does not train.
    model, history = train(tmp_path)
    assert history == {}
    check_identical(model, whole)


def test_others_may_still_stop_the_training(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, callbacks=[KillAfter(2)])
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: setattr(
            stop.model, "stop_training", True
        )
    )
    _, history = train(tmp_path, callbacks=[stop])
    assert len(history["loss"]) == 1
    assert ExactResume(tmp_path).initial_step == STEPS_PER_EPOCH


@pytest.mark.ci
def test_two_replicas(tmp_path):
    straight, _ = train(tmp_path / "a", strategy="mirrored")
    model, _ = kill_and_resume(tmp_path / "b", [6], strategy="mirrored")
    check_identical(model, straight)
    # Each replica has seen other rows.
    averages = straight.layers[2].moving_mean.value
    first, second = straight.distribute_strategy.experimental_local_results(
        averages
    )
    assert (first != second).numpy().any()
    for value, expected in zip(
        model.distribute_strategy.experimental_local_results(
            model.layers[2].moving_mean.value
        ),
        (first, second),
        strict=True,
    ):
        np.testing.assert_array_equal(value, expected)


@pytest.mark.ci
def test_masked_batches_and_bfloat16_weights(tmp_path):
    def run(directory, callbacks=()):
        keras.utils.set_random_seed(0)
        size = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2}
        keras.config.set_dtype_policy("bfloat16")
        model = models.bert_masked_lm(models.bert(size, 30))
        keras.config.set_dtype_policy("float32")
        model.compile(
            adamw(0.01), "sparse_categorical_crossentropy", jit_compile=False
        )
        resume = ExactResume(directory, every_steps=1)
        stream = data.masked_batches(
            np.arange(120).reshape(10, 12) % 30,
            4,
            vocabulary_size=30,
            mask_id=4,
            special_ids=range(5),
            max_predictions=2,
            training=True,
            first_step=resume.initial_step,
        )
        model.fit(
            stream,
            steps_per_epoch=4,
            initial_epoch=resume.initial_epoch(4),
            callbacks=[*callbacks, resume],
            verbose=0,
        )
        return model

    whole = run(tmp_path / "a")
    with pytest.raises(KilledError):
        run(tmp_path / "b", [KillAfter(3)])
    check_identical(run(tmp_path / "b"), whole)


def test_two_newest_are_kept_and_the_older_one_serves(whole, tmp_path):
    train(tmp_path)
    names = sorted(os.listdir(tmp_path))
    assert names == ["step-000000011.npz", "step-000000012.npz"]
    newest = tmp_path / names[1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match="passed over"):
        model, _ = train(tmp_path)
    check_identical(model, whole)


SCRIPT = """
import sys
import numpy as np
from tests.training import resumed
from tests.training.test_checkpoints import Announce
model, _ = resumed.train(sys.argv[1], callbacks=[Announce()])
np.savez(sys.argv[2], *resumed.state(model))
"""


class Announce(keras.callbacks.Callback):
    """Tells the parent process when a step was taken."""

    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)


def start(directory, result):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(directory), str(result)],
        cwd=pathlib.Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_killed_by_the_operating_system(tmp_path):
    for kill_after in (2, 5, None):
        with start(tmp_path / "b", tmp_path / "b.npz") as process:
            for _ in range(kill_after or 0):
                assert process.stdout.readline() == "step\n"
            if kill_after:
                process.send_signal(signal.SIGKILL)
            process.communicate()
    with start(tmp_path / "a", tmp_path / "a.npz") as process:
        process.communicate()
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a.files == b.files
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
