"""Zeros that stay zeros while a model is trained on."""

import keras

from kbig.compression.pruning.masked import MaskedWeights
from kbig.compression.pruning.targets import find


class KeepZeros(keras.callbacks.Callback):
    """Keeps the weights of a pruned model at zero.

    For training after pruning: on other data, for integers, or with another
    teacher. Kernels without a zero are trained as ever.

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
        kernels, _ = find(self.model)
        kernels = [k for k in kernels if not k.variable.numpy().all()]
        with self.model.distribute_strategy.scope():
            self._weights = MaskedWeights(kernels, self)
        self._weights.check_free()
        for number in range(len(kernels)):
            value = self._weights.value(number)
            self._weights.assign(number, value != 0, value)
        self._weights.attach()
        # What was traced before knows of no constraint.
        self.model.make_train_function(force=True)

    def on_train_end(self, logs=None):
        """Lets go of them."""
        self._weights.hold(self.model.optimizer)
        self._weights.detach()
