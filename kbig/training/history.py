"""What a run writes down while it trains."""

import os
import pathlib

import keras
import tensorflow as tf

from kbig.training.throughput import Throughput


class EpochEvents(keras.callbacks.Callback):
    """Writes each epoch's logs as events for TensorBoard.

    Keras's own TensorBoard callback needs the tensorboard package, which
    TensorFlow no longer installs; to write events it is not needed. Files and
    tags are the same: `epoch_loss` under `train` and under `validation`.

    Args:
        directory: where to write; made when there is something to write.

    Example:
    ```python
    model.fit(x, y, callbacks=[EpochEvents("logs")])
    ```
    """

    def __init__(self, directory: str | os.PathLike):
        super().__init__()
        self.directory = pathlib.Path(directory)
        self._writers = {}

    def on_epoch_end(self, epoch, logs=None):
        """Writes the logs of one epoch."""
        for name, value in (logs or {}).items():
            split = "validation" if name.startswith("val_") else "train"
            with self._writer(split).as_default():
                _write_scalar(
                    f"epoch_{name.removeprefix('val_')}", value, epoch
                )
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs=None):
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _writer(self, split):
        if split not in self._writers:
            path = str(self.directory / split)
            self._writers[split] = tf.summary.create_file_writer(path)
        return self._writers[split]


def run_callbacks(
    directory: str | os.PathLike,
    throughput: Throughput | None = None,
    append: bool = False,
) -> list[keras.callbacks.Callback]:
    """Makes the callbacks that record a run, in the order they must have.

    Args:
        directory: the run's own; made if missing. It gets `history.csv` and
            TensorBoard events under `logs`.
        throughput: measures speed, so that the records have it.
        append: continue `history.csv`, as after a resume, instead of
            beginning anew.

    Returns:
        Callbacks for `fit`. Put others that add to the logs before them.

    Example:
    ```python
    callbacks = run_callbacks("runs/first", Throughput(per_step=32))
    model.fit(x, y, batch_size=32, callbacks=callbacks)
    ```
    """
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    measures = [] if throughput is None else [throughput]
    return [
        *measures,
        keras.callbacks.CSVLogger(directory / "history.csv", append=append),
        EpochEvents(directory / "logs"),
    ]


def _write_scalar(tag: str, value: float, step: int) -> None:
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    scalar = tf.constant(value, "float32")
    tf.summary.write(tag, scalar, step=step, metadata=metadata)
