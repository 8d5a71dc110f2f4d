"""The multilayer perceptron."""

import keras

from kbig.models.arguments import check_each_positive
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate


def mlp(
    input_shape: tuple[int, ...],
    num_classes: int,
    hidden_dims: tuple[int, ...] = (128,),
    dropout: float = 0.0,
    rescale: float | None = None,
) -> keras.Model:
    """Builds a classifier of fully connected ReLU layers.

    Args:
        input_shape: shape of one example; more than one dimension is
            flattened.
        num_classes: number of logits.
        hidden_dims: width of each hidden layer.
        dropout: fraction of each hidden layer to drop in training.
        rescale: what to multiply the input with first; pass `1 / 255` for
            uint8 images, since nothing else here brings 0..255 to unit scale.
            None leaves the input alone.

    Returns:
        A `keras.Model` from `(batch, *input_shape)` to float32 logits
        `(batch, num_classes)`.

    Raises:
        UsageError: when an argument is out of its range.

    Example:
    ```python
    model = mlp((28, 28), num_classes=10, rescale=1 / 255)
    logits = model(np.zeros((2, 28, 28), "uint8"))  # (2, 10)
    ```
    """
    check_each_positive("input_shape", input_shape)
    check_positive("num_classes", num_classes)
    check_each_positive("hidden_dims", hidden_dims)
    check_rate("dropout", dropout)

    inputs = keras.Input(input_shape, name="inputs")
    x = inputs
    if rescale is not None:
        x = keras.layers.Rescaling(rescale, name="rescaling")(x)
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    for index, width in enumerate(hidden_dims):
        x = keras.layers.Dense(
            width,
            activation="relu",
            kernel_initializer="he_normal",
            name=f"hidden_{index}",
        )(x)
        x = keras.layers.Dropout(dropout, name=f"dropout_{index}")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="mlp")
