"""Disks that fill up, or cannot be written, at each step of an export."""

import errno
import importlib
import os
import resource
import subprocess
import tempfile

import pytest

import kbig
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.errors import WriteError
from kbig.export import processes
from kbig.export import publish
from kbig.export.formats import Format
from kbig.export.staging import publish_file
from kbig.export.staging import publish_version
from kbig.export.staging import staging
from tests import disks
from tests.disks import contents
from tests.text_models import text_classifier

# Its numbers are 340 kB.
LARGE = ((64,), 10, (256, 256))


def exported(directory, shape, formats=("litert-float32",)):
    model = kbig.models.mlp(*shape)
    return kbig.export.artefacts(model, directory, formats, name="m")


@pytest.fixture
def older(tmp_path):
    """A folder with an older version and file."""
    folder = tmp_path / "models"
    exported(folder, ((4,), 2, (4,)), ("savedmodel", "litert-float32"))
    return folder


@pytest.mark.ci
@pytest.mark.usefixtures("own_processes")
def test_a_disk_that_fills_during_a_conversion_is_no_fault_of_the_model(
    tmp_path,
):
    with disks.small_disk(tmp_path, "640k"):
        exported(tmp_path, ((4,), 2, (4,)))
        before = contents(tmp_path)
        with pytest.raises(UsageError, match="No space left on device") as e:
            exported(tmp_path, LARGE)
        assert f"Nothing was left in {tmp_path}." in str(e.value)
        assert isinstance(e.value.__cause__, WriteError)
        assert str(e.value.__cause__.path).endswith("m-float32.tflite")
        assert before and contents(tmp_path) == before
        assert not list(tmp_path.glob(".part-*"))


@pytest.mark.ci
@pytest.mark.usefixtures("own_processes")
@pytest.mark.parametrize("format", ["litert-float32", "onnx-float32"])
def test_a_limit_of_the_converters_process_is_said(
    format, tmp_path, monkeypatch
):
    run, limits = subprocess.run, resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(*arguments, **options):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            return run(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    monkeypatch.setattr(processes.subprocess, "run", limited)
    with pytest.raises(UsageError, match="File too large. Nothing was left"):
        exported(tmp_path, LARGE, [format])
    assert not list(tmp_path.iterdir())


def test_a_model_that_does_not_convert_stays_a_fault_of_the_model():
    error = processes.unconverted("m", 1, "ValueError: no such op", "m.tflite")
    assert isinstance(error, GateError)


@pytest.mark.ci
def test_a_full_temporary_disk_is_not_blamed_on_the_target(
    older, tmp_path, monkeypatch
):
    before = contents(older)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    model = kbig.models.mlp((4096,), 2, (4,))
    with (
        disks.small_disk(temporary, "64k"),
        pytest.raises(UsageError, match="No space left on device") as e,
    ):
        kbig.export.artefacts(model, older, ["litert-float32"], name="m")
    assert f"Cannot write into {temporary}/kbig-" in str(e.value)
    assert contents(older) == before


def test_an_error_of_another_path_names_it(tmp_path):
    number = errno.EACCES
    with pytest.raises(UsageError) as e, staging(tmp_path / "models"):
        raise OSError(number, os.strerror(number), "/elsewhere/rows.npz")
    assert "Cannot write into /elsewhere/rows.npz: Permission" in str(e.value)


@pytest.mark.ci
def test_a_target_that_is_read_only_keeps_its_older_version(older):
    before = contents(older)
    said = "Cannot write into .*models: (Read-only file system|Permission)"
    with disks.read_only(older), pytest.raises(UsageError, match=said):
        exported(older, ((4,), 2, (8,)), ("savedmodel", "litert-float32"))
    assert len(before) > 3 and contents(older) == before


def test_a_folder_in_the_way_is_found_before_the_conversion(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "convert", None)  # It would be called.
    (tmp_path / "m-float32.tflite").mkdir()
    with pytest.raises(UsageError, match="m-float32.tflite. Move it away"):
        exported(tmp_path, ((4,), 2, (4,)), ("savedmodel", "litert-float32"))
    assert [x.name for x in tmp_path.iterdir()] == ["m-float32.tflite"]


def test_files_come_before_versions_and_a_failure_says_what_came(tmp_path):
    def failing(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    formats = [
        Format(None, failing),
        Format(None, publish_file, "-a.tflite"),
    ]
    said = rf"Published before that: {tmp_path}/m-a\.tflite\."
    with pytest.raises(UsageError, match=said), staging(tmp_path) as aside:
        staged = [aside / "saved_model", aside / "m-a.tflite"]
        staged[0].mkdir()
        staged[1].write_text("new")
        publish._published(formats, staged, tmp_path)
    assert [x.name for x in tmp_path.iterdir()] == ["m-a.tflite"]


def test_a_folder_that_comes_meanwhile_leaves_no_version(tmp_path):
    formats = [
        Format(None, publish_version),
        Format(None, publish_file, "-a.tflite"),
    ]
    (tmp_path / "m-a.tflite").mkdir()
    with (
        pytest.raises(UsageError, match="m-a.tflite: Is a directory"),
        staging(tmp_path) as aside,
    ):
        staged = [aside / "saved_model", aside / "m-a.tflite"]
        staged[0].mkdir()
        staged[1].write_text("new")
        publish._published(formats, staged, tmp_path)
    assert [x.name for x in tmp_path.iterdir()] == ["m-a.tflite"]


def test_the_second_directory_of_a_name_at_once_is_refused(
    tmp_path, monkeypatch
):
    target = tmp_path / "bert"

    def proved(*_):
        target.mkdir()
        (target / "config.json").write_text("of the first")
        return 0.0

    # The package has a function of the same name.
    module = importlib.import_module("kbig.export.hugging_face")
    monkeypatch.setattr(module, "_proved", proved)
    _, model, tokenizer = text_classifier()
    with pytest.raises(UsageError, match="bert: Directory not empty"):
        kbig.export.hugging_face(model, target, tokenizer=tokenizer)
    assert (target / "config.json").read_text() == "of the first"
    assert [x.name for x in tmp_path.iterdir()] == ["bert"]
