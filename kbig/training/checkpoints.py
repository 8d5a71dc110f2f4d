"""Checkpoints that a killed run goes on from, exactly."""

import os
import pathlib

import keras
import numpy as np

from kbig.errors import UsageError
from kbig.models.arguments import check_positive
from kbig.training.checkpoint_files import read_newest
from kbig.training.checkpoint_files import write_step

# Ends the steps of one epoch as True would, but not the training.
_END_OF_EPOCH = "end of epoch"


class ExactResume(keras.callbacks.Callback):
    """Lets a run that was killed at any step end as if it had not been.

    Kept are the model's weights and the state of its dropout's random
    numbers, each replica's moving averages, the optimizer's state and the
    number of steps taken. Started again with the same data, a run on a CPU
    ends with the same weights, bit for bit. Keras's `BackupAndRestore` begins
    the epoch anew instead, with weights that have seen part of it.

    The data must be a stream that begins at `initial_step`: of
    `masked_batches`, or of a deterministic data set through `remaining`. To
    go on with data for which neither was asked is refused. `fit` needs
    `steps_per_epoch`, a multiple of the model's `steps_per_execution`,
    `initial_epoch`, and this callback last.

    In the epoch that it goes on in, training metrics are those of the
    remaining steps. What other callbacks remember, as the best loss for
    early stopping, and TensorFlow's own stateful random numbers are not kept.
    Under a strategy Keras opens a data set twice, which advances a shuffle:
    there only `masked_batches`, or data in a fixed order, go on exactly.

    Files are written aside, then renamed; the two newest stay. They hold
    arrays only, and are read without pickle. The file of the last step stays
    too: a finished run started again trains no more.

    Args:
        directory: for the files; made when there is something to write.
        every_steps: steps from one file to the next.

    Raises:
        UsageError: when `every_steps` is not positive; in `fit`, when model,
            data, `initial_epoch` or `steps_per_execution` do not fit what was
            kept.

    Example:
    ```python
    resume = ExactResume("runs/first/resume", every_steps=100)
    model.fit(
        resume.remaining(kbig.data.batches(data.train, 32, shuffle=True)),
        steps_per_epoch=200,
        epochs=10,
        initial_epoch=resume.initial_epoch(steps_per_epoch=200),
        callbacks=[resume],
    )
    ```
    """

    def __init__(self, directory: str | os.PathLike, every_steps: int = 500):
        super().__init__()
        check_positive("every_steps", every_steps)
        self.directory = pathlib.Path(directory)
        self.every_steps = every_steps
        self._state = read_newest(self.directory)
        self._initial_step, self._kept_steps_per_epoch = (
            (int(self._state["step"]), int(self._state["steps_per_epoch"]))
            if self._state
            else (0, None)
        )
        self._was_asked = self._is_running = False

    @property
    def initial_step(self) -> int:
        """Steps that were taken before; 0 in a new run."""
        self._was_asked = True
        return self._initial_step

    def initial_epoch(self, steps_per_epoch: int) -> int:
        """The epoch to go on in, for `fit`.

        Args:
            steps_per_epoch: what `fit` gets too.

        Returns:
            The number of whole epochs that were trained.

        Raises:
            UsageError: when it is not positive, or another than before.

        Example:
        ```python
        ExactResume("resume").initial_epoch(steps_per_epoch=100)  # 0
        ```
        """
        check_positive("steps_per_epoch", steps_per_epoch)
        self._check_steps_per_epoch(steps_per_epoch)
        return self._initial_step // steps_per_epoch

    def remaining(self, dataset):
        """Repeats a data set, and leaves out what was trained on.

        Args:
            dataset: a `tf.data.Dataset` of batches, the same in every run,
                its shuffling seeded.

        Returns:
            An endless `tf.data.Dataset` that begins at `initial_step`.

        Example:
        ```python
        stream = ExactResume("resume").remaining(batches)
        ```
        """
        return dataset.repeat().skip(self.initial_step)

    def on_train_begin(self, logs=None):
        """Restores what was kept."""
        steps = self.params.get("steps")
        if not steps:
            raise UsageError(
                "`fit` must know how many steps an epoch has. Received: "
                f"steps_per_epoch={steps}. Pass `steps_per_epoch`."
            )
        self._check_steps_per_epoch(steps)
        self._check_executions(steps)
        self._check_ended()
        self._check_data()
        _check_built(self.model)
        self._steps_per_epoch = steps
        self._saved = self._step = self._initial_step
        with self.model.distribute_strategy.scope():
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
        if self._state:
            _restore(self._state, _variables(self.model), self.directory)
            self._state = None
        self._is_running = True

    def on_epoch_begin(self, epoch, logs=None):
        """Notes where the epoch begins."""
        if epoch != self._step // self._steps_per_epoch:
            raise UsageError(
                f"Training must go on in epoch {self._initial_step} // "
                f"{self._steps_per_epoch}. Received: initial_epoch={epoch}. "
                "Pass `initial_epoch=resume.initial_epoch(steps_per_epoch)`, "
                "or another directory to begin anew."
            )
        self._before = self._step
        self._end = (epoch + 1) * self._steps_per_epoch

    def on_train_batch_end(self, batch, logs=None):
        """Writes a file when it is time; ends a part of an epoch."""
        self._step = self._before + batch + 1
        if self._step == self._end:
            # Written after validation, which belongs to the epoch.
            is_part = self._before % self._steps_per_epoch
            if is_part and not self.model.stop_training:
                self.model.stop_training = _END_OF_EPOCH
        elif self._step - self._saved >= self.every_steps:
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        """Writes a file when it is time; lets the next epoch begin."""
        if self.model.stop_training is _END_OF_EPOCH:
            self.model.stop_training = False
        if self._step - self._saved >= self.every_steps:
            self._save()

    def on_train_end(self, logs=None):
        """Writes the last file."""
        if self._step > self._saved:
            self._save()
        self._initial_step = self._step
        self._was_asked = self._is_running = False
        self._kept_steps_per_epoch = self._steps_per_epoch

    def _save(self):
        arrays = {
            "step": np.int64(self._step),
            "steps_per_epoch": np.int64(self._steps_per_epoch),
        }
        for number, variable in enumerate(_variables(self.model)):
            arrays[f"variable_{number}"] = _plain(variable)
        write_step(self.directory, self._step, arrays)
        self._saved = self._step

    def _check_steps_per_epoch(self, steps):
        kept = self._kept_steps_per_epoch
        if kept not in (None, steps):
            raise UsageError(
                f"{self.directory} is of a run with {kept} steps an epoch. "
                f"Received: steps_per_epoch={steps}. Pass {kept}, or another "
                "directory to begin anew."
            )

    def _check_executions(self, steps):
        size = self.model.steps_per_execution
        if steps % size or self._initial_step % size:
            raise UsageError(
                "Steps that are executed together must not reach over the end "
                f"of an epoch. Received: steps_per_execution={size}, "
                f"steps_per_epoch={steps}, {self._initial_step} steps taken. "
                "Compile with a `steps_per_execution` that divides both."
            )

    def _check_ended(self):
        if self._is_running:
            raise UsageError(
                "An interrupted run goes on from its files. Received: an "
                "`ExactResume` whose last `fit` did not end. Make a new "
                "one, and its data."
            )

    def _check_data(self):
        if self._initial_step and not self._was_asked:
            raise UsageError(
                f"The data must go on after {self._initial_step} steps. "
                "Received: data made without asking for them. Pass `fit` "
                "`resume.remaining(dataset)`, or a stream that begins at "
                "`resume.initial_step`."
            )


