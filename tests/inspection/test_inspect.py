"""What is read from whole files, beside what went into them."""

import collections
import json
import shutil
import zipfile

import keras
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter

from kbig import export
from kbig import models
from kbig.errors import DataError

# kernels and biases of (6, 6, 1) -> 4 filters -> 3 classes.
PARAMETERS = 9 * 4 + 4 + 4 * 3 + 3


def test_a_litert_file(folder):
    report = export.inspect(folder / "m-float16.tflite")
    assert report.format == "LiteRT"
    assert report.bytes == (folder / "m-float16.tflite").stat().st_size
    (signature,) = report.signatures
    assert signature.name == "serving_default"
    (given,), (taken,) = signature.inputs, signature.outputs
    assert (given.name, given.dtype) == ("images", "float32")
    # The batch is free.
    assert (given.shape, taken.shape) == ((None, 6, 6, 1), (None, 3))
    halves = [x for x in report.stored if x.dtype == "float16"]
    assert sum(x.bytes for x in halves) == 2 * PARAMETERS
    counts = {x.name: x.count for x in report.operations}
    assert counts["CONV_2D"] == counts["FULLY_CONNECTED"] == 1
    assert counts["DEQUANTIZE"] == 4


@pytest.mark.parametrize("mode", ["float16", "dynamic", "int8"])
def test_xnnpack_takes_what_the_table_says(mode, folder):
    path = folder / f"m-{mode}.tflite"
    expected = collections.Counter()
    for operation in export.inspect(path).operations:
        if operation.xnnpack:
            expected[operation.name] += operation.count
    assert taken_by_delegates(path) == expected


def taken_by_delegates(path):
    """What lies between the inputs and the outputs of delegates."""
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    operations = interpreter._get_ops_details()
    own = [x for x in operations if x["op_name"] != "DELEGATE"]
    makers = {number: x for x in own for number in x["outputs"]}
    found = {}
    for delegate in operations[len(own) :]:
        waiting = [*delegate["outputs"]]
        while waiting:
            maker = makers.get(waiting.pop())
            if maker is not None:
                found[maker["index"]] = maker["op_name"]
                waiting += {*maker["inputs"]} - {*delegate["inputs"]}
    return collections.Counter(found.values())


def test_what_is_appended_to_a_litert_file(folder, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes((folder / "m-dynamic.tflite").read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "animal\nplant\nact\n")
    (file,) = export.inspect(path).files
    assert (file.name, file.bytes) == ("labels.txt", 17)


@pytest.mark.ci
def test_a_saved_model_and_its_versions(folder):
    report = export.inspect(folder)
    assert report.path == str(folder / "1")
    assert "versions 1." in report.notes[0]
    (signature,) = report.signatures
    assert signature.inputs[0].shape == (None, 6, 6, 1)
    stored = {x.name: x for x in report.stored}
    assert stored["stem/kernel"].bytes == 4 * 9 * 4
    assert stored["logits/bias"].shape == (3,)


def test_a_keras_file(folder):
    report = export.inspect(folder / "m.keras")
    (signature,) = report.signatures
    assert signature.inputs[0].shape == (None, 6, 6, 1)
    assert signature.outputs[0].name == "logits"
    counts = {x.name: x.count for x in report.operations}
    assert counts["Conv2D"] == counts["Dense"] == 1
    assert {x.name: x.shape for x in report.stored}["stem/0"] == (3, 3, 1, 4)
    assert sum(x.bytes for x in report.stored) == 4 * PARAMETERS
    assert report.metadata["keras_version"] == keras.__version__


def test_a_model_within_a_model(tmp_path):
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3)], name="decoder"
    )
    inputs = keras.Input((3,))
    model = keras.Model(inputs, decoder(keras.layers.Dense(2)(inputs)))
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    model.compile("sgd", "mse", metrics=[accuracy])
    model.save(tmp_path / "m.keras")
    report = export.inspect(tmp_path / "m.keras")
    (signature,) = report.signatures
    assert [x.name for x in signature.outputs] == ["decoder"]
    counts = {x.name: x.count for x in report.operations}
    assert counts["Dense"] == 2
    assert "SparseCategoricalAccuracy" not in counts


def test_a_truncated_weight_of_64_bits_is_found(folder, tmp_path):
    model = onnx.load(folder / "m.onnx")
    ids = onnx.TensorProto(name="ids", data_type=onnx.TensorProto.INT64)
    ids.dims[:], ids.raw_data = [100], b"12345678"
    model.graph.initializer.append(ids)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(DataError, match="ids"):
        export.inspect(tmp_path / "m.onnx")


@pytest.mark.ci
def test_versions_with_leading_zeros(folder, tmp_path):
    (source,) = folder.glob("*/saved_model.pb")
    shutil.copytree(source.parent, tmp_path / "0012")
    assert export.inspect(tmp_path).path == str(tmp_path / "0012")


def test_a_quantized_input_has_its_grid(folder):
    (signature,) = export.inspect(folder / "m-int8.tflite").signatures
    (given,) = signature.inputs
    assert given.dtype == "int8"
    # 255 steps from -1 to 1.55; -1 is the integer -128.
    assert given.scale == pytest.approx(0.01, rel=1e-3)
    assert given.zero_point == -28


def test_classes_of_a_keras_file_are_named_and_not_made(folder, tmp_path):
    path = tmp_path / "m.keras"
    with (
        zipfile.ZipFile(folder / "m.keras") as source,
        zipfile.ZipFile(path, "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                layer = config["config"]["layers"][2]
                layer |= {
                    "module": "nowhere.to_be_found",
                    "class_name": "Evil",
                    "registered_name": "Evil",
                }
                content = json.dumps(config)
            target.writestr(name, content)
    (note,) = export.inspect(path).notes
    assert "classes at hand: Evil." in note


def test_an_onnx_file_whose_weights_lie_elsewhere(folder, tmp_path):
    model = onnx.load(folder / "m.onnx")
    (kernel,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(kernel, "w.bin", length=48)
    kernel.ClearField("raw_data")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    report = export.inspect(path)  # There is no w.bin.
    (signature,) = report.signatures
    assert [x.name for x in signature.inputs] == ["x"]
    assert signature.inputs[0].shape == (None, 4)
    dtypes = {x.name: x.dtypes for x in report.operations}
    assert dtypes == {"MatMul": "float32", "Relu": "float32"}
    assert report.files[0].name == "w.bin"
    assert report.stored[0].bytes == report.files[0].bytes == 48


def test_fifteen_arrays_have_rows_and_the_others_one(tmp_path):
    path = tmp_path / "m.keras"
    models.mlp((4,), 2, (8,) * 9).save(path)
    report = export.inspect(path)
    shown = report.tables()[-1].rows
    assert [row[0] for row in shown[-2:]] == ["5 more", "all"]
    assert len(shown) == 17 and len(report.stored) == 20
    assert shown[-1][-1] == sum(x.bytes for x in report.stored)
