"""Run as a script: reads files of one format, a line of JSON for each.

A process of its own: what a broken file does to a parser ends only it.
"""

import dataclasses
import importlib
import json
import pathlib
import sys

if __name__ == "__main__":
    # The kbig that started it, installed or not.
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from kbig.inspection.description import BrokenFileError
from kbig.inspection.description import Description


def described(reader: str, path: pathlib.Path) -> Description:
    """Reads a file.

    Args:
        reader: the module of `kbig.inspection` that reads such files.
        path: of the file or folder.

    Raises:
        BrokenFileError: whatever went wrong.
    """
    module = importlib.import_module(f"kbig.inspection.{reader}")
    try:
        return module.read(path)
    except BrokenFileError:
        raise
    except Exception as error:
        # Parsers raise as many kinds of errors as files can be broken.
        raise BrokenFileError(
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        ) from error


def _printable(message: str) -> str:
    """Parsers may quote what they found."""
    return "".join(x if x.isprintable() else "?" for x in message)


def main() -> None:
    """Reads `argv[2:]` by the reader `argv[1]`."""
    reader, *paths = sys.argv[1:]
    for path in paths:
        try:
            answer = dataclasses.asdict(described(reader, pathlib.Path(path)))
        except BrokenFileError as error:
            answer = {"broken": _printable(str(error))}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
