"""Run as a script: SavedModel in, .tflite out.

A process of its own, because the converter can end it.
"""

import pathlib
import sys

import tensorflow as tf


def convert(saved_model: str, mode: str) -> bytes:
    """Converts the default signature of a SavedModel.

    Args:
        saved_model: its folder.
        mode: `float32`, `float16` or `dynamic`.

    Returns:
        The bytes of the .tflite file.
    """
    converter = tf.lite.TFLiteConverter.from_saved_model(
        saved_model, signature_keys=["serving_default"]
    )
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    # Without TensorFlow's ops the converter would not say which are missing.
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    return converter.convert()


def main() -> None:
    """Converts `argv[1]` to `argv[2]` in mode `argv[3]`."""
    saved_model, file, mode = sys.argv[1:]
    pathlib.Path(file).write_bytes(convert(saved_model, mode))


if __name__ == "__main__":
    main()
