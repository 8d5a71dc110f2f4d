"""Reads text files, compressed or not, with errors that name the line."""

import gzip
import lzma
import pathlib
import zlib

from kbig.errors import DataError

_OPENERS = {".gz": gzip.open, ".xz": lzma.open}


def read_text(path: pathlib.Path) -> str:
    """Reads a UTF-8 text file, decompressing `.gz` and `.xz`.

    Args:
        path: the file; a byte order mark is dropped.

    Returns:
        Its text, line ends unchanged.

    Raises:
        DataError: if it cannot be read, is empty or is not UTF-8.

    Example:
    ```python
    text = read_text(pathlib.Path("reviews.csv.gz"))
    ```
    """
    try:
        with _OPENERS.get(path.suffix.lower(), open)(path, "rb") as file:
            content = file.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(
            f"{path} could not be read. Received: {error}. Check that the "
            "file is complete and matches its suffix."
        ) from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: text must be UTF-8. Received: byte "
            f"0x{error.object[error.start]:02x}. Convert the file, for "
            "example with `iconv -t utf-8`."
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty: it must hold at least one line.")
    return text


def suffix_of(path: pathlib.Path) -> str:
    """Returns the suffix in lower case without `.gz` and `.xz`.

    Args:
        path: a file name such as `data.CSV.gz`.

    Returns:
        The suffix that tells the format, such as `.csv`.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _OPENERS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
