"""What every process that kbig starts is given: no GPU, and a time limit."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from kbig.errors import GateError
from kbig.errors import WriteError
from kbig.writing import said_error

# Seconds for one conversion or one answer; what hangs must not hang the run.
TIME_LIMIT = 600.0


def cpu_environment() -> dict[str, str]:
    """Returns this process's environment with every GPU hidden.

    The parent may hold all of the GPU's memory, and on Ampere and later
    TensorFlow multiplies in TF32, which differs from float32 by 1e-3.

    Returns:
        Variables by name, for `subprocess`.

    Example:
    ```python
    subprocess.run(["env"], env=cpu_environment())
    ```
    """
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}


def convert(script: pathlib.Path, arguments: Iterable, name: str) -> None:
    """Runs a converter in a process of its own.

    Args:
        script: of the converter.
        arguments: that it is given; the second is the file that it makes.
        name: of this file, for messages.

    Raises:
        GateError: it failed, crashed, or took too long.
        WriteError: it could not write.
    """
    arguments = [*arguments]
    done = _ran(
        [script, *arguments],
        f"{name} was not converted within {TIME_LIMIT:g} s: the converter was "
        "ended.",
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        last = lines[-1] if lines else "no message"
        raise unconverted(name, done.returncode, last, arguments[1])


def unconverted(
    name: str, status: int, last: str, file: str | os.PathLike
) -> GateError | WriteError:
    """The error of a conversion that ended with a status and a last line."""
    return said_error(last, file) or GateError(
        f"{name} does not convert (exit status {status}): {last}. Take "
        "another mode or format."
    )


def answer(
    script: pathlib.Path, request: Mapping, names: str, done_to: str, few: str
) -> Any:
    """Asks a script that runs files, in a process of its own.

    Args:
        script: reads JSON from standard input; the last line that it writes
            is JSON, too.
        request: that it is given.
        names: of the files, for messages.
        done_to: the files, as "timed".
        few: what to pass fewer of where it takes too long.

    Returns:
        The answer.

    Raises:
        GateError: it failed, crashed, or took too long.
        WriteError: it could not write.
    """
    done = _ran(
        [script],
        f"{names} took longer than {TIME_LIMIT:g} s to be {done_to}. Pass "
        f"fewer {few}.",
        json.dumps(request),
    )
    if done.returncode != 0:
        last = done.stderr.strip().rpartition("\n")[2]
        raise said_error(last, tempfile.gettempdir()) or GateError(
            f"Running {names} ended with status {done.returncode}: "
            f"{last or 'no message'}"
        )
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def _ran(arguments, too_late: str, given: str | None = None):
    try:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            input=given,
            env=cpu_environment(),
            timeout=TIME_LIMIT,
            capture_output=True,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise GateError(too_late) from error
