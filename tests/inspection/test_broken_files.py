"""Files that were cut, flipped, mixed up: one sentence, and no crash."""

import importlib
import io
import json
import random
import shutil
import subprocess
import sys
import types
import zipfile

import h5py
import onnx
import pytest

from kbig import export
from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.inspection import InspectionReport
from kbig.inspection import litert
from kbig.inspection.description import BrokenFileError
from kbig.inspection.description import fields_of
from kbig.inspection.xnnpack import takes
from recipes import cli
from tests.contracts import check_printed
from tests.inspection.conftest import linear

# The function of that name hides the module.
inspection = importlib.import_module("kbig.inspection.inspect")
FILES_A_FORMAT = 75


# By the module that reads them.
WHOLE = {
    "litert": "m-int8.tflite",
    "keras_archive": "m.keras",
    "onnx_graph": "m.onnx",
    "saved_model": "1",
}


def flipped(content, draw):
    for _ in range(draw.choice((1, 4, 64))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def cut(content, draw):
    del content[draw.randrange(len(content)) :]


def blotted(content, draw):
    start = draw.randrange(len(content))
    # Zeros, what is no UTF-8, controls: DEL, ESC, and CSI of C1.
    fill = draw.choice((b"\0", b"\xff", b"\x7f", b"\x1b", b"\xc2\x9b"))
    content[start : start + 16] = fill * len(content[start : start + 16])


def shifted(content, draw):
    start = draw.randrange(len(content))
    del content[start : start + draw.randrange(1, 9)]


def noise(content, draw):
    content[8:] = draw.randbytes(len(content[8:]))


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("reader", WHOLE)
def test_whatever_is_wrong_is_said(reader, folder, tmp_path):
    draw = random.Random(reader)
    paths = []
    for number in range(FILES_A_FORMAT):
        paths.append(tmp_path / str(number))
        spoil(folder / WHOLE[reader], paths[-1], draw)
    done = subprocess.run(
        [sys.executable, "-P", inspection._WORKER, reader, *paths],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == FILES_A_FORMAT
    broken = [x["broken"] for x in answers if "broken" in x]
    assert len(broken) > FILES_A_FORMAT / 3
    assert all(text.isprintable() for text in broken)
    for answer in answers:
        if "broken" not in answer:  # What was flipped was a weight, a name.
            found = InspectionReport(path="m", bytes=1, **fields_of(answer))
            check_printed(str(found))


def spoil(source, target, draw):
    """Copies a file, or a folder of which one file suffers."""
    if source.is_dir():
        shutil.copytree(source, target)
        names = ("saved_model.pb", "variables/variables.index")
        source = target = target / draw.choice(names)
    content = bytearray(source.read_bytes())
    for spoiled in draw.choices((flipped, cut, blotted, shifted, noise), k=2):
        if content:
            spoiled(content, draw)
    target.write_bytes(content)


# Clears the screen, names the window; the same by C1.
COMMANDS = "\x1b[2J\x1b]0;mine\x07\x9b2J\x9d0;mine\x9c\x7f"


def hostile_keras(path):
    """Names of classes go into a note, those of layers into cells."""
    layer = dict.fromkeys(("module", "class_name", "registered_name"), COMMANDS)
    layer["config"] = {"name": COMMANDS, "dtype": COMMANDS}
    model = {**layer, "config": {"name": COMMANDS, "layers": [layer]}}
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file[f"layers/{COMMANDS}/vars/0"] = [1.0]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("metadata.json", json.dumps({COMMANDS: COMMANDS}))
        archive.writestr("model.weights.h5", weights.getvalue())


def hostile_onnx(path):
    """Names of other files go into a note."""
    model = linear()
    model.producer_name = model.graph.name = COMMANDS
    (weights,) = model.graph.initializer
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=COMMANDS)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    "name, write", [("m.keras", hostile_keras), ("m.onnx", hostile_onnx)]
)
def test_names_in_a_file_do_not_command_the_terminal(
    name, write, tmp_path, capsys
):
    write(tmp_path / name)
    assert cli.main(["inspect", str(tmp_path / name)]) == 0
    printed = capsys.readouterr().out
    check_printed(printed)
    assert printed.count("[2J") >= 2


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("m.tflite", b"", "m.tflite is empty"),
        ("m.keras", b"PK\x05\x06" + bytes(18), "lacks config.json"),
        ("m.onnx", b"no protocol buffer", "m.onnx cannot be read"),
        ("m.tflite", b"\x1c\0\0\0TFL3" + b"\xff" * 99, "cannot be read"),
        ("m.h5", b"\x89HDF", "ends in .tflite, .onnx, .keras or a folder"),
    ],
)
def test_what_is_no_model_is_named(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        export.inspect(path)
    assert name in str(caught.value) or str(tmp_path) in str(caught.value)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UsageError, match="Received: an empty folder"):
        export.inspect(tmp_path)
    (tmp_path / "1").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match="Received: 1, notes.txt"):
        export.inspect(tmp_path)


def test_a_file_under_the_name_of_another_kind(folder, tmp_path):
    path = tmp_path / "m.onnx"
    shutil.copy(folder / WHOLE["litert"], path)
    with pytest.raises(DataError, match="m.onnx cannot be read"):
        export.inspect(path)


@pytest.mark.parametrize(
    "script, message",
    [
        ("import time; time.sleep(60)", "not read within 0.5 s"),
        ("import os; os.kill(os.getpid(), 11)", "ended with status -11"),
    ],
)
def test_a_reader_that_hangs_or_crashes(
    script, message, folder, tmp_path, monkeypatch
):
    worker = tmp_path / "worker.py"
    worker.write_text(script)
    monkeypatch.setattr(inspection, "_WORKER", worker)
    monkeypatch.setattr(inspection, "TIME_LIMIT", 0.5)
    with pytest.raises(DataError, match=message):
        export.inspect(folder / WHOLE["litert"])


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * 10_000_000)
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", "")
    with pytest.raises(DataError, match="more than 50 times"):
        export.inspect(path)


@pytest.mark.parametrize(
    "name, inputs, outputs, constant, expected",
    [
        ("ADD", ["int8", "int8"], ["int8"], [False, False], True),
        ("ADD", ["int32", "int32"], ["int32"], [False, False], False),
        ("SOFTMAX", ["int8"], ["int8"], [False], False),
        ("CONV_2D", ["float32", "float32"], ["float32"], [False, True], True),
        ("CONV_2D", ["float32", "float32"], ["float32"], [False] * 2, False),
        ("GATHER", ["float32", "int32"], ["float32"], [True, False], False),
    ],
)
def test_what_xnnpack_takes(name, inputs, outputs, constant, expected):
    assert takes(name, inputs, outputs, constant) is expected


@pytest.mark.parametrize(
    "content, whole", [(b"0123456789", True), (b"01234", False)]
)
def test_weights_behind_a_flatbuffer_are_all_there(content, whole):
    model = litert._Model.__new__(litert._Model)
    model._content = content
    buffer = types.SimpleNamespace(Offset=lambda: 4, Size=lambda: 6)
    if whole:
        assert model._size(buffer) == 6
        assert model._data(buffer) == b"456789"
        return
    with pytest.raises(BrokenFileError, match="ends before its weights"):
        model._size(buffer)
