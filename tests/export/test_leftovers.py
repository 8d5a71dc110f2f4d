"""Folders of killed exports go, those of running ones stay."""

import fcntl
import subprocess
import sys

import pytest

from kbig.export import leftovers
from kbig.export.staging import staging

OWNER = """
import pathlib, sys
from kbig.export.staging import staging
with staging(pathlib.Path(sys.argv[1])) as aside:
    (aside / "weights").write_text("large")
    print(aside.name, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def owner(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process, tmp_path / process.stdout.readline().strip()
        process.kill()


@pytest.mark.ci
def test_a_running_export_keeps_its_folder(owner, tmp_path):
    process, aside = owner
    with staging(tmp_path) as own:
        assert own != aside
        with staging(tmp_path):  # In the same process, too.
            pass
        assert own.is_dir()
    assert (aside / "weights").read_text() == "large"
    process.communicate("\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.ci
def test_the_folder_of_a_killed_export_goes_with_the_next(owner, tmp_path):
    process, aside = owner
    process.kill()
    process.wait()
    assert (aside / "weights").is_file()
    with staging(tmp_path):
        assert not aside.exists()
    assert not list(tmp_path.iterdir())


def test_what_nobody_marked_stays(tmp_path):
    other = tmp_path / ".part-of-another-program"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    (tmp_path / ".part-model.keras").write_text("a file")
    with staging(tmp_path):
        pass
    assert (other / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / ".part-model.keras").is_file()


def test_where_there_are_no_locks_nothing_is_abandoned(tmp_path, monkeypatch):
    def none(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    aside = tmp_path / ".part-a"
    aside.mkdir()
    with leftovers.in_use(aside):
        leftovers.remove_abandoned(tmp_path, ".part-")
        assert aside.is_dir()
    monkeypatch.undo()
    leftovers.remove_abandoned(tmp_path, ".part-")
    assert aside.is_dir()
