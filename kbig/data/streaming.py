"""Documents of text files, one at a time, however large the files are."""

import gzip
import lzma
import os
import pathlib
import zlib
from collections.abc import Iterator

from kbig.data.corpora import corpus_files
from kbig.data.dataset import SPLITS
from kbig.errors import DataError
from kbig.errors import UsageError

_OPENERS = {".gz": gzip.open, ".xz": lzma.open}
_MARK = b"\xef\xbb\xbf"


class DocumentFiles:
    """The documents of text files, read anew in every iteration.

    Args:
        files: `.txt` files, compressed or not, in order.
        splits: those that the folder they are from has; empty where nothing
            is split yet.
    """

    def __init__(
        self, files: tuple[pathlib.Path, ...], splits: tuple[str, ...] = ()
    ):
        self.files = files
        self.splits = splits

    def __iter__(self) -> Iterator[str]:
        for file in self.files:
            yield from _documents(file)


def stream_documents(
    path: str | os.PathLike, split: str | None = None
) -> DocumentFiles:
    """Reads the documents of a corpus without holding it in memory.

    As `kbig.data.load` reads them, but never more than one at a time, and
    nothing is split that is not split into folders.

    Args:
        path: a `.txt` file, which may be compressed (`.gz`, `.xz`), or a
            folder of them: paragraphs, one a line, an empty line after each
            document. The end of a file ends a document.
        split: `"train"`, `"validation"` or `"test"`: the documents of that
            folder alone; what is not split counts as training. `None`: all
            documents of all splits.

    Returns:
        An iterable of strings, paragraphs joined by newlines, that can be
        gone through any number of times. Its `splits` tell which folders of
        splits there are.

    Raises:
        UsageError: if the split is none of these.
        DataError: if there is no such file, or none of the split; while
            reading, naming the file and the line, if a file cannot be read
            or is not UTF-8.

    Example:
    ```python
    documents = stream_documents("novels/", split="train")
    vocabulary = train_vocabulary(documents, 8000)
    write_shards(documents, "shards", vocabulary, lowercase=True)
    ```
    """
    path = pathlib.Path(path)
    if split not in (None, *SPLITS):
        raise UsageError(
            f"`split` must be one of {SPLITS} or None. Received: "
            f"split={split!r}"
        )
    if not path.exists():
        raise DataError(f"{path} does not exist. Pass a file or a folder.")
    found = corpus_files(path)
    files = tuple(
        file for own, file in found if split in (None, own or "train")
    )
    splits = tuple(dict.fromkeys(own for own, _ in found if own))
    if not files:
        raise DataError(
            f"{path} has no text file for the split {split!r}. Received: "
            f"{', '.join(splits) or 'a corpus that is not split'}."
        )
    return DocumentFiles(files, splits)


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
