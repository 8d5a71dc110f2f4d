"""Texts to ids of pieces, within a graph and outside of it."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.errors import UsageError

# What Hugging Face's BertNormalizer drops, and what it takes for a space.
_DROPPED = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\p{Cf}\p{Co}\x{fffd}]"
_SPACES = r"[\p{Z}\t\n\r]"


def tokenizer(vocabulary: Sequence[str], lowercase: bool = True):
    """Makes a KerasHub tokenizer that agrees with Hugging Face's BERT.

    Texts that go through `encode` get the same ids, with two exceptions:
    `ß` and its like fold to `ss` here and stay there, and a word counts as
    too long above 100 bytes here, above 100 characters there. Called by
    itself, it also splits words at control and format characters, which
    Hugging Face drops, and not at a no-break space.

    Args:
        vocabulary: the tokens in order of their ids.
        lowercase: whether to fold the case and strip accents, as was done
            when the vocabulary was trained.

    Returns:
        A `keras_hub.models.BertTokenizer`.

    Example:
    ```python
    bert_tokenizer = tokenizer(load_vocabulary("vocabulary.txt"))
    ```
    """
    import keras_hub

    return keras_hub.models.BertTokenizer(
        vocabulary=list(vocabulary),
        lowercase=lowercase,
        strip_accents=lowercase,
    )


def encode(texts, tokenizer, sequence_length: int) -> dict[str, tf.Tensor]:
    """Encodes texts as `[CLS] text [SEP]`, cut and padded to one length.

    It works in a `tf.data` pipeline and in a signature of a SavedModel.

    Args:
        texts: string tensor of shape `(batch,)`.
        tokenizer: what `tokenizer` returned.
        sequence_length: tokens of a row, special ones included.

    Returns:
        int32 tensors `token_ids`, `segment_ids` (all 0) and `padding_mask`
        (1 for tokens, 0 for padding) of shape `(batch, sequence_length)`.

    Raises:
        UsageError: if `sequence_length` is below 3, or `texts` is not of
            rank 1.

    Example:
    ```python
    inputs = encode(["how are you?", ""], bert_tokenizer, 16)
    ```
    """
    texts = tf.convert_to_tensor(texts, tf.string)
    if texts.shape.rank != 1:
        raise UsageError(
            f"`texts` must be of shape (batch,). Received: shape {texts.shape}"
        )
    if sequence_length < 3:
        raise UsageError(
            "`sequence_length` must be 3 or more, for [CLS], a token and "
            f"[SEP]. Received: sequence_length={sequence_length}"
        )
    return _encode(texts, tokenizer, sequence_length)


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
    return _tokenize(tf.convert_to_tensor(texts, tf.string), tokenizer)


def suitable_length(texts, tokenizer, longest: int = 512) -> int:
    """Finds a length of rows that holds 99 of 100 texts whole.

    Args:
        texts: string array of shape `(n,)`; 10,000 of them are looked at.
        tokenizer: what `tokenizer` returned.
        longest: what the model can take.

    Returns:
        A multiple of 8, with room for `[CLS]` and `[SEP]`; or `longest`.

    Example:
    ```python
    length = suitable_length(texts, bert_tokenizer)
    ```
    """
    chosen = np.random.default_rng(0).permutation(len(texts))[:10_000]
    pieces = tokenize(np.asarray(texts)[chosen], tokenizer)
    tokens = np.percentile(pieces.row_lengths().numpy(), 99) + 2
    return min(math.ceil(tokens / 8) * 8, longest)


# Within a graph KerasHub returns ragged tensors from one and the same path;
# outside, it goes through Python strings.
@tf.function(reduce_retracing=True)
def _tokenize(texts, tokenizer):
    texts = tf.strings.regex_replace(texts, _DROPPED, "")
    texts = tf.strings.regex_replace(texts, _SPACES, " ")
    return tf.cast(tokenizer(texts), tf.int32)


@tf.function(reduce_retracing=True)
def _encode(texts, tokenizer, sequence_length):
    tokens = _tokenize(texts, tokenizer)[:, : sequence_length - 2]
    return framed(tokens, tokenizer, sequence_length)


def framed(tokens, tokenizer, length) -> dict[str, tf.Tensor]:
    """Puts ids between `[CLS]` and `[SEP]` and pads them.

    Args:
        tokens: int32 ragged tensor of shape `(batch, (pieces))`, of at most
            `length - 2` pieces.
        tokenizer: what `tokenizer` returned.
        length: of a row, an integer or an int32 scalar.

    Returns:
        As of `encode`.
    """
    edge = tf.ones([tokens.nrows(), 1], tf.int32)
    tokens = tf.concat(
        [edge * tokenizer.cls_token_id, tokens, edge * tokenizer.sep_token_id],
        axis=1,
    )
    ids = _padded(tokens, tokenizer.pad_token_id, length)
    return {
        "token_ids": ids,
        "segment_ids": tf.zeros_like(ids),
        "padding_mask": _padded(tf.ones_like(tokens), 0, length),
    }


def _padded(tokens, value, length):
    """Dense rows of a length that a graph may only know when it runs."""
    rows = tokens.to_tensor(value)
    missing = length - tf.shape(rows)[1]
    rows = tf.pad(rows, [[0, 0], [0, missing]], constant_values=value)
    known = length if isinstance(length, int) else None
    return tf.ensure_shape(rows, [tokens.shape[0], known])
