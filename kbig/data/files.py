"""What files and folders can be loaded, and by which reader."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable

from kbig.data.arrays import read_arrays
from kbig.data.corpora import holds_corpus
from kbig.data.corpora import read_corpus
from kbig.data.dataset import Dataset
from kbig.data.images import holds_images
from kbig.data.images import read_image_folder
from kbig.data.options import call_reader
from kbig.data.reading import suffix_of
from kbig.data.series import read_series
from kbig.data.tables import is_table
from kbig.data.tags import SUFFIXES
from kbig.data.tags import holds_tags
from kbig.data.tags import read_tags
from kbig.data.texts import read_documents
from kbig.data.texts import read_texts
from kbig.errors import UsageError


@dataclasses.dataclass(frozen=True)
class FileKind:
    """One form of data on disk.

    Args:
        form: how it looks, for messages.
        matches: whether a path has this form.
        readers: the reader of each kind of data; the first is the default.
    """

    form: str
    matches: Callable[[pathlib.Path], bool]
    readers: dict[str, Callable[..., Dataset]]


def _file(*suffixes):
    return lambda path: path.is_file() and suffix_of(path) in suffixes


def _is_corpus(path):
    if path.is_dir():
        # Folders of images often come with a licence in a `.txt` file.
        return holds_corpus(path) and not holds_images(path)
    return suffix_of(path) == ".txt"


def _is_tagged(path):
    return holds_tags(path) if path.is_dir() else _file(*SUFFIXES)(path)


FILE_KINDS = (
    FileKind(
        "a .csv, .tsv or .jsonl table (may be .gz or .xz)",
        lambda path: path.is_file() and is_table(path),
        {
            "text": read_texts,
            "series": read_series,
            "tags": read_tags,
            "corpus": read_documents,
        },
    ),
    FileKind(
        "a .conll, .iob or .bio file of tagged words (may be .gz or .xz), or "
        "a folder of them named after the splits",
        _is_tagged,
        {"tags": read_tags},
    ),
    FileKind(
        "an .npz file with x_train, y_train, x_test, y_test",
        _file(".npz"),
        {
            "image or sequence": read_arrays,
            "image": functools.partial(read_arrays, kind="image"),
            "sequence": functools.partial(read_arrays, kind="sequence"),
        },
    ),
    FileKind(
        "a .txt file (may be .gz or .xz) or a folder of them",
        _is_corpus,
        {"corpus": read_corpus, "tags": read_tags},
    ),
    FileKind(
        "a folder with one folder of images a class",
        pathlib.Path.is_dir,
        {"image": read_image_folder},
    ),
)


def load_path(
    path: pathlib.Path, *, kind: str | None = None, **options
) -> Dataset:
    """Loads a file or folder by the first entry of `FILE_KINDS` that fits.

    Args:
        path: an existing file or folder.
        kind: the kind of data, where a form can hold several.
        **options: those of the reader.

    Returns:
        A `Dataset`.

    Raises:
        UsageError: if the form, the kind or an option is not known.
        DataError: naming the file and the row that cannot be used.
    """
    for entry in FILE_KINDS:
        if entry.matches(path):
            break
    else:
        forms = "; ".join(entry.form for entry in FILE_KINDS)
        raise UsageError(
            f"{path} has none of the forms that can be loaded: {forms}."
        )
    kind = kind or next(iter(entry.readers))
    if kind not in entry.readers:
        raise UsageError(
            f"{path} can be loaded as {', '.join(entry.readers)}. Received: "
            f"kind={kind!r}"
        )
    return call_reader(
        entry.readers[kind], path, options, f"{path.name} ({kind})"
    )
