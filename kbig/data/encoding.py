"""Texts to ids of pieces, within a graph and outside of it."""

import collections
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.errors import UsageError

# What Hugging Face's BertNormalizer drops, and what it takes for a space.
_DROPPED = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\p{Cf}\p{Co}\x{fffd}]"
_SPACES = r"[\p{Z}\t\n\r]"


def tokenizer(
    vocabulary: Sequence[str],
    lowercase: bool = True,
    strip_accents: bool | None = None,
):
    """Makes a KerasHub tokenizer that agrees with Hugging Face's BERT.

    Texts that go through `encode` get the same ids, with two exceptions: a
    word counts as too long above 100 bytes here, above 100 characters there,
    and characters that one of both does not know yet, as Unicode grows. Called
    by itself, it does not lower the case, splits words at control and format
    characters, which Hugging Face drops, and not at a no-break space. Chinese
    characters are words of their own, as BERT has them.

    Args:
        vocabulary: the tokens in order of their ids.
        lowercase: whether to fold the case, as was done when the vocabulary
            was trained.
        strip_accents: likewise, whether to strip accents; `None` is as
            `lowercase`.

    Returns:
        A `keras_hub.models.BertTokenizer`.

    Raises:
        UsageError: if the vocabulary lacks a special token that texts are
            framed with, or names one token twice.

    Example:
    ```python
    bert_tokenizer = tokenizer(load_vocabulary("vocabulary.txt"))
    ```
    """
    import keras_hub

    vocabulary = list(vocabulary)
    check_vocabulary(vocabulary)
    made = keras_hub.models.BertTokenizer(
        vocabulary=vocabulary,
        # KerasHub would fold compatibility characters too: `，` to a comma.
        lowercase=False,
        strip_accents=lowercase if strip_accents is None else strip_accents,
    )
    made.lowers_case = lowercase
    return made


def encode(texts, tokenizer, sequence_length: int) -> dict[str, tf.Tensor]:
    """Encodes texts, or pairs of texts, cut and padded to one length.

    A text becomes `[CLS] text [SEP]`, a pair `[CLS] a [SEP] b [SEP]`. What
    is too long is cut at its end; of a pair the longer text is, until both
    are equally long, as Hugging Face's `longest_first` does. It works in a
    `tf.data` pipeline and in a signature of a SavedModel.

    Args:
        texts: string tensor of shape `(batch,)`, or `(batch, 2)` for pairs.
        tokenizer: what `tokenizer` returned.
        sequence_length: tokens of a row, special ones included.

    Returns:
        int32 tensors `token_ids`, `segment_ids` (1 for the second text of a
        pair and the `[SEP]` after it, else 0) and `padding_mask` (1 for
        tokens, 0 for padding) of shape `(batch, sequence_length)`.

    Raises:
        UsageError: if `sequence_length` has no room for the special tokens
            and one more a text, or `texts` is of another shape.

    Example:
    ```python
    inputs = encode(["how are you?", ""], bert_tokenizer, 16)
    inputs = encode([["how are you?", "fine"]], bert_tokenizer, 16)
    ```
    """
    tokens, segments = framed_texts(texts, tokenizer, sequence_length)
    shape = [tokens.shape[0], sequence_length]
    return {
        "token_ids": tokens.to_tensor(tokenizer.pad_token_id, shape=shape),
        "segment_ids": segments.to_tensor(0, shape=shape),
        "padding_mask": tf.ones_like(tokens).to_tensor(0, shape=shape),
    }


def tokenize(texts, tokenizer) -> tf.RaggedTensor:
    """Splits texts into ids of pieces, without special tokens.

    Args:
        texts: string tensor of shape `(batch,)`.
        tokenizer: what `tokenizer` returned.

    Returns:
        int32 ragged tensor of shape `(batch, (pieces))`.

    Example:
    ```python
    lengths = tokenize(["how are you?", ""], bert_tokenizer).row_lengths()
    ```
    """
    texts = tf.convert_to_tensor(texts, tf.string)
    if not tf.executing_eagerly():
        return _pieces(texts, tokenizer)
    # One trace for every number of texts.
    spec = tf.TensorSpec([None], tf.string)
    return _compiled_pieces.get_concrete_function(spec, tokenizer)(texts)


def suitable_length(texts, tokenizer, longest: int = 512) -> int:
    """Finds a length of rows that holds 99 of 100 texts whole.

    Args:
        texts: string array of shape `(n,)`, or `(n, 2)` for pairs; 10,000
            of them are looked at.
        tokenizer: what `tokenizer` returned.
        longest: what the model can take.

    Returns:
        A multiple of 8, with room for the special tokens; or `longest`.

    Example:
    ```python
    length = suitable_length(texts, bert_tokenizer)
    ```
    """
    chosen = np.random.default_rng(0).permutation(len(texts))[:10_000]
    columns = _columns(tf.constant(np.asarray(texts)[chosen], tf.string))
    pieces = sum(tokenize(c, tokenizer).row_lengths() for c in columns)
    tokens = np.percentile(pieces.numpy(), 99) + 1 + len(columns)
    return min(math.ceil(tokens / 8) * 8, longest)


