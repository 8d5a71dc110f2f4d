"""WordPiece vocabularies: train, save, load, and encode within the graph."""

import collections
import math
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tokenizers

from kbig.data.reading import read_text
from kbig.errors import DataError
from kbig.errors import UsageError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_ALPHABET = 1000
# What Hugging Face's BertNormalizer drops, and what it takes for a space.
_DROPPED = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\p{Cf}\p{Co}\x{fffd}]"
_SPACES = r"[\p{Z}\t\n\r]"


def train_vocabulary(
    texts: Iterable[str], size: int, *, lowercase: bool = True
) -> tuple[str, ...]:
    """Trains a WordPiece vocabulary as BERT uses it.

    The same texts give the same vocabulary in every process.

    Args:
        texts: the texts to learn from.
        size: most tokens that the vocabulary may have; small texts give
            fewer. Half of it at most goes to single characters, the most
            frequent ones.
        lowercase: whether to lower the case and strip accents.

    Returns:
        The tokens, `SPECIAL_TOKENS` first.

    Raises:
        UsageError: if `size` leaves no room for characters, or the texts
            hold none.

    Example:
    ```python
    vocabulary = train_vocabulary(["low lower lowest"], 40)
    ```

    Reference:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805)
    """
    limit = min(_MAX_ALPHABET, (size - len(SPECIAL_TOKENS)) // 2)
    if limit < 1:
        raise UsageError(
            f"`size` must be {len(SPECIAL_TOKENS) + 2} or more: the special "
            f"tokens and one character, alone and within a word. Received: "
            f"size={size}"
        )
    texts = list(texts)
    characters = _frequent_characters(texts, limit, lowercase)
    if not characters:
        raise UsageError("`texts` must hold text. Received: no characters")
    # The trainer numbers the characters within words in random order, and
    # breaks ties between merges by number. So learn which there are first,
    # then fix their numbers by naming them as special tokens.
    tokens = _train(texts, 0, SPECIAL_TOKENS, characters, lowercase)
    alphabet = sorted(set(tokens) - set(SPECIAL_TOKENS))
    fixed = (*SPECIAL_TOKENS, *alphabet)
    return _train(texts, size, fixed, characters, lowercase)


def _train(texts, size, special_tokens, characters, lowercase):
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(unk_token="[UNK]")
    )
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=lowercase
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=list(special_tokens),
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    numbers = tokenizer.get_vocab()
    return tuple(sorted(numbers, key=numbers.get))


def _frequent_characters(texts, limit, lowercase):
    normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=lowercase
    )
    counts = collections.Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    ranked = sorted(counts, key=lambda c: (-counts[c], c))
    return [c for c in ranked if not c.isspace()][:limit]


def save_vocabulary(
    tokens: Sequence[str], path: str | os.PathLike
) -> pathlib.Path:
    """Writes a vocabulary as text, one token a line, in order of the ids.

    Args:
        tokens: the tokens.
        path: the file to write.

    Returns:
        The path of the file.
    """
    path = pathlib.Path(path)
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8", newline="\n")
    return path


def load_vocabulary(path: str | os.PathLike) -> tuple[str, ...]:
    """Reads a vocabulary and checks it.

    Args:
        path: a UTF-8 file with one token a line.

    Returns:
        The tokens in order of their ids.

    Raises:
        DataError: naming the line of an empty or repeated token, or the
            special token that is missing.

    Example:
    ```python
    save_vocabulary(vocabulary, "vocabulary.txt")
    vocabulary = load_vocabulary("vocabulary.txt")
    ```
    """
    path = pathlib.Path(path)
    text = read_text(path).replace("\r\n", "\n").removesuffix("\n")
    lines = {}
    for line, token in enumerate(text.split("\n"), start=1):
        if not token.strip():
            raise DataError(f"{path}, line {line}: the token is empty.")
        if token in lines:
            raise DataError(
                f"{path}, line {line}: the token {token!r} is on line "
                f"{lines[token]} already; every token must have one id."
            )
        lines[token] = line
    for token in SPECIAL_TOKENS:
        if token not in lines:
            raise DataError(
                f"{path} lacks the special token {token!r}; a vocabulary "
                f"must hold {', '.join(SPECIAL_TOKENS)}."
            )
    return tuple(lines)


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
