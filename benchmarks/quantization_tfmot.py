"""TFMOT's side of quantization.py: writes one int8 file.

python benchmarks/quantization_tfmot.py SHARED.npz LEARNING_RATE FILE
"""

import os
import pathlib
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from pruning_tfmot import fit
from pruning_tfmot import residual_cnn


def main():
    shared, rate, file = sys.argv[1:]
    with np.load(shared) as data:
        model = residual_cnn()
        for weight in model.weights:
            weight.assign(data[weight.name.removesuffix(":0")])
        model = tfmot.quantization.keras.quantize_model(model)
        fit(model, data, float(rate))
    fixed = keras.Input(batch_shape=(1, 28, 28, 1))
    converter = tf.lite.TFLiteConverter.from_keras_model(
        keras.Model(fixed, model(fixed))
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    pathlib.Path(file).write_bytes(converter.convert())


if __name__ == "__main__":
    main()
