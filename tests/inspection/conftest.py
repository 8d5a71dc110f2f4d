"""One small model in every format that can be inspected."""

import keras
import numpy as np
import onnx
import pytest

from kbig.export.convert_litert import convert
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures

ROWS = np.linspace(-1, 1.55, 360, dtype="float32").reshape(10, 6, 6, 1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("m")
    model = small_cnn()
    model.save(folder / "m.keras")
    write_saved_model(model_signatures(model), folder / "1")
    for mode in ("float16", "dynamic"):
        content = convert(str(folder / "1"), mode)
        (folder / f"m-{mode}.tflite").write_bytes(content)
    np.savez(folder / "rows.npz", images=ROWS)
    content = convert(str(folder / "1"), "int8_io", str(folder / "rows.npz"))
    (folder / "m-int8.tflite").write_bytes(content)
    (folder / "m.onnx").write_bytes(linear().SerializeToString())
    return folder


def small_cnn():
    """No number is zero: the converter leaves zeros out."""
    inputs = keras.Input((6, 6, 1), name="images")
    layers = keras.layers
    x = layers.Conv2D(4, 3, activation="relu", name="stem")(inputs)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x))
    generator = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(generator.uniform(0.1, 1, weight.shape))
    return model


def linear():
    """A product and a ReLU, as ONNX."""
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", floats, ["rows", 4])],
        [helper.make_tensor_value_info("y", floats, ["rows", 3])],
        [onnx.numpy_helper.from_array(np.ones((4, 3), "float32"), "w")],
    )
    return helper.make_model(graph)
