import numpy as np
import pytest

from kbig import models
from kbig.training import ExactResume
from tests.contracts import check_usage_error
from tests.training.resumed import EPOCHS
from tests.training.resumed import STEPS_PER_EPOCH
from tests.training.resumed import TOTAL
from tests.training.resumed import KillAfter
from tests.training.resumed import KilledError
from tests.training.resumed import examples
from tests.training.resumed import make_model
from tests.training.resumed import train


def test_mistakes(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, callbacks=[KillAfter(7)])
    resume = ExactResume(tmp_path)

    def fit(model, **options):
        return model.fit(
            resume.remaining(examples()),
            callbacks=[resume],
            verbose=0,
            epochs=3,
            **options,
        )

    model = make_model()
    for options, fragment in (
        ({"steps_per_epoch": 5, "initial_epoch": 1}, "steps_per_epoch=5"),
        ({"steps_per_epoch": 4}, "initial_epoch=0"),
    ):
        check_usage_error(
            lambda options=options: fit(model, **options), fragment
        )
    other = models.mlp((5,), 1)
    other.compile("sgd", "mse")
    resume = ExactResume(tmp_path)
    before = other.get_weights()
    check_usage_error(
        lambda: fit(other, steps_per_epoch=4, initial_epoch=1), "variables"
    )
    for weight, value in zip(other.get_weights(), before):
        np.testing.assert_array_equal(weight, value)
    check_usage_error(lambda: ExactResume(tmp_path, 0), "every_steps=0")
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.warns(UserWarning):
        check_usage_error(lambda: ExactResume(tmp_path), "step-000000006.npz")


def test_executions_must_fit_into_an_epoch(tmp_path):
    # Of 4 steps by threes, Keras would take 6.
    check_usage_error(
        lambda: train(tmp_path, steps_per_execution=3),
        "steps_per_execution=3",
        "steps_per_epoch=4",
    )
    with pytest.raises(KilledError):
        train(tmp_path, callbacks=[KillAfter(6)])
    # 5 steps were kept: by twos, the second epoch would end after 9.
    check_usage_error(
        lambda: train(tmp_path, steps_per_execution=2),
        "steps_per_execution=2",
        "5 steps",
    )


def test_an_interrupted_run_needs_a_new_callback(tmp_path):
    """What it remembers is of the beginning, and the weights are not."""
    model, resume = make_model(), ExactResume(tmp_path)

    def fit(*callbacks):
        model.fit(
            resume.remaining(examples()),
            steps_per_epoch=STEPS_PER_EPOCH,
            callbacks=[*callbacks, resume],
            verbose=0,
        )

    with pytest.raises(KilledError):
        fit(KillAfter(2))
    check_usage_error(fit, "did not end")


def test_data_that_did_not_advance_are_refused(tmp_path):
    with pytest.raises(KilledError):
        train(tmp_path, callbacks=[KillAfter(6)])

    def go_on(resume, dataset, epochs=EPOCHS):
        make_model().fit(
            dataset.repeat(),
            steps_per_epoch=STEPS_PER_EPOCH,
            epochs=epochs,
            initial_epoch=resume.initial_epoch(STEPS_PER_EPOCH),
            callbacks=[resume],
            verbose=0,
        )

    resume = ExactResume(tmp_path)
    check_usage_error(
        lambda: go_on(resume, examples()), "5 steps", "resume.remaining"
    )
    go_on(resume, examples().repeat().skip(resume.initial_step))
    # One object for a second `fit`: its data must advance again.
    check_usage_error(
        lambda: go_on(resume, examples(), EPOCHS + 1), f"{TOTAL} steps"
    )
