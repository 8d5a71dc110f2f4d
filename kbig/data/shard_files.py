"""One shard: documents of token ids as records of a TFRecord file.

A record is `paragraphs`, uint32; the tokens of each paragraph, uint32; and
their ids, uint16 where the vocabulary fits, else uint32; all little-endian.
"""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.encoding import tokenizer
from kbig.data.fast_tokens import FastTokens
from kbig.errors import DataError

_WORD = 4  # Bytes of a length.


class ShardMaker:
    """Tokenizes documents and writes them into one file.

    Args:
        vocabulary: the tokens in order of their ids.
        lowercase: see `kbig.data.tokenizer`.
        strip_accents: see `kbig.data.tokenizer`.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        lowercase: bool,
        strip_accents: bool | None,
    ):
        self._tokens = FastTokens(
            tokenizer(vocabulary, lowercase, strip_accents)
        )
        self._dtype = np.dtype(id_dtype(len(vocabulary))).newbyteorder("<")

    def __call__(self, path: pathlib.Path, documents: Sequence[bytes]) -> dict:
        """Writes a shard aside and renames it.

        Args:
            path: the file to write or replace.
            documents: texts in UTF-8, paragraphs joined by newlines.

        Returns:
            Its `documents`, `paragraphs` and `tokens`, which are numbers,
            `bytes` and `sha256`.
        """
        aside = path.with_name(f".{path.name}.part")
        paragraphs = tokens = 0
        with tf.io.TFRecordWriter(str(aside)) as writer:
            for lengths, ids in self._tokens.of_documents(documents):
                header = np.array([len(lengths), *lengths], "<u4").tobytes()
                writer.write(header + ids.astype(self._dtype).tobytes())
                paragraphs += len(lengths)
                tokens += len(ids)
        written = {
            "documents": len(documents),
            "paragraphs": paragraphs,
            "tokens": tokens,
            "bytes": aside.stat().st_size,
            "sha256": file_sha256(aside),
        }
        os.replace(aside, path)
        return written


@dataclasses.dataclass(frozen=True)
class Shards:
    """Tokenized documents on disk, as `read_shards` found them.

    Args:
        files: in order.
        count: number of documents.
        tokens: number of tokens.
        dtype: of the ids in the files.
        lowercase: whether case was folded.
        strip_accents: whether accents were stripped.
    """

    files: tuple[pathlib.Path, ...]
    count: int
    tokens: int
    dtype: str
    lowercase: bool
    strip_accents: bool

    def documents(self) -> Iterator[list[np.ndarray]]:
        """Reads the documents in order, a few at a time.

        Returns:
            An iterator: of each document the ids of its paragraphs, int32
            arrays without special tokens, as `pack_documents` takes them.
        """
        for file in self.files:
            yield from read_records(file, self.dtype)

    def dataset(self) -> tf.data.Dataset:
        """Reads the documents in order, as a stream.

        Returns:
            Ragged int32 tensors of shape `(paragraphs, (tokens))`; their
            number is known.
        """
        files = [str(file) for file in self.files]
        documents = tf.data.TFRecordDataset(files).map(
            lambda record: parse_record(record, self.dtype),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return documents.apply(
            tf.data.experimental.assert_cardinality(self.count)
        )


def id_dtype(vocabulary_size: int) -> str:
    """Names the type of the ids: the smallest that holds the vocabulary.

    Args:
        vocabulary_size: number of token ids.

    Returns:
        `"uint16"` or `"uint32"`.
    """
    return "uint16" if vocabulary_size <= 2**16 else "uint32"


def file_sha256(path: pathlib.Path) -> str:
    """Computes the checksum of a file.

    Args:
        path: the file.

    Returns:
        Its SHA-256 in hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_records(path: pathlib.Path, dtype: str) -> Iterator[list[np.ndarray]]:
    """Reads the documents of one shard.

    Args:
        path: the shard.
        dtype: of its ids.

    Returns:
        An iterator: of each document the ids of its paragraphs, int32.

    Raises:
        DataError: if a record does not match its checksum.
    """
    ids_of = np.dtype(dtype).newbyteorder("<")
    try:
        records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        for record in records:
            count = int.from_bytes(record[:_WORD], "little")
            lengths = np.frombuffer(record, "<u4", count, _WORD)
            ids = np.frombuffer(record, ids_of, offset=_WORD * (count + 1))
            ids = ids.astype(np.int32)
            yield np.split(ids, np.cumsum(lengths)[:-1]) if count else []
    except tf.errors.DataLossError as error:
        raise DataError(
            f"{path} is damaged: {error.message}. Delete the file and write "
            "the shards again; the others are kept."
        ) from error


def parse_record(record, dtype: str) -> tf.RaggedTensor:
    """Turns a record into ids, within a graph.

    Args:
        record: string scalar.
        dtype: of the ids.

    Returns:
        int32 ragged tensor of shape `(paragraphs, (tokens))`.
    """
    count = tf.io.decode_raw(tf.strings.substr(record, 0, _WORD), tf.int32)[0]
    end = _WORD * (count + 1)
    lengths = tf.strings.substr(record, _WORD, end - _WORD)
    ids = tf.strings.substr(record, end, -1)
    # TensorFlow decodes no uint32; no vocabulary needs its last bit.
    ids = tf.io.decode_raw(ids, {"uint16": tf.uint16}.get(dtype, tf.int32))
    return tf.RaggedTensor.from_row_lengths(
        tf.cast(ids, tf.int32), tf.io.decode_raw(lengths, tf.int32)
    )
