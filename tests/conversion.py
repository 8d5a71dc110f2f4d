"""Conversions in the test's own process, which starts TensorFlow but once."""

import functools
import pathlib
import runpy
import traceback

from kbig.export import processes

in_a_process = processes.convert


@functools.cache
def converter(script: pathlib.Path):
    return runpy.run_path(str(script))["convert"]


def converted_here(script, arguments, name: str) -> None:
    """In place of `processes.convert`: what ends the converter ends the test.

    Its errors are those of the process.
    """
    saved_model, file, *options = map(str, arguments)
    try:
        content = converter(script)(saved_model, *options)
    except Exception as error:  # noqa: BLE001
        said = traceback.format_exception_only(error)[-1].strip()
        last = said.rpartition("\n")[2]
        raise processes.unconverted(name, 1, last, file) from error
    pathlib.Path(file).write_bytes(content)
