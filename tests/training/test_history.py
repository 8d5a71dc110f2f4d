import csv

import keras
import numpy as np
import tensorflow as tf

from kbig.training import Throughput
from kbig.training import run_callbacks


def scalars(directory):
    (path,) = directory.glob("events.*")
    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    found = {}
    for record in records:
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name in ("scalars", "")
            found[value.tag, event.step] = tf.make_ndarray(value.tensor).item()
    return found


def fit(directory, append=False):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((8, 1))
    callbacks = run_callbacks(directory, Throughput(4, skip_steps=0), append)
    return model.fit(
        x,
        x,
        batch_size=4,
        epochs=2,
        validation_data=(x, x),
        verbose=0,
        callbacks=callbacks,
    ).history


def rows(directory):
    with open(directory / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_csv_and_events_hold_what_fit_returns(tmp_path):
    directory = tmp_path / "runs" / "first"
    history = fit(directory)
    assert set(history) == {"loss", "val_loss", "examples_per_second"}
    written = rows(directory)
    assert [row["epoch"] for row in written] == ["0", "1"]
    for name, values in history.items():
        np.testing.assert_allclose([float(r[name]) for r in written], values)
    train = scalars(directory / "logs" / "train")
    validation = scalars(directory / "logs" / "validation")
    assert validation.keys() == {("epoch_loss", 0), ("epoch_loss", 1)}
    for epoch in range(2):
        for tag, events, name in [
            ("epoch_loss", train, "loss"),
            ("epoch_loss", validation, "val_loss"),
            ("epoch_examples_per_second", train, "examples_per_second"),
        ]:
            np.testing.assert_allclose(
                events[tag, epoch], history[name][epoch], rtol=1e-6
            )


def test_append_continues_the_table(tmp_path):
    fit(tmp_path)
    fit(tmp_path, append=True)
    assert [row["epoch"] for row in rows(tmp_path)] == ["0", "1", "0", "1"]
    fit(tmp_path)
    assert len(rows(tmp_path)) == 2
