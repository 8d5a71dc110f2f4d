"""Documents of text files, one at a time, however large the files are."""

import gzip
import lzma
import os
import pathlib
import zlib
from collections.abc import Iterator

from kbig.data.corpora import corpus_files
from kbig.errors import DataError

_OPENERS = {".gz": gzip.open, ".xz": lzma.open}
_MARK = b"\xef\xbb\xbf"


class DocumentFiles:
    """The documents of text files, read anew in every iteration.

    Args:
        files: `.txt` files, compressed or not, in order.
    """

    def __init__(self, files: tuple[pathlib.Path, ...]):
        self.files = files

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            yield from _documents(file)


def stream_documents(path: str | os.PathLike) -> DocumentFiles:
    """Reads the documents of a corpus without holding it in memory.

    As `kbig.data.load` reads them, but every document of every split, and
    never more than one at a time.

    Args:
        path: a `.txt` file, which may be compressed (`.gz`, `.xz`), or a
            folder of them: paragraphs, one a line, an empty line after each
            document. The end of a file ends a document.

    Returns:
        An iterable of strings, paragraphs joined by newlines, that can be
        gone through any number of times.

    Raises:
        DataError: if there is no such file; while reading, naming the file
            and the line, if a file cannot be read or is not UTF-8.

    Example:
    ```python
    documents = stream_documents("novels/")
    vocabulary = train_vocabulary(documents, 8000)
    write_shards(documents, "shards", vocabulary, lowercase=True)
    ```
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise DataError(f"{path} does not exist. Pass a file or a folder.")
    return DocumentFiles(tuple(file for _, file in corpus_files(path)))


def _documents(file):
    paragraphs = []
    for line in _lines(file):
        if line:
            paragraphs.append(line)
        elif paragraphs:
            yield "\n".join(paragraphs)
            paragraphs = []
    if paragraphs:
        yield "\n".join(paragraphs)


def _lines(file):
    number = 0
    try:
        with _OPENERS.get(file.suffix.lower(), open)(file, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                line = line.removeprefix(_MARK) if number == 1 else line
                yield line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}, line {number}: text must be UTF-8. Received: byte "
            f"0x{error.object[error.start]:02x}. Convert the file, for "
            "example with `iconv -t utf-8`."
        ) from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(
            f"{file} could not be read after line {number}. Received: "
            f"{error}. Check that the file is complete and matches its suffix."
        ) from error
