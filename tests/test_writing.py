import errno
import os
import tempfile

import pytest
import tensorflow as tf

from kbig.errors import WriteError
from kbig.writing import make_directory
from kbig.writing import said_error
from kbig.writing import scratch
from kbig.writing import write_error
from kbig.writing import writing

NO_ROOM = os.strerror(errno.ENOSPC)


def os_error(number, *names):
    return OSError(number, os.strerror(number), *names)


@pytest.mark.parametrize(
    "error, path",
    [
        (os_error(errno.ENOSPC), "given"),
        (os_error(errno.EDQUOT, 7), "given"),  # By a file descriptor.
        (os_error(errno.EROFS, "/a/b"), "/a/b"),
        (os_error(errno.EACCES, b"/a/b"), "/a/b"),
        (os_error(errno.ENOTEMPTY, "x", None, "/a/final"), "/a/final"),
        (os_error(errno.EISDIR, "x", None, "/a/final"), "/a/final"),
        (os_error(errno.ENOSPC, "aside/x"), "given"),
    ],
)
def test_an_error_of_writing_names_its_path(error, path):
    found = write_error(error, "given", "aside")
    assert str(found.path) == path
    assert found.reason == os.strerror(error.errno)
    assert f"Cannot write into {path}: {found.reason}." in str(found)


@pytest.mark.parametrize(
    "error",
    [
        os_error(errno.ENOENT, "/a"),
        os_error(errno.EEXIST, "/a"),  # No rename: a mistake of kbig's own.
        ValueError("No space left on device"),
    ],
)
def test_other_errors_are_none_of_writing(error):
    assert write_error(error, "given") is None
    with pytest.raises(type(error)) as caught, writing("given"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "line, path",
    [
        (f"OSError: [Errno 28] {NO_ROOM}", "given"),
        (f"OSError: [Errno 28] {NO_ROOM}: '/tmp/a b'", "/tmp/a b"),
        ("PermissionError: [Errno 13] Permission denied: '/x'", "/x"),
        (
            "tensorflow.errors.ResourceExhaustedError: {{function_node "
            "__wrapped__SaveV2_device_/job:localhost/device:CPU:0}} "
            f"/m/a b/part-0.tempstate1; {NO_ROOM} [Op:SaveV2]",
            "/m/a b/part-0.tempstate1",
        ),
    ],
)
def test_a_printed_error_names_its_path(line, path):
    found = said_error(line, "given")
    assert str(found.path) == path


@pytest.mark.parametrize(
    "line",
    [
        "ValueError: no such op: '/model/No space left on device'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/x'",
        "",
    ],
)
def test_other_lines_are_none_of_writing(line):
    assert said_error(line, "given") is None


def test_an_error_of_tensorflow_counts(tmp_path):
    error = tf.errors.ResourceExhaustedError(
        None, None, f"{tmp_path}/aside/x; {NO_ROOM} [Op:SaveV2]"
    )
    found = write_error(error, "given", tmp_path / "aside")
    assert (str(found.path), found.reason) == ("given", NO_ROOM)


def test_a_full_temporary_disk_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(WriteError) as caught, scratch() as folder:
        (folder / "rows").write_text("half")
        raise os_error(errno.ENOSPC)
    assert caught.value.path.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_no_temporary_folder_at_all_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(WriteError, match="missing.*TMPDIR"), scratch():
        pass


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="Not a directory"):
        make_directory(tmp_path / "file" / "below")
