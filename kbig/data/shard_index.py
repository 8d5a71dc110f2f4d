"""The index of shards: what is in them, and what they were made of."""

import json
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Mapping

from kbig.data.shard_chunks import Chunk
from kbig.data.vocabulary import fingerprint
from kbig.errors import DataError
from kbig.reporting.files import write_text

INDEX = "index.json"
JOURNAL = "unfinished.jsonl"
# What is the same for all shards, and how an error calls it.
_SETTINGS = {
    "format": "the format",
    "vocabulary_sha256": "the vocabulary (its SHA-256)",
    "lowercase": "`lowercase`",
    "strip_accents": "`strip_accents`",
    "documents_per_shard": "`documents_per_shard`",
}
_REMEDY = "Write to another folder, or delete this one."


def settings(
    vocabulary, lowercase: bool, strip_accents: bool, documents_per_shard: int
) -> dict:
    """Gathers what must stay the same for shards to be kept.

    Args:
        vocabulary: the tokens in order of their ids.
        lowercase: whether case is folded.
        strip_accents: whether accents are stripped.
        documents_per_shard: most documents of a shard.

    Returns:
        Plain values by name, for JSON.
    """
    return {
        "format": "kbig-shards-1",
        "vocabulary_sha256": fingerprint(vocabulary),
        "vocabulary_size": len(vocabulary),
        "lowercase": lowercase,
        "strip_accents": strip_accents,
        "documents_per_shard": documents_per_shard,
    }


class Index:
    """The shards of a directory: those there are, and those just written.

    Args:
        directory: where the shards are; what is there of an earlier start
            is read.
        settings: as of `settings`.

    Raises:
        DataError: if the earlier start had other settings.
    """

    def __init__(self, directory: pathlib.Path, settings: Mapping):
        self._directory = directory
        self._settings = dict(settings)
        self._complete = (directory / INDEX).is_file()
        path = directory / (INDEX if self._complete else JOURNAL)
        found, shards = _READERS[path.name](path)
        if shards:
            remedy = f"Pass what was used then. {_REMEDY}"
            check_settings(path, found, settings, remedy)
        self._earlier = {shard["file"]: shard for shard in shards}
        self._has_journal = False
        self.shards = {}

    def kept(self, chunk: Chunk) -> bool:
        """Tells whether the shard of these documents is there already.

        Raises:
            DataError: if it was made of other documents.
        """
        earlier = self._earlier.get(chunk.file)
        if earlier is None:
            if self._complete:
                self._refuse_number(f"more than {len(self._earlier)}")
            return False
        found = chunk.sha256
        if found != earlier["source_sha256"]:
            raise DataError(
                f"{self._directory / chunk.file} was made of other text: the "
                f"corpus has changed. Expected: text with the SHA-256 "
                f"{earlier['source_sha256']}. Received: {found}. {_REMEDY}"
            )
        path = self._directory / chunk.file
        if not path.is_file() or path.stat().st_size != earlier["bytes"]:
            return False
        self.shards[chunk.file] = earlier
        return True

    def add(self, chunk: Chunk, written: Mapping) -> None:
        """Notes a shard that was written, at once and for good."""
        shard = {
            "file": chunk.file,
            **written,
            "text_bytes": chunk.text_bytes,
            "source_sha256": chunk.sha256,
        }
        self.shards[chunk.file] = shard
        journal = self._directory / JOURNAL
        if self._has_journal:
            with journal.open("a", encoding="utf-8") as file:
                file.write(_lines([shard]))
            return
        # The first time anew: the last line of an earlier one may be half.
        earlier = self._earlier.values()
        write_text(journal, _lines([self._settings, *earlier, shard]))
        self._has_journal = True

    def finish(self) -> list[dict]:
        """Writes the index, in one step.

        Returns:
            What it tells of each shard, in order.

        Raises:
            DataError: if an earlier start had shards beyond these.
        """
        if self._earlier.keys() - self.shards.keys():
            self._refuse_number(len(self.shards))
        shards = [self.shards[file] for file in sorted(self.shards)]
        content = {**self._settings, "shards": shards}
        text = json.dumps(content, indent=1, ensure_ascii=False)
        write_text(self._directory / INDEX, text + "\n")
        (self._directory / JOURNAL).unlink(missing_ok=True)
        return shards

    def _refuse_number(self, received):
        path = self._directory / (INDEX if self._complete else JOURNAL)
        least = "" if self._complete else " or more"
        raise DataError(
            f"{path} tells of another corpus. Expected: the text of "
            f"{len(self._earlier)} shards{least}. Received: {received}. "
            f"{_REMEDY}"
        )


def check_settings(
    path: pathlib.Path, found: Mapping, wanted: Mapping, remedy: str
) -> None:
    """Compares the settings that shards were written with to others.

    Args:
        path: where they were found.
        found: the settings by name.
        wanted: those that must be equal; others are not compared.
        remedy: what to do, for the error.

    Raises:
        DataError: naming the first that differs.
    """
    for name, words in _SETTINGS.items():
        if name in wanted and found.get(name) != wanted[name]:
            raise DataError(
                f"{path}: {words} differs from what the shards were made "
                f"with. Expected: {found.get(name)}. Received: "
                f"{wanted[name]}. {remedy}"
            )


def read_index(path: pathlib.Path) -> tuple[dict, list[dict]]:
    """Reads a complete index.

    Args:
        path: the file.

    Returns:
        The settings, and what it tells of each shard.

    Raises:
        DataError: if it is no index.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content, content.pop("shards")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise _no_index(path) from error


def _read_journal(path):
    lines = list(_whole_lines(path)) if path.is_file() else []
    return (lines[0], lines[1:]) if lines else ({}, [])


_READERS = {INDEX: read_index, JOURNAL: _read_journal}


def _lines(values):
    return "".join(json.dumps(value) + "\n" for value in values)


def _whole_lines(path) -> Iterator[dict]:
    """All lines but one that was cut off when the writer was killed."""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise _no_index(path) from error


def _no_index(path):
    return DataError(f"{path} is not an index of shards. {_REMEDY}")


def clear(directory: pathlib.Path) -> None:
    """Deletes the shards of a directory and what tells of them.

    Args:
        directory: what else is in it stays.
    """
    for path in (directory / INDEX, directory / JOURNAL):
        path.unlink(missing_ok=True)
    for path in directory.glob("shard-*.tfrecord"):
        os.remove(path)
