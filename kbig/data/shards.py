"""Tokenizes a corpus once, into files that training reads as a stream.

The files are TFRecord: core TensorFlow writes and reads them, as a stream and
in parallel, with a checksum for every record. Rows are made in another order
in each pass over them (`masked_batches`), so random access to documents, which
array_record has, would need one more dependency for nothing.
"""

import dataclasses
import itertools
import os
import pathlib
import time
from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence

import rich.console
import rich.progress

from kbig.data import shard_index
from kbig.data.encoding import check_vocabulary
from kbig.data.shard_chunks import chunks
from kbig.data.shard_files import Shards
from kbig.data.shard_files import file_sha256
from kbig.data.shard_files import id_dtype
from kbig.data.shard_index import Index
from kbig.data.shard_processes import ShardWriters
from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.reporting import Bytes
from kbig.reporting import Report
from kbig.reporting import Seconds


@dataclasses.dataclass(frozen=True)
class ShardReport(Report):
    """What `write_shards` did.

    Args:
        directory: where the shards are.
        shards: how many there are.
        kept: how many of them were there before.
        documents: in all shards.
        paragraphs: in all shards, those without tokens left out.
        tokens: in all shards.
        text: UTF-8 bytes of the documents.
        size: bytes of the files.
        seconds: that it took.
    """

    directory: str
    shards: int
    kept: int
    documents: int
    paragraphs: int
    tokens: int
    text: Bytes
    size: Bytes
    seconds: Seconds


def write_shards(
    documents: Iterable[str],
    directory: str | os.PathLike,
    vocabulary: Sequence[str],
    *,
    lowercase: bool,
    strip_accents: bool | None = None,
    processes: int | None = None,
    documents_per_shard: int = 4096,
    resume: bool = True,
) -> ShardReport:
    """Tokenizes documents into files, in parallel and restartable.

    The ids are those of `kbig.data.tokenize`. Documents are read as they are
    needed, so the corpus may be larger than memory. Each file is written
    aside and renamed; after an interruption the same call writes what is
    missing.

    Args:
        documents: texts, their paragraphs joined by newlines, in the same
            order every time.
        directory: gets `shard-00000.tfrecord` and so on, and `index.json`
            when all are there.
        vocabulary: the tokens in order of their ids.
        lowercase: see `kbig.data.tokenizer`.
        strip_accents: see `kbig.data.tokenizer`.
        processes: that tokenize; by default as many as there are cores, but
            for the first 64 MB of text, which this process tokenizes, as
            others take seconds to start.
        documents_per_shard: most documents of a file, which ends after 32
            MiB of text in any case.
        resume: whether to keep the files of an earlier start. `False`
            deletes them first.

    Returns:
        A `ShardReport`.

    Raises:
        UsageError: if there are no documents, a number is not above zero, or
            the vocabulary is none that `kbig.data.tokenizer` takes. Nothing
            is deleted then.
        DataError: if the directory holds files of another vocabulary,
            another casing or another text.

    Example:
    ```python
    report = write_shards(
        stream_documents("novels/"), "shards", vocabulary, lowercase=True
    )
    print(report)
    ```
    """
    started = time.perf_counter()
    _check(processes, documents_per_shard)
    check_vocabulary(vocabulary)
    parts = _begun(chunks(documents, documents_per_shard))
    strip_accents = lowercase if strip_accents is None else strip_accents
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if not resume:
        shard_index.clear(directory)
    settings = shard_index.settings(
        vocabulary, lowercase, strip_accents, documents_per_shard
    )
    index = Index(directory, settings)
    casing = (lowercase, strip_accents)
    with ShardWriters(directory, vocabulary, casing, processes) as writers:
        written = _write_missing(_tracked(parts), index, writers)
    shards = index.finish()
    return ShardReport(
        directory=str(directory),
        shards=len(shards),
        kept=len(shards) - written,
        **{name: _sum(shards, name) for name in _COUNTED},
        text=Bytes(_sum(shards, "text_bytes")),
        size=Bytes(_sum(shards, "bytes")),
        seconds=Seconds(time.perf_counter() - started),
    )