def _variables(model) -> list:
    # With those of metrics left out: some are made in the first step only.
    shared = [*model.variables, *model.optimizer.variables]
    strategy = model.distribute_strategy
    if strategy.num_replicas_in_sync == 1:
        return shared
    # Each replica has moving averages of its own, of what it has seen.
    own = [
        of_replica
        for layer in model._flatten_layers()
        for variable in layer._non_trainable_variables
        for of_replica in strategy.experimental_local_results(variable.value)
    ]
    return shared + own


def _plain(variable) -> np.ndarray:
    """The value, with bfloat16, which NumPy's files cannot hold, as bits."""
    value = np.asarray(variable.numpy())
    return value.view(np.uint16) if value.dtype == "bfloat16" else value


def _restore(state, variables, directory) -> None:
    """Checks every variable before it assigns the first."""
    kept = [state[f"variable_{n}"] for n in range(len(state) - 2)]
    if len(kept) != len(variables):
        raise UsageError(
            f"{directory} is of another model or optimizer, or of another "
            f"number of replicas. Received: {len(variables)} variables where "
            f"it has {len(kept)}. Build the same ones, or pass another "
            "directory to begin anew."
        )
    for variable, value in zip(variables, kept):
        expected = _plain(variable)
        if (expected.shape, expected.dtype) != (value.shape, value.dtype):
            raise UsageError(
                f"{directory} is of another model or optimizer. Received: "
                f"{getattr(variable, 'path', variable.name)} of shape "
                f"{expected.shape} and "
                f"{expected.dtype} where it has {value.shape} and "
                f"{value.dtype}. Build the same ones, or pass another "
                "directory to begin anew."
            )
    for variable, value in zip(variables, kept):
        variable.assign(value.view(np.asarray(variable.numpy()).dtype))


def _check_built(model) -> None:
    if not model.built:
        raise UsageError(
            "The model must be built before `fit`. Received: model="
            f"{model.name!r}. Give it an Input, or call it on a batch."
        )
