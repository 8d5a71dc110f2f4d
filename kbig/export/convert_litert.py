"""Run as a script: SavedModel in, .tflite out.

A process of its own, because the converter can end it.
"""

import pathlib
import sys

import numpy as np
import tensorflow as tf


def convert(
    saved_model: str,
    mode: str,
    representative: str = "",
    keys: str = "serving_default",
) -> bytes:
    """Converts signatures of a SavedModel.

    Args:
        saved_model: its folder.
        mode: `float32`, `float16`, `dynamic`, `int8`, `int16`, or `int8_io`
            for inputs and outputs of int8, too.
        representative: an .npz file of arrays by input name, `(rows, ...)`,
            from which the ranges of a float model are read for integers.
        keys: names of the signatures, separated by commas.

    Returns:
        The bytes of the .tflite file.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        saved_model, signature_keys=keys.split(",")
    )
    if mode == "int8_io":
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if representative:
        converter.representative_dataset = lambda: _rows(representative)
        converter.target_spec.supported_ops = [_integer_ops(mode)]
        return converter.convert()
    # Without TensorFlow's ops the converter would not say which are missing.
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    return converter.convert()


def _integer_ops(mode: str):
    kinds = tf.lite.OpsSet
    if mode == "int16":
        return kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    return kinds.TFLITE_BUILTINS_INT8


def _rows(file: str):
    with np.load(file) as arrays:
        samples = {name: arrays[name] for name in arrays.files}
    for i in range(len(next(iter(samples.values())))):
        rows = {name: value[i : i + 1] for name, value in samples.items()}
        yield "serving_default", rows


def main() -> None:
    """Converts `argv[1]` to `argv[2]`; the rest is what `convert` takes."""
    saved_model, file, *options = sys.argv[1:]
    pathlib.Path(file).write_bytes(convert(saved_model, *options))


if __name__ == "__main__":
    main()
