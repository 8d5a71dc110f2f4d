"""Pruning while a model is fitted, as a callback."""

import os
from collections.abc import Mapping
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from kbig.compression.pruning.masked import MaskedWeights
from kbig.compression.pruning.movement import Movement
from kbig.compression.pruning.plan import Sparsity
from kbig.compression.pruning.plan import request
from kbig.compression.pruning.report import PruningReport
from kbig.compression.pruning.report import report_of
from kbig.compression.pruning.standing import Run
from kbig.compression.pruning.standing import standing
from kbig.compression.pruning.standing import warn_of_end
from kbig.compression.pruning.subject import clear
from kbig.compression.pruning.subject import optimizer_of
from kbig.errors import UsageError


class Pruner(keras.callbacks.Callback):
    """Prunes any Keras model while `fit` trains it.

    Weights are removed step by step, and held at zero inside the training
    step. When `fit` ends the model is what it was, with zeros in it: there is
    nothing to strip, and it is saved and loaded as ever.

    Kernels of Dense, EinsumDense, convolutional, separable and recurrent
    layers are pruned, in nested models and in layers within layers, such as
    attention. Biases, normalization, depthwise kernels and what is not
    trained are left alone. Zeros that a kernel has at the start stay, unless
    they are more than it shall have: a run that was interrupted, saved and
    loaded goes on with what it had removed.

    Place it after callbacks that put weights back, such as `EarlyStopping`
    with `restore_best_weights`: the best of all epochs may be one from before
    anything was removed, and this warns of it. What is put back after it, only
    the report can tell.

    Sparsity is exact after each update of the schedule, and at the end of the
    run. By "movement" single weights go and return between two updates, too,
    as their scores say, and sparsity is only near what was asked for.

    Args:
        sparsity: the share of each kernel to remove, in [0, 1), spread over
            the middle of the run, so that three tenths of it are left to
            recover in; or a schedule: TFMOT's `PolynomialDecay` and
            `ConstantSparsity`, or `PolynomialSparsity`, which count steps of
            the optimizer; or a mapping of either by name pattern, of which
            the first that matches counts. None with an "m:n" pattern, which
            says it.
        pattern: "unstructured"; "2:4" and the like, so many zeros in every so
            many neighbouring inputs of an output; `(rows, columns)` or "4x1"
            and the like, blocks of the kernel as a matrix of inputs, among
            them the positions of a convolution, and outputs.
        scope: "layer" prunes every kernel to the sparsity; "global" ranks the
            weights of all together.
        layers: name patterns, as "encoder_*", of layers or of parts of their
            paths; None takes all.
        embeddings: whether embeddings are pruned, too.
        method: "magnitude" removes the smallest weights; "movement" those
            that training moves towards zero, for fine-tuning a pretrained
            model to a high sparsity.

    Raises:
        UsageError: an argument is out of its range; in `fit`, before the
            first step and with the model as it was: the model is not built
            (`fit` builds it only later) or has no optimizer, a pattern
            matches nothing, a kernel cannot hold the pattern, a schedule ends
            after the run or ended before it, another Pruner prunes the same
            weights, or a weight is not finite.

    Example:
    ```python
    pruner = Pruner(0.8)
    model.fit(x, y, epochs=10, callbacks=[pruner])
    print(pruner.report())
    ```

    Reference:
     - [Zhu and Gupta, 2017](https://arxiv.org/abs/1710.01878)
     - [Sanh et al., 2020](https://arxiv.org/abs/2005.07683)
    """

    def __init__(
        self,
        sparsity: Sparsity | Mapping[str, Sparsity] | None = None,
        pattern: str | tuple[int, int] = "unstructured",
        *,
        scope: str = "layer",
        layers: str | Sequence[str] | None = None,
        embeddings: bool = False,
        method: str = "magnitude",
    ):
        super().__init__()
        self._request = request(sparsity, pattern, scope, layers, embeddings)
        if method not in ("magnitude", "movement"):
            raise UsageError(
                'Weights are chosen by "magnitude" or "movement". Received: '
                f"method={method!r}. Pass one of them."
            )
        self.method = method
        self._weights = self._movement = self._loaded = None
        self._is_running = False

    def report(self) -> PruningReport:
        """Looks at the weights as they are now.

        Returns:
            By weight: shape, pattern, target, sparsity, and bytes; and which
            are below their target, whatever came after the Pruner.

        Raises:
            UsageError: `fit` has not begun yet.

        Example:
        ```python
        print(pruner.report())
        ```
        """
        self._check_has_begun("A report")
        return report_of(
            self._request, self._kernels, self._targets, self._left_alone
        )

    def save_state(self, path: str | os.PathLike) -> None:
        """Writes what movement pruning must know to go on in another process.

        Pruning by magnitude goes on from the zeros of the saved model alone.

        Args:
            path: an .npz file to write or replace.

        Raises:
            UsageError: `fit` has not begun yet, or the method is "magnitude".

        Example:
        ```python
        model.save("half.keras")
        pruner.save_state("half.npz")
        ```
        """
        self._check_has_scores()
        self._check_has_begun("Scores")
        self._movement.save(path)

    def load_state(self, path: str | os.PathLike) -> None:
        """Reads what `save_state` wrote; `fit` then goes on from it.

        Args:
            path: the file. Whether it is of this model shows in `fit`.

        Raises:
            UsageError: the method is "magnitude".

        Example:
        ```python
        pruner = Pruner(0.9, method="movement")
        pruner.load_state("half.npz")
        ```
        """
        self._check_has_scores()
        with np.load(path, allow_pickle=False) as arrays:
            self._loaded = dict(arrays)

    def on_train_begin(self, logs=None):
        """Forgets a run that was interrupted."""
        self.detach()

    def on_epoch_begin(self, epoch, logs=None):
        """Begins with the first epoch of a run."""
        # Not before: callbacks that restore a run do so as it begins.
        if not self._is_running:
            self._begin(epoch)
        self._before = self._step()

    def on_train_batch_end(self, batch, logs=None):
        """Removes weights when it is time."""
        # A step of the optimizer takes a batch at least. Only when one may be
        # due is it worth to ask the device.
        if self._due and self._before + batch + 1 >= self._due[0][0]:
            self._update()

    def on_test_begin(self, logs=None):
        """Holds the averages of the optimizer at zero, too."""
        if self._is_running:
            self._weights.hold(self.model.optimizer)

    def on_epoch_end(self, epoch, logs=None):
        """Holds the averages of the optimizer at zero, too."""
        self._weights.hold(self.model.optimizer)

    def on_train_end(self, logs=None):
        """Leaves the model as it was, but for its zeros."""
        if not self._is_running:
            return
        self._weights.hold(self.model.optimizer)
        self.detach()
        numbers = range(len(self._kernels))
        warn_of_end(
            self._step(),
            self._due[-1][0] if self._due else None,
            all(self._weights.is_held(number) for number in numbers),
        )

    def detach(self) -> None:
        """Lets go of a model, whose zeros then are weights like others.

        A run that ends does so by itself. After one that was interrupted by
        an error, weights are held at zero until this is called, or until the
        next run with a Pruner begins.

        Example:
        ```python
        try:
            model.fit(x, y, callbacks=[pruner])
        except KeyboardInterrupt:
            pruner.detach()
        ```
        """
        if self._is_running:
            self._weights.detach()
            if self._movement is not None:
                self._movement.detach()
            self.model.train_function = None
        self._is_running = False

    def _begin(self, epoch: int) -> None:
        """Checks everything, then makes the masks part of the step."""
        optimizer = optimizer_of(self.model)
        kernels, sparsities, left_alone = self._request.choose(self.model)
        run = Run.of(self.params, epoch, optimizer)
        with self.model.distribute_strategy.scope():
            weights = MaskedWeights(kernels, self)
            movement = None
            if self.method == "movement":
                movement = Movement(kernels, weights.masks, self, self._loaded)
                movement.check_free(optimizer)
        weights.check_free()
        magnitudes = {n: weights.magnitude(n) for n in range(len(kernels))}
        known = None
        if self._loaded is not None:
            known = movement.loaded_masks(magnitudes)
        stand = standing(
            self._request, kernels, sparsities, magnitudes, run, known
        )
        if movement is not None and known is None:
            stand.check_is_new(run)
            movement.close(stand.masks)
        self._kernels, self._left_alone = kernels, left_alone
        self._weights, self._movement = weights, movement
        self._due, self._targets = stand.due, stand.targets
        if known is not None:
            self._due = [d for d in stand.due if d[0] > movement.updated]
        self._batches = run.batches
        self._loaded = None
        clear(self.model, self)
        for number, mask in stand.masks.items():
            weights.assign(number, mask, weights.value(number))
        weights.attach()
        if movement is not None:
            movement.attach(optimizer)
        # Steps that were traced before know of no constraint.
        self.model.make_train_function(force=True)
        self._is_running = True
        self._update()

    def _update(self) -> None:
        """Does what has come due."""
        step, now = self._step(), {}
        while self._due and self._due[0][0] <= step:
            now |= self._due.pop(0)[1]
        if not now:
            return
        scores = {number: self._scores(number) for number in now}
        found = self._request.masks(self._kernels, scores, now)
        for number, mask in found.items():
            value = self._weights.value(number)
            if self._movement is None:
                mask &= self._weights.mask(number)
            else:
                mask &= self._movement.mask(number)
                value = self._movement.exchange(number, value, mask)
            self._weights.assign(number, mask, value)
        if self._movement is not None:
            self._movement.updated = step
            self._follow(step, found, scores)

    def _follow(self, step: int, masks: Mapping, scores: Mapping) -> None:
        """Spreads what the next update removes over the steps until then."""
        sparsities, steps = {}, {}
        for due, at_once in self._due if self._request.is_plain else ():
            for number in at_once.keys() & masks.keys() - steps.keys():
                sparsities[number] = at_once[number]
                steps[number] = (due - step) * self._batches
        coming = {}
        if sparsities:
            coming = self._request.masks(self._kernels, scores, sparsities)
        for number, mask in masks.items():
            if number in coming:
                self._movement.follow(
                    number,
                    scores[number],
                    mask,
                    coming[number],
                    steps[number],
                )
            else:
                self._movement.stay(number)

    def _scores(self, number: int) -> np.ndarray:
        if self._movement is None:
            return self._weights.magnitude(number)
        return self._movement.scores(number)

    def _step(self) -> int:
        return int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def _check_has_scores(self) -> None:
        if self.method != "movement":
            raise UsageError(
                "Only movement pruning has scores. Received: "
                f"method={self.method!r}. Save and load the model: its zeros "
                "are all that magnitude pruning goes on from."
            )

    def _check_has_begun(self, what: str) -> None:
        if self._weights is None:
            raise UsageError(
                f"{what} can be had once `fit` has begun. Received: a Pruner "
                "that no `fit` has called. Pass it to `fit` as a callback "
                "first."
            )
