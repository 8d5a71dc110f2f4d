"""`inspect`: what is inside a model's file."""

import json
import os
import pathlib
import subprocess
import sys

from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.inspection.description import fields_of
from kbig.inspection.report import InspectionReport
from kbig.inspection.versions import SAVED_MODEL
from kbig.inspection.versions import versions

# Seconds that a file may keep its reader busy.
TIME_LIMIT = 120.0
_WORKER = pathlib.Path(__file__).with_name("worker.py")
# Module that reads a file, by its suffix. A new format is one line here.
_READERS = {
    ".tflite": "litert",
    ".onnx": "onnx_graph",
    ".keras": "keras_archive",
}


def inspect(path: str | os.PathLike) -> InspectionReport:
    """Lists what a model's file holds, without running anything of it.

    No class is made, and no pickle is read. The file is parsed in a process
    of its own, with a time limit.

    Args:
        path: a .tflite, .onnx or .keras file, the folder of a SavedModel, or
            the folder of its versions, of which the latest is read.

    Returns:
        A report, which prints as tables.

    Raises:
        UsageError: there is no such file, it is of another kind, or broken.

    Example:
    ```python
    print(kbig.export.inspect("saved_models/topics/topics-dynamic.tflite"))
    ```
    """
    path = pathlib.Path(path)
    try:
        reader, source, notes = _chosen(path)
        size = _size(source)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. Pass what can be."
        ) from error
    answer = _answer(reader, source)
    if "broken" in answer:
        raise DataError(
            f"{path} cannot be read: {answer['broken']}. Expected: what its "
            "name says. Export it again, or copy it again."
        )
    fields = fields_of(answer)
    fields["notes"] = (*notes, *fields["notes"])
    return InspectionReport(path=str(source), bytes=size, **fields)


def _chosen(path: pathlib.Path) -> tuple[str, pathlib.Path, tuple]:
    """The reader, what it reads, and what to say about the choice."""
    if path.is_dir():
        return _chosen_folder(path)
    expected = f"{', '.join(_READERS)} or a folder with {SAVED_MODEL}"
    if path.name == SAVED_MODEL and path.is_file():
        return "saved_model", path.parent, ()
    if path.suffix not in _READERS:
        raise UsageError(
            "What can be inspected ends in "
            f"{expected}. Received: {str(path)!r}. Rename it if it is such a "
            "file."
        )
    if not path.is_file():
        raise UsageError(
            f"There is no such file. Expected: {expected}. Received: "
            f"{str(path)!r}. Check the path."
        )
    if not path.stat().st_size:
        raise DataError(f"{path} is empty. Export it again, or copy it again.")
    return _READERS[path.suffix], path, ()


def _chosen_folder(path: pathlib.Path) -> tuple[str, pathlib.Path, tuple]:
    if (path / SAVED_MODEL).is_file():
        return "saved_model", path, ()
    known = versions(path)
    if not known:
        found = sorted(x.name for x in path.iterdir())
        raise UsageError(
            f"{path} holds no SavedModel. Expected: {SAVED_MODEL} in it or "
            f"in folders named 1, 2, ... Received: "
            f"{', '.join(found[:8]) or 'an empty folder'}. Pass one of its "
            "files."
        )
    note = f"The latest of the versions {', '.join(map(str, known))}."
    return "saved_model", known[max(known)], (note,)


def _answer(reader: str, path: pathlib.Path) -> dict:
    try:
        done = subprocess.run(
            [sys.executable, "-P", _WORKER, reader, path.resolve()],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
            timeout=TIME_LIMIT,
            capture_output=True,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"{path} was not read within {TIME_LIMIT:g} s: its reader was "
            "ended. Export it again, or copy it again."
        ) from error
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        return {
            "broken": f"its reader ended with status {done.returncode}: "
            f"{last or 'no message'}"
        }
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def _size(path: pathlib.Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(x.stat().st_size for x in files if x.is_file())
