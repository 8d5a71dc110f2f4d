"""Full disks, killed processes and exports at once: nothing half-made."""

import errno
import json
import os
import pathlib
import random
import resource
import subprocess
import sys
import time

import pytest

import kbig
from kbig.errors import UsageError
from kbig.export.staging import staging
from tests.disks import contents

EXPORTER = """
import json, sys, kbig
model = kbig.models.mlp((64,), 10, (256, 256))
print("ready", flush=True)
sys.stdin.readline()
report = kbig.export.artefacts(
    model, sys.argv[1], ["savedmodel", "litert-float32"], name="m"
)
print(json.dumps([str(x.path) for x in report.artefacts]), flush=True)
"""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG])
def test_a_disk_that_cannot_be_written_is_said(tmp_path, number):
    with (
        pytest.raises(UsageError, match=os.strerror(number)),
        staging(tmp_path) as aside,
    ):
        (aside / "half").write_text("written")
        raise OSError(number, os.strerror(number))
    assert not list(tmp_path.iterdir())


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), staging(tmp_path) as aside:
        (aside / "missing").read_text()


def test_where_nothing_can_be_made_is_said_first():
    with pytest.raises(UsageError, match="Cannot write into /proc/kbig"):
        kbig.export.saved_model(kbig.models.mlp((4,), 2), "/proc/kbig")


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("format", ["savedmodel", "litert-float32"])
def test_a_full_disk_leaves_the_older_version(format, tmp_path):
    small = kbig.models.mlp((4,), 2, (4,))
    kbig.export.artefacts(small, tmp_path, [format], name="m")
    before = contents(tmp_path)
    large = kbig.models.mlp((64,), 10, (256, 256))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(UsageError, match="File too large. Nothing was"):
            kbig.export.artefacts(large, tmp_path, [format], name="m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert before and contents(tmp_path) == before
    assert not list(tmp_path.glob(".part-*"))


def started(directory) -> subprocess.Popen:
    """A process that will export when it is given a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", EXPORTER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(process) -> None:
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.slow
def test_killed_at_twenty_moments(tmp_path):
    first = started(tmp_path)
    begin = time.perf_counter()
    go(first)
    assert json.loads(first.stdout.readline())
    seconds = time.perf_counter() - begin
    first.wait()
    old = contents(tmp_path)
    moments = random.Random(0)
    killed = 0
    for _ in range(20):
        process = started(tmp_path)
        go(process)
        time.sleep(moments.uniform(0, seconds))
        # The converter and the runtimes are processes of their own.
        os.killpg(process.pid, 9)
        killed += process.wait() == -9
        now = contents(tmp_path)
        assert {name: now[name] for name in old} == old or (
            # The file is the one of the same name that was made whole.
            {n for n in old if now[n] != old[n]} == {"m-float32.tflite"}
        )
        for version in tmp_path.glob("[0-9]*"):
            assert (version / "saved_model.pb").is_file()
            assert len(list((version / "variables").iterdir())) == 2
    assert killed >= 10
    last = started(tmp_path)
    go(last)
    assert json.loads(last.stdout.readline())
    last.wait()


@pytest.mark.slow
def test_two_exports_of_a_name_at_once(tmp_path):
    processes = [started(tmp_path) for _ in range(2)]
    for process in processes:
        go(process)
    paths = [json.loads(p.stdout.readline()) for p in processes]
    for process in processes:
        assert process.wait() == 0
    assert {pathlib.Path(each[0]).name for each in paths} == {"1", "2"}
    assert not list(tmp_path.glob(".part-*"))
