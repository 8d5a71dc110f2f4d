"""Zeros that stay zeros while a model is trained on."""

import keras
import numpy as np

from kbig.compression.pruning.masked import MaskedWeights
from kbig.compression.pruning.masks import is_sparse
from kbig.compression.pruning.subject import clear
from kbig.compression.pruning.subject import optimizer_of
from kbig.compression.pruning.targets import find


class KeepZeros(keras.callbacks.Callback):
    """Keeps the weights of a pruned model at zero.

    For training after pruning: on other data, for integers, or with another
    teacher. Kernels and embeddings without a zero are trained as ever, and so
    are those of zeros only: that is a start, not what pruning leaves.

    Raises:
        UsageError: in `fit`, before the first step: the model is not built or
            has no optimizer, or a Pruner prunes the same weights.

    Example:
    ```python
    quantized = kbig.compression.quantize_aware(pruned, x[:100])
    quantized.compile("adam", loss)
    quantized.fit(x, y, callbacks=[kbig.compression.KeepZeros()])
    ```
    """

    def __init__(self):
        super().__init__()
        self._weights = None

    def on_train_begin(self, logs=None):
        """Notes the zeros."""
        self.detach()
        optimizer_of(self.model)
        kernels, _ = find(self.model, embeddings=True)
        kernels = [k for k in kernels if _has_zeros(k.variable.numpy())]
        with self.model.distribute_strategy.scope():
            weights = MaskedWeights(kernels, self)
        weights.check_free()
        clear(self.model, self)
        for number in range(len(kernels)):
            value = weights.value(number)
            weights.assign(number, value != 0, value)
        weights.attach()
        self._weights = weights
        # What was traced before knows of no constraint.
        self.model.make_train_function(force=True)

    def on_train_end(self, logs=None):
        """Lets go of them."""
        self._weights.hold(self.model.optimizer)
        self.detach()

    def detach(self) -> None:
        """Lets go of a model, whose zeros then are weights like others.

        A run that ends does so by itself. After one that was interrupted by
        an error, zeros are held until this is called, or until the next run
        with a KeepZeros or a Pruner begins.

        Example:
        ```python
        try:
            model.fit(x, y, callbacks=[keep_zeros])
        except KeyboardInterrupt:
            keep_zeros.detach()
        ```
        """
        if self._weights is not None:
            self._weights.detach()
            # What was traced holds them, too.
            self.model.train_function = None
        self._weights = None


def is_pruned(model: keras.Model) -> bool:
    """Tells whether a model has kernels with zeros to keep.

    Args:
        model: a built one.

    Returns:
        Whether a tenth of one of them at least is zero.
    """
    kernels, _ = find(model)
    return any(is_sparse(np.asarray(k.variable)) for k in kernels)


def _has_zeros(value) -> bool:
    return bool(value.any()) and not value.all()