_COUNTED = ("documents", "paragraphs", "tokens")


def read_shards(
    directory: str | os.PathLike,
    vocabulary: Sequence[str],
    *,
    lowercase: bool | None = None,
    strip_accents: bool | None = None,
    checksums: bool = True,
) -> Shards:
    """Opens what `write_shards` wrote, after checking that it is that.

    Args:
        directory: with an `index.json`.
        vocabulary: that the model uses.
        lowercase: that the model's tokenizer has; `None` compares nothing.
        strip_accents: likewise.
        checksums: whether to compare the SHA-256 of every file, which reads
            them all once; sizes are always compared.

    Returns:
        The documents, to be read as a stream.

    Raises:
        DataError: if the index is missing, or the vocabulary, the casing, a
            file's size or its checksum differs from what the index tells.

    Example:
    ```python
    shards = read_shards("shards", vocabulary)
    rows = pack_documents(
        shards.documents(), 128, cls_id=2, sep_id=3, pad_id=0
    )
    ```
    """
    directory = pathlib.Path(directory)
    path = directory / shard_index.INDEX
    if not path.is_file():
        raise DataError(
            f"{path} does not exist: there are no shards, or not all of them. "
            "Call `write_shards`; it goes on where it was interrupted."
        )
    settings, shards = shard_index.read_index(path)
    wanted = {
        "vocabulary_sha256": shard_index.fingerprint(vocabulary),
        "lowercase": lowercase,
        "strip_accents": strip_accents,
    }
    wanted = {k: v for k, v in wanted.items() if v is not None}
    remedy = "Pass what was used then, or write the shards anew."
    shard_index.check_settings(path, settings, wanted, remedy)
    for shard in shards:
        _check_file(directory, shard, checksums)
    return Shards(
        files=tuple(directory / shard["file"] for shard in shards),
        count=_sum(shards, "documents"),
        tokens=_sum(shards, "tokens"),
        dtype=id_dtype(settings["vocabulary_size"]),
        lowercase=settings["lowercase"],
        strip_accents=settings["strip_accents"],
    )


def _check(processes, documents_per_shard):
    numbers = {
        "processes": processes,
        "documents_per_shard": documents_per_shard,
    }
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UsageError(
                f"`{name}` must be above zero. Received: {name}={value}"
            )


def _check_file(directory, shard, checksums):
    path = directory / shard["file"]
    found = path.stat().st_size if path.is_file() else "no such file"
    expected = shard["bytes"]
    if checksums and found == expected:
        found, expected = file_sha256(path), shard["sha256"]
    if found != expected:
        raise DataError(
            f"{path} is not what the index tells (size in bytes or SHA-256). "
            f"Expected: {expected}. Received: {found}. Delete it and call "
            "`write_shards` again; the other shards are kept."
        )


def _write_missing(chunks, index, writers) -> int:
    """Writes the shards that are not there yet, and tells how many."""
    pending, written = deque(), 0
    for chunk in chunks:
        if not index.kept(chunk):
            pending.append((chunk, writers.submit(chunk)))
            written += 1
        while pending and (
            len(pending) > writers.processes or pending[0][1].done()
        ):
            chunk, future = pending.popleft()
            index.add(chunk, future.result())
    for chunk, future in pending:
        index.add(chunk, future.result())
    return written


def _begun(chunks):
    """The same chunks, of which there is one at least."""
    first = next(chunks, None)
    if first is None:
        raise UsageError("`documents` must not be empty. Received: none")
    return itertools.chain([first], chunks)


def _tracked(chunks):
    console = rich.console.Console(stderr=True)
    return rich.progress.track(
        chunks,
        "Tokenizing (shards)",
        total=None,
        console=console,
        disable=not console.is_terminal,
    )


def _sum(shards, name):
    return sum(shard[name] for shard in shards)
