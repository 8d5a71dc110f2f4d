"""What pruning asks of a model that is trained, and what it may find there."""

import keras

from kbig.compression.pruning.masked import release_weights
from kbig.compression.pruning.movement import release_gradients
from kbig.errors import UsageError


def optimizer_of(model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer that takes the steps, behind the scaling of the loss.

    Args:
        model: that `fit` trains.

    Raises:
        UsageError: there is none, as where a `train_step` has its own.
    """
    optimizer = getattr(model, "optimizer", None)
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UsageError(
            "Zeros are held by the optimizer of the model. Received: "
            f"{model.name!r} with optimizer={optimizer!r}. Compile it with "
            "the one that trains the weights to prune, or fit the part of it "
            "that is to be pruned by itself."
        )
    return getattr(optimizer, "inner_optimizer", optimizer)


def clear(model: keras.Model, owner: keras.callbacks.Callback) -> None:
    """Takes off what a run has left that was interrupted by an error.

    Args:
        model: that `fit` trains.
        owner: the callback that begins. What callbacks of the same run hold
            stays.
    """
    release_weights(model, owner)
    release_gradients(optimizer_of(model), owner)
