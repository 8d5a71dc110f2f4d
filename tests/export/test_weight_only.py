"""int8 weights under float arithmetic, beside what NumPy computes."""

import keras
import numpy as np
import pytest

from kbig import export
from kbig import models
from kbig.errors import GateError
from kbig.export.rounding import rounded_weight


def test_each_channel_has_a_grid():
    weight = np.array([[1.27, 0.5, 0], [-254, 127, 3]], "float32")
    rounded, scale = rounded_weight(weight, axis=0)
    assert rounded.dtype == np.int8
    np.testing.assert_array_equal(rounded, [[127, 50, 0], [-127, 64, 2]])
    np.testing.assert_allclose(scale, [0.01, 2], rtol=1e-6)
    zeros, scale = rounded_weight(np.zeros((4, 3), "float32"), axis=1)
    assert not zeros.any() and np.isfinite(scale).all()


def as_rounded(kernel, axis):
    rounded, scale = rounded_weight(kernel, axis)
    shape = [-1 if x == axis else 1 for x in range(kernel.ndim)]
    return rounded * scale.reshape(shape)


def test_it_computes_with_rounded_weights_in_float(tmp_path):
    """A depthwise kernel has its channels elsewhere than a dense one."""
    generator = np.random.default_rng(0)
    inputs = keras.Input((6, 6, 128), name="x")
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(16, name="dense")(x))
    for weight in model.weights:
        weight.assign(generator.normal(size=weight.shape))
    rows = generator.normal(size=(4, 6, 6, 128)).astype("float32")
    path = tmp_path / "m.tflite"
    report = export.litert(model, path, "int8-weights", samples=rows)
    assert report.weights == "int8"
    assert 0 < report.largest_difference < 0.02
    # In place of the model's weights, those of the file.
    depthwise, dense = (model.get_layer(x) for x in ("depthwise", "dense"))
    depthwise.kernel.assign(as_rounded(depthwise.kernel.numpy(), 2))
    dense.kernel.assign(as_rounded(dense.kernel.numpy(), 1))
    same = export.verify(model, [path], rows)
    assert same.artefacts[0].largest_difference < 1e-5
    inside = export.inspect(path)
    integers = sum(x.bytes for x in inside.stored if x.dtype == "int8")
    assert integers == 9 * 128 + 128 * 16
    found = {x.name: x.dtypes for x in inside.operations}
    assert found["DEQUANTIZE"] == "int8 → float32"
    assert found["FULLY_CONNECTED"] == found["DEPTHWISE_CONV_2D"] == "float32"


def test_a_model_without_weights_to_round_is_refused(tmp_path):
    with pytest.raises(GateError, match="less than 1,024 numbers"):
        export.litert(
            models.mlp((4,), 3), tmp_path / "m.tflite", "int8-weights"
        )
    assert [*tmp_path.iterdir()] == []
