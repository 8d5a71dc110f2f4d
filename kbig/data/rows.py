"""Texts encoded once and kept in memory without padding."""

import dataclasses
import math
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.encoding import check_length
from kbig.data.encoding import framed
from kbig.data.encoding import framed_texts
from kbig.data.encoding import tokenize
from kbig.errors import UsageError

_SHARES = (1 / 3, 1 / 2, 1)
_TOGETHER = 4096


@dataclasses.dataclass(frozen=True)
class EncodedRows:
    """Encoded texts, one after the other.

    Args:
        token_ids: int32 `(tokens,)`, special ones included.
        segment_ids: int32 `(tokens,)`.
        sizes: int `(rows,)`, the tokens of each row.
        pad_token_id: the id of padding.
        sequence_length: what rows were cut to.
    """

    token_ids: np.ndarray
    segment_ids: np.ndarray
    sizes: np.ndarray
    pad_token_id: int
    sequence_length: int

    def groups(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Pads rows of similar length to one length, all at a time.

        Yields:
            For each of `bucket_lengths` that has rows: their indices,
            rising, and the inputs of a model, int32 `(rows, length)`.
        """
        lengths = np.array(bucket_lengths(self.sequence_length))
        group = np.searchsorted(lengths, self.sizes)
        for number in np.unique(group):
            rows = np.flatnonzero(group == number)
            yield rows, self._padded(group == number, lengths[number])

    def _padded(self, chosen, length):
        filled = np.arange(length) < self.sizes[chosen][:, np.newaxis]
        tokens = np.repeat(chosen, self.sizes)
        token_ids = np.full(filled.shape, self.pad_token_id, np.int32)
        segment_ids = np.zeros(filled.shape, np.int32)
        token_ids[filled] = self.token_ids[tokens]
        segment_ids[filled] = self.segment_ids[tokens]
        return {
            "token_ids": token_ids,
            "segment_ids": segment_ids,
            "padding_mask": filled.astype(np.int32),
        }


def bucket_lengths(sequence_length: int) -> tuple[int, ...]:
    """Chooses the lengths of the buckets.

    Args:
        sequence_length: the longest.

    Returns:
        At most three lengths in rising order, all but the last multiples of
        8: a third, a half and all of `sequence_length`.

    Example:
    ```python
    bucket_lengths(48)  # (16, 24, 48)
    ```
    """
    lengths = {math.ceil(sequence_length * x / 8) * 8 for x in _SHARES}
    shorter = sorted(x for x in lengths if x < sequence_length)
    return (*shorter, sequence_length)


def encode_rows(texts, tokenizer, sequence_length: int) -> EncodedRows:
    """Encodes texts, or pairs of texts, into memory.

    Args:
        texts: strings, `(n,)`, or `(n, 2)` for pairs.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer texts are cut as
            by `kbig.data.encode`.

    Returns:
        The rows.

    Raises:
        UsageError: if there are no texts, or the length is too small.

    Example:
    ```python
    for rows, inputs in encode_rows(texts, bert_tokenizer, 48).groups():
        logits[rows] = model.predict(inputs)
    ```
    """
    if not len(texts):
        raise UsageError("There must be texts. Received: none")
    ids, segments = [], []
    for start in range(0, len(texts), _TOGETHER):
        # Lists, as NumPy's strings would grow to the longest.
        part = [_plain(text) for text in texts[start : start + _TOGETHER]]
        part = framed_texts(part, tokenizer, sequence_length)
        ids.append(part[0])
        segments.append(part[1])
    return _rows(ids, segments, tokenizer, sequence_length)


def encode_words(
    words: Sequence[Sequence[str]], tokenizer, sequence_length: int
) -> tuple[EncodedRows, tuple[np.ndarray, ...]]:
    """Encodes sentences that are split into words already.

    A word is one or more pieces, as Hugging Face has it with
    `is_split_into_words`.

    Args:
        words: sentences, `(n,)`, each of one word or more.
        tokenizer: what `kbig.data.tokenizer` returned.
        sequence_length: tokens of the longest rows; longer sentences are
            cut.

    Returns:
        The rows, and for each sentence an int32 array `(words,)` of where
        in its row the first piece of each word is: -1 for a word that was
        cut off, or that has no piece because it is made of characters that
        BERT drops.

    Raises:
        UsageError: if there are no sentences, a sentence without words, or
            a string where a sequence of words should be.

    Example:
    ```python
    rows, starts = encode_words([("Jane", "Austen")], bert_tokenizer, 32)
    ```
    """
    check_length(sequence_length)
    _check_sentences(words)
    counts = np.array([len(sentence) for sentence in words])
    flat = [word for sentence in words for word in sentence]
    pieces = _tokenized(flat, tokenizer)
    sizes = pieces.row_lengths().numpy()
    first_words = np.cumsum(counts) - counts
    before = np.cumsum(sizes) - sizes
    # Behind [CLS], and with [SEP] behind them.
    starts = before - np.repeat(before[first_words], counts) + 1
    lost = (sizes == 0) | (starts >= sequence_length - 1)
    starts = np.where(lost, -1, starts).astype(np.int32)
    sentences = tf.RaggedTensor.from_row_lengths(
        pieces.flat_values, np.add.reduceat(sizes, first_words)
    )
    ids, segments = framed([sentences], tokenizer, sequence_length)
    rows = _rows([ids], [segments], tokenizer, sequence_length)
    return rows, tuple(np.split(starts, first_words[1:]))


def words_from_pieces(
    predicted: np.ndarray, starts: Sequence[np.ndarray], missing: int = 0
) -> tuple[np.ndarray, ...]:
    """Takes what was predicted for pieces back to their words.

    Args:
        predicted: `(sentences, steps)`, a class for each piece.
        starts: what `encode_words` returned for these sentences.
        missing: the class of words that have no piece in the row; 0 is "O".

    Returns:
        One array `(words,)` a sentence: the class of each word's first
        piece.

    Example:
    ```python
    rows, starts = encode_words(words, bert_tokenizer, 32)
    ((_, inputs),) = rows.groups()
    tags = words_from_pieces(model.predict(inputs).argmax(-1), starts)
    ```
    """
    return tuple(
        np.where(first < 0, missing, row[np.maximum(first, 0)])
        for row, first in zip(predicted, starts, strict=True)
    )


def _plain(text):
    return text.tolist() if isinstance(text, np.ndarray) else text


def _rows(ids, segments, tokenizer, sequence_length):
    ids, segments = tf.concat(ids, axis=0), tf.concat(segments, axis=0)
    return EncodedRows(
        token_ids=ids.flat_values.numpy(),
        segment_ids=segments.flat_values.numpy(),
        sizes=ids.row_lengths().numpy(),
        pad_token_id=tokenizer.pad_token_id,
        sequence_length=sequence_length,
    )


def _tokenized(words, tokenizer):
    parts = [
        tokenize(words[start : start + _TOGETHER], tokenizer)
        for start in range(0, len(words), _TOGETHER)
    ]
    return tf.concat(parts, axis=0)


def _check_sentences(words):
    if not len(words):
        raise UsageError("There must be sentences. Received: none")
    for index, sentence in enumerate(words):
        if isinstance(sentence, str | bytes) or not len(sentence):
            raise UsageError(
                "A sentence must be a sequence of one word or more. "
                f"Received: words[{index}]={sentence!r}"
            )