def framed_texts(
    texts, tokenizer, sequence_length: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Encodes texts, or pairs of texts, without padding.

    Args:
        texts: as of `encode`.
        tokenizer: what `tokenizer` returned.
        sequence_length: tokens of the longest rows; longer texts are cut.

    Returns:
        int32 ragged tensors of shape `(batch, (tokens))`: ids and segments.

    Raises:
        UsageError: as of `encode`.
    """
    columns = _columns(tf.convert_to_tensor(texts, tf.string))
    check_length(sequence_length, len(columns))
    pieces = [tokenize(column, tokenizer) for column in columns]
    return framed(pieces, tokenizer, sequence_length)


def framed(
    pieces: Sequence[tf.RaggedTensor], tokenizer, sequence_length: int
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Cuts ids of pieces and puts special tokens around them.

    Args:
        pieces: int32 ragged tensors of shape `(batch, (pieces))`: one, or
            two for pairs.
        tokenizer: what `tokenizer` returned.
        sequence_length: tokens of the longest rows.

    Returns:
        As of `framed_texts`.
    """
    room = sequence_length - 1 - len(pieces)
    pieces = (
        _cut_pair(*pieces, room) if len(pieces) == 2 else [pieces[0][:, :room]]
    )
    edge = tf.ones([pieces[0].nrows(), 1], tf.int32)
    parts, segments = [edge * tokenizer.cls_token_id], [0 * edge]
    for segment, part in enumerate(pieces):
        parts += [part, edge * tokenizer.sep_token_id]
        segments += [tf.ones_like(part) * segment, edge * segment]
    return tf.concat(parts, axis=1), tf.concat(segments, axis=1)


def check_length(sequence_length: int, num_texts: int = 1) -> None:
    """Makes sure that rows have room for special tokens and some more.

    Args:
        sequence_length: tokens of a row.
        num_texts: texts in a row, 1 or 2.

    Raises:
        UsageError: if the length is too small.
    """
    least = 1 + 2 * num_texts
    if sequence_length < least:
        tokens = {1: "[CLS], a token and [SEP]", 2: "[CLS] a [SEP] b [SEP]"}
        raise UsageError(
            f"`sequence_length` must be {least} or more, for "
            f"{tokens[num_texts]}. Received: "
            f"sequence_length={sequence_length}"
        )


def check_vocabulary(vocabulary: Sequence[str]) -> None:
    """Makes sure that a tokenizer can be made of a vocabulary.

    Args:
        vocabulary: the tokens in order of their ids.

    Raises:
        UsageError: as of `tokenizer`.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise UsageError(
            "A vocabulary must hold the special tokens "
            f"{', '.join(SPECIAL_TOKENS)}. Received: {len(vocabulary)} tokens "
            f"without {', '.join(missing)}. Train one with "
            "`kbig.data.train_vocabulary`, or give the model's own."
        )
    if len(set(vocabulary)) < len(vocabulary):
        counts = collections.Counter(vocabulary)
        token, count = counts.most_common(1)[0]
        raise UsageError(
            "A vocabulary must hold every token once. Received: "
            f"{token!r} {count} times"
        )


def _columns(texts):
    """One string tensor `(batch,)`, or the two of pairs."""
    if texts.shape.rank == 1:
        return [texts]
    if texts.shape.rank == 2 and texts.shape[1] == 2:
        return tf.unstack(texts, axis=1)
    raise UsageError(
        "`texts` must be of shape (batch,), or (batch, 2) for pairs. "
        f"Received: shape {texts.shape}"
    )


def _pieces(texts, tokenizer):
    texts = tf.strings.regex_replace(texts, _DROPPED, "")
    texts = tf.strings.regex_replace(texts, _SPACES, " ")
    if getattr(tokenizer, "lowers_case", False):
        # Never the final form, which TensorFlow chooses by the context.
        texts = tf.strings.regex_replace(texts, "Σ", "σ")
        texts = tf.strings.lower(texts, encoding="utf-8")
    return tf.cast(tokenizer(texts), tf.int32)


# Within a graph KerasHub returns ragged tensors from one and the same path;
# outside, it goes through Python strings.
_compiled_pieces = tf.function(_pieces)


def _cut_pair(first, second, room):
    sizes = first.row_lengths(), second.row_lengths()
    room = tf.constant(room, sizes[0].dtype)
    shorter = tf.minimum(*sizes)
    longer = tf.maximum(shorter, room - shorter)
    # What is odd goes to the longer text, or to the second of two as long.
    halved = shorter + longer > room
    shorter = tf.where(halved, room // 2, shorter)
    longer = tf.where(halved, room - room // 2, longer)
    swapped = sizes[0] > sizes[1]
    return (
        _cut(first, tf.where(swapped, longer, shorter)),
        _cut(second, tf.where(swapped, shorter, longer)),
    )


def _cut(pieces, sizes):
    positions = tf.ragged.range(pieces.row_lengths())
    return tf.ragged.boolean_mask(pieces, positions < sizes[:, tf.newaxis])
