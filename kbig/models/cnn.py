"""Small convolutional networks for images."""

import keras

from kbig.models.arguments import check_choice
from kbig.models.arguments import check_each_positive
from kbig.models.arguments import check_positive
from kbig.models.arguments import check_rate
from kbig.models.arguments import check_shape

# Keras's default of 0.99 lags for hundreds of steps: too slow for small data.
BATCH_NORM_MOMENTUM = 0.9


def cnn(
    input_shape: tuple[int | None, int | None, int],
    num_classes: int,
    filters: tuple[int, ...] = (32, 64),
    block: str = "plain",
    dropout: float = 0.0,
    rescale: float | None = None,
) -> keras.Model:
    """Builds an image classifier of convolutional stages.

    Every convolution is followed by batch normalization and ReLU, the order
    that a TFLite converter folds into one operation. The first convolution
    has no bias, so its normalization takes out the scale of the pixels: the
    same model trains alike on uint8 images of 0..255 and on floats of 0..1.
    What it was trained on is what it must be given afterwards.

    Args:
        input_shape: `(height, width, channels)`; the first two may be None.
        num_classes: number of logits.
        filters: channels of each stage; a stage halves height and width.
        block: "plain" is two convolutions and max pooling, "residual" two
            convolutions with a shortcut, "depthwise" a depthwise and a
            pointwise convolution.
        dropout: fraction of the pooled features to drop in training.
        rescale: what to multiply the pixels with first, such as `1 / 255`;
            None leaves them alone.

    Returns:
        A `keras.Model` from `(batch, height, width, channels)` to float32
        logits `(batch, num_classes)`.

    Raises:
        UsageError: when an argument is out of its range.

    Example:
    ```python
    model = cnn((28, 28, 1), num_classes=10, block="residual")
    logits = model(np.zeros((2, 28, 28, 1), "uint8"))  # (2, 10)
    ```

    Reference:
     - [He et al., 2016](https://arxiv.org/abs/1512.03385), residual blocks
     - [Howard et al., 2017](https://arxiv.org/abs/1704.04861), depthwise
    """
    check_shape("input_shape", input_shape, rank=3)
    check_positive("num_classes", num_classes)
    check_each_positive("filters", filters)
    check_choice("block", block, _STAGES)
    check_rate("dropout", dropout)

    images = keras.Input(input_shape, name="images")
    x = images
    if rescale is not None:
        x = keras.layers.Rescaling(rescale, name="rescaling")(x)
    if block != "plain":
        x = _convolution(x, filters[0], 3, 1, name="stem")
    for index, width in enumerate(filters):
        x = _STAGES[block](x, width, name=f"stage_{index}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="cnn")


def _plain_stage(x, width: int, name: str):
    x = _convolution(x, width, 3, 1, name=f"{name}_first")
    x = _convolution(x, width, 3, 1, name=f"{name}_second")
    pool = keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")
    return pool(x)


def _residual_stage(x, width: int, name: str):
    shortcut = _convolution(x, width, 1, 2, f"{name}_shortcut", relu=False)
    x = _convolution(x, width, 3, 2, name=f"{name}_first")
    x = _convolution(x, width, 3, 1, name=f"{name}_second", relu=False)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _depthwise_stage(x, width: int, name: str):
    depthwise = keras.layers.DepthwiseConv2D(
        3,
        strides=2,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )
    x = _normalized(depthwise(x), name=f"{name}_depthwise")
    return _convolution(x, width, 1, 1, name=f"{name}_pointwise")


def _convolution(x, width, size, strides, name, relu=True):
    convolution = keras.layers.Conv2D(
        width,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )
    return _normalized(convolution(x), name, relu)


def _normalized(x, name, relu=True):
    x = keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, name=f"{name}_norm"
    )(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


_STAGES = {
    "plain": _plain_stage,
    "residual": _residual_stage,
    "depthwise": _depthwise_stage,
}
