import os

import pytest

from kbig.errors import UsageError
from kbig.reporting.files import write_text


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


def test_halves_of_pairs_are_written_as_escapes(tmp_path):
    path = write_text(tmp_path / "notes.txt", "a\ud83db")
    assert path.read_bytes() == b"a\\ud83db"


def test_refuses_a_directory(tmp_path):
    with pytest.raises(UsageError, match="it is a directory"):
        write_text(tmp_path, "text")
