import keras
import numpy as np
import pytest

from kbig import evaluation
from kbig.errors import GateError

NAMES = ("O", "B-X", "I-X")
TAGS = ([1, 2, 0, 0], [0, 0])


def logs_of(task, outputs, labels, names, **logs):
    callback = evaluation.ValidationMetric(
        evaluation.TASKS[task], lambda: outputs, labels, names
    )
    callback.on_epoch_end(0, logs)
    return logs


def test_spans_count_whole_and_labels_together():
    # Five of six tags are right, and not one span.
    logs = logs_of("tags", ([1, 0, 0, 0], [0, 0]), TAGS, NAMES, loss=1.0)
    assert logs == {"loss": 1.0, "val_f1": 0.0}
    logits, labels = -np.ones((10, 20)), np.zeros((10, 20))
    labels[0, :2] = logits[0, 1:4] = 1
    # One of two found, of three given; 197 of 200 cells are right.
    logs = logs_of("multilabel", logits, labels, [f"c{n}" for n in range(20)])
    assert logs == {"val_micro_f1": pytest.approx(2 / 5)}


def test_what_keras_has_measured_is_not_measured_again():
    assert logs_of("classification", None, None, (), val_accuracy=0.25) == {
        "val_accuracy": 0.25
    }


def test_no_correlation_is_none_and_no_best():
    targets = np.array([1.0, 2.0, 3.0])
    logs = logs_of("regression", np.ones((3, 1)), targets, ())
    assert logs == {"val_pearson": 0.0}
    stop = keras.callbacks.EarlyStopping("val_pearson", mode="max")
    stop.set_model(keras.Sequential())
    stop.on_train_begin()
    stop.on_epoch_end(0, logs)
    logs = logs_of("regression", targets[:, None], targets, ())
    stop.on_epoch_end(1, logs)
    assert stop.best_epoch == 1


def test_a_training_that_diverged_ends():
    outputs = np.full((3, 1), np.nan)
    with pytest.raises(GateError, match="training diverged"):
        logs_of("regression", outputs, np.arange(3.0), ())


def test_recorders_and_fit_see_it(tmp_path):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.array([[0.0], [1.0]]), np.array([0.0, 1.0])
    metric = evaluation.ValidationMetric(
        evaluation.TASKS["regression"],
        lambda: model.predict(x, verbose=0),
        y,
        (),
    )
    path = tmp_path / "history.csv"
    callbacks = [metric, keras.callbacks.CSVLogger(path)]
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=callbacks).history
    # Two points lie on a line.
    assert np.abs(history["val_pearson"]) == pytest.approx([1.0, 1.0])
    assert "val_pearson" in path.read_text().splitlines()[0]
