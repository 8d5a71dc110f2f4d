"""The documents of a corpus, in the parts that become shards."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable
from collections.abc import Iterator

from kbig.errors import DataError

_SHARD_BYTES = 2**25  # A shard ends there however few its documents.


@dataclasses.dataclass(frozen=True)
class Chunk:
    """The documents of one shard, in UTF-8."""

    number: int
    documents: list[bytes]

    @property
    def file(self) -> str:
        """Name of the shard."""
        return f"shard-{self.number:05d}.tfrecord"

    @functools.cached_property
    def text_bytes(self) -> int:
        """Bytes of all documents."""
        return sum(map(len, self.documents))

    @functools.cached_property
    def sha256(self) -> str:
        """Fingerprint of the documents."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(len(document).to_bytes(8, "little"))
            digest.update(document)
        return digest.hexdigest()


def chunks(
    documents: Iterable[str], documents_per_shard: int
) -> Iterator[Chunk]:
    """Gathers the documents of each shard, one shard at a time.

    Args:
        documents: texts.
        documents_per_shard: most documents of a shard, which ends after 32
            MiB of text in any case.

    Returns:
        An iterator of chunks.

    Raises:
        DataError: if a text cannot be written as UTF-8.
    """
    number, texts, size = 0, [], 0
    for row, document in enumerate(documents):
        texts.append(_utf8(document, row))
        size += len(texts[-1])
        if len(texts) == documents_per_shard or size >= _SHARD_BYTES:
            yield Chunk(number, texts)
            number, texts, size = number + 1, [], 0
    if texts:
        yield Chunk(number, texts)


def _utf8(document, row):
    try:
        return document.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"Document {row} holds a lone surrogate, which is no character. "
            f"Received: {error.object[error.start]!r}. Read the file as "
            "UTF-8."
        ) from error
