"""What a SavedModel does about inputs that have no right answer.

A negative id is a row from the end of an embedding to Keras. One beyond the
end is an error to TensorFlow on a CPU, zeros on a GPU, any row under XLA. And
the fused kernels of a CPU make 0 of NaN where a ReLU follows.
"""

from collections.abc import Callable
from collections.abc import Mapping

import keras
import tensorflow as tf


def vocabulary_sizes(model: keras.Model) -> dict[str, int]:
    """Tells how many ids the inputs of a model can have.

    Args:
        model: a built model.

    Returns:
        By the name of the input, of those that an embedding looks up as they
        are; not within a model that is a layer.

    Example:
    ```python
    vocabulary_sizes(kbig.models.rnn(vocabulary_size=9))  # {"token_ids": 9}
    ```
    """
    sizes = {}
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.layers.Embedding):
            continue
        for node in layer._inbound_nodes:
            for x in model.inputs:
                if any(x is given for given in node.input_tensors):
                    least = sizes.get(x.name, layer.input_dim)
                    sizes[x.name] = min(least, layer.input_dim)
    return sizes


def with_checked_ids(
    function: Callable[..., dict], model: keras.Model, axes: int = 1
) -> Callable[..., dict]:
    """Lets a graph refuse ids out of range, and rows that do not match.

    Without, an input of one row or step would be repeated for all of them.
    XLA leaves such checks out.

    Args:
        function: takes the inputs of the model by name.
        model: whose embeddings know the ids.
        axes: how many of the first axes all inputs share.

    Returns:
        A function of the same inputs.
    """
    sizes = vocabulary_sizes(model)

    def checked(**inputs):
        (first, x), *others = inputs.items()
        checks = [_agree(first, x, name, y, axes) for name, y in others]
        checks += [_in_range(name, inputs[name], sizes[name]) for name in sizes]
        with tf.control_dependencies(checks):
            inputs = {name: tf.identity(y) for name, y in inputs.items()}
        return function(**inputs)

    return checked


def nan_where_nan(
    inputs: Mapping[str, tf.Tensor], outputs: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Makes NaN of what a model gives for a row with NaN in it.

    Args:
        inputs: tensors by name, `(batch, ...)`.
        outputs: of the model, `(batch, ...)`.

    Returns:
        The outputs, those of other rows as they were.
    """
    rows = [_has_nan(x) for x in inputs.values() if x.dtype.is_floating]
    if not rows:
        return dict(outputs)
    unknown = tf.reduce_any(tf.stack(rows), axis=0)
    return {name: _blotted(unknown, y) for name, y in outputs.items()}


def _has_nan(x):
    return tf.reduce_any(tf.math.is_nan(x), axis=tf.range(1, tf.rank(x)))


def _blotted(rows, y):
    if not y.dtype.is_floating:
        return y
    rows = tf.reshape(rows, [-1] + [1] * (len(y.shape) - 1))
    return tf.where(rows, tf.constant(float("nan"), y.dtype), y)


def _agree(first, x, second, y, axes):
    sides = tf.shape(x)[:axes], tf.shape(y)[:axes]
    rows = "rows" if axes == 1 else "rows and steps"
    message = f"{first} and {second} must have as many {rows}"
    return _assert(tf.reduce_all(tf.equal(*sides)), message, *sides)


def _in_range(name, ids, size):
    # Of no ids at all the least is large, and the largest small.
    least, most = tf.reduce_min(ids), tf.reduce_max(ids)
    fits = tf.logical_and(least >= 0, most < tf.cast(size, ids.dtype))
    fits = tf.logical_or(fits, tf.equal(tf.size(ids), 0))
    message = f"{name} must be from 0 to {size - 1}"
    return _assert(fits, message, least, most)


def _assert(condition, message, *received):
    return tf.debugging.Assert(
        condition, [f"{message}. Received:", *received], summarize=4
    )
