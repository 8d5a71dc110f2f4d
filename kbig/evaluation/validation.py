"""A task's main metric, followed while a model trains."""

from collections.abc import Callable
from collections.abc import Sequence

import keras
import numpy as np

from kbig.evaluation.tasks import Task


class ValidationMetric(keras.callbacks.Callback):
    """Adds a task's main metric on the validation rows to each epoch's logs.

    Keras measures element by element: of several labels or of tags that is a
    share of decisions, most of which are easy. This measures what the report
    on the test rows will, as `val_<metric>`. Put it before callbacks that
    read the logs.

    Args:
        task: a value of `kbig.evaluation.TASKS`.
        predict: takes nothing, and returns the outputs for the validation
            rows as `task.evaluate` takes them.
        labels: of these rows.
        class_names: of the data.

    Raises:
        GateError: at the end of an epoch, when the outputs are not finite.

    Example:
    ```python
    task = TASKS["tags"]
    metric = ValidationMetric(
        task, lambda: task.predict(model, words, tokenizer, 64), tags, names
    )
    stop = keras.callbacks.EarlyStopping("val_f1", mode="max")
    model.fit(train, validation_data=validation, callbacks=[metric, stop])
    ```
    """

    def __init__(
        self,
        task: Task,
        predict: Callable,
        labels: Sequence,
        class_names: Sequence[str],
    ):
        super().__init__()
        self.task = task
        self.predict = predict
        self.labels = labels
        self.class_names = class_names

    def on_epoch_end(self, epoch, logs=None):
        """Adds the metric, unless Keras has measured it already."""
        name = f"val_{self.task.metric}"
        if logs is None or name in logs:
            return
        report = self.task.evaluate(
            self.predict(), self.labels, self.class_names
        )
        # A correlation with outputs that are all alike is NaN, which
        # EarlyStopping would take for the best there can be.
        logs[name] = float(np.nan_to_num(getattr(report, self.task.metric)))
