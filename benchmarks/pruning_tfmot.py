"""TFMOT's side of pruning.py: prints the accuracy of one training.

python benchmarks/pruning_tfmot.py SHARED.npz SPARSITY BEGIN END FREQUENCY
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras as keras

# Name, channels, size and strides of each convolution.
LAYERS = (
    ("stem", 32, 3, 1),
    ("stage_0_shortcut", 32, 1, 2),
    ("stage_0_first", 32, 3, 2),
    ("stage_0_second", 32, 3, 1),
    ("stage_1_shortcut", 64, 1, 2),
    ("stage_1_first", 64, 3, 2),
    ("stage_1_second", 64, 3, 1),
)


def residual_cnn():
    """`kbig.models.cnn((28, 28, 1), 10, block="residual")` in Keras 2."""

    def convolution(x, name, relu=True):
        width, size, strides = sizes[name]
        x = keras.layers.Conv2D(
            width, size, strides, "same", use_bias=False, name=name
        )(x)
        norm = keras.layers.BatchNormalization(
            momentum=0.9, name=f"{name}_norm"
        )
        x = norm(x)
        return keras.layers.ReLU()(x) if relu else x

    sizes = {name: rest for name, *rest in LAYERS}
    images = keras.Input((28, 28, 1))
    x = convolution(images, "stem")
    for stage in ("stage_0", "stage_1"):
        shortcut = convolution(x, f"{stage}_shortcut", relu=False)
        x = convolution(x, f"{stage}_first")
        x = convolution(x, f"{stage}_second", relu=False)
        x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(10, name="logits")(x))


def fit(model, data, rate, callbacks=()):
    """Trains on the images in the order that both sides have."""
    model.compile(
        keras.optimizers.Adam(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    order = data["order"]
    rows = np.concatenate([x[: len(x) // 64 * 64] for x in order])
    x, y = tf.constant(data["x"]), tf.constant(data["y"])
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(64)
    model.fit(
        batches.map(lambda i: (tf.gather(x, i), tf.gather(y, i))),
        epochs=len(order),
        steps_per_epoch=len(order[0]) // 64,
        verbose=0,
        callbacks=list(callbacks),
    )


def main():
    shared, *numbers = sys.argv[1:]
    sparsity, begin, end, frequency = map(float, numbers)
    with np.load(shared) as data:
        model = residual_cnn()
        for weight in model.weights:
            weight.assign(data[weight.name.removesuffix(":0")])
        callbacks = []
        if sparsity:
            import tensorflow_model_optimization as tfmot

            schedule = tfmot.sparsity.keras.PolynomialDecay(
                0.0,
                sparsity,
                int(begin),
                int(end),
                frequency=int(frequency),
            )
            model = tfmot.sparsity.keras.prune_low_magnitude(model, schedule)
            callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
        fit(model, data, 1e-3, callbacks)
        logits = model.predict(data["test_x"], batch_size=256, verbose=0)
        print(float((logits.argmax(-1) == data["test_y"]).mean()))


if __name__ == "__main__":
    main()
