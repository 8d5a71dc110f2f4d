import errno
import os
import pathlib

import pytest

from kbig.errors import UsageError
from kbig.reporting.files import write_text
from tests import disks


def test_replaces_the_file_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "notes.txt"
    assert write_text(path, "first\n") == path
    write_text(str(path), "zweite Zeile: ü 日\n")
    assert path.read_bytes() == "zweite Zeile: ü 日\n".encode()
    assert os.listdir(path.parent) == ["notes.txt"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = write_text(tmp_path / "notes.txt", "old")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_disk_that_cannot_be_written_is_said(tmp_path, monkeypatch, number):
    path = write_text(tmp_path / "notes.txt", "old")

    def full(self, *_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    said = f"notes.txt: {os.strerror(number)}"
    with pytest.raises(UsageError, match=said):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_folder_that_is_read_only_is_said_by_the_name_of_the_file(tmp_path):
    with disks.read_only(tmp_path), pytest.raises(UsageError) as caught:
        write_text(tmp_path / "notes.txt", "new")
    assert f"Cannot write into {tmp_path}/notes.txt: " in str(caught.value)


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="Cannot write into .*file"):
        write_text(tmp_path / "file" / "notes.txt", "new")


def test_halves_of_pairs_are_written_as_escapes(tmp_path):
    path = write_text(tmp_path / "notes.txt", "a\ud83db")
    assert path.read_bytes() == b"a\\ud83db"


def test_refuses_a_directory(tmp_path):
    with pytest.raises(UsageError, match="it is a directory"):
        write_text(tmp_path, "text")
