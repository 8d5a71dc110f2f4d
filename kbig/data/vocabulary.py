"""WordPiece vocabularies: train, save and load them."""

import collections
import hashlib
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tokenizers

from kbig.data.reading import read_text
from kbig.errors import DataError
from kbig.errors import UsageError
from kbig.writing import writing

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MOST_LETTERS = 1000
# What BERT takes for Chinese characters, each a word of its own.
_IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


def train_vocabulary(
    texts: Iterable[str],
    size: int,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
) -> tuple[str, ...]:
    """Trains a WordPiece vocabulary as BERT uses it.

    The same texts give the same vocabulary in every process. Chinese
    characters are words of their own, as in BERT.

    Args:
        texts: the texts to learn from. They are gone through three times
            and never held together, so what reads a corpus from files
            anew each time, such as `stream_documents`, may be larger than
            memory; an iterator, which cannot start anew, is held whole.
        size: most tokens that the vocabulary may have; small texts give
            fewer. The most frequent characters get a token first: half as
            many as that at most, and of the other half the share that
            Chinese characters have of the texts, since nothing is merged
            from them; and no more than 1000 that are not Chinese.
        lowercase: whether to lower the case.
        strip_accents: whether to strip accents; `None` is as `lowercase`.

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
    room = size - len(SPECIAL_TOKENS)
    if room < 2:
        raise UsageError(
            f"`size` must be {len(SPECIAL_TOKENS) + 2} or more: the special "
            f"tokens and one character, alone and within a word. Received: "
            f"size={size}"
        )
    if isinstance(texts, Iterator):
        texts = list(texts)
    normalizer = bert_normalizer(lowercase, strip_accents)
    characters = _alphabet(_counted(texts, normalizer), room)
    if not characters:
        raise UsageError("`texts` must hold text. Received: no characters")
    # The trainer numbers the characters within words in random order, and
    # breaks ties between merges by number. So learn which there are first,
    # then fix their numbers by naming them as special tokens.
    tokens = _train(texts, 0, SPECIAL_TOKENS, characters, normalizer)
    alphabet = sorted(set(tokens) - set(SPECIAL_TOKENS))
    fixed = (*SPECIAL_TOKENS, *alphabet)
    return _train(texts, size, fixed, characters, normalizer)


def bert_normalizer(lowercase: bool, strip_accents: bool | None):
    """What BERT does to a text before it splits words.

    Args:
        lowercase: whether to lower the case.
        strip_accents: whether to strip accents; `None` is as `lowercase`.
    """
    return tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase,
        strip_accents=lowercase if strip_accents is None else strip_accents,
    )


def _train(texts, size, special_tokens, characters, normalizer):
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizer
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


def _counted(texts, normalizer):
    counts = collections.Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    return {c: count for c, count in counts.items() if not c.isspace()}


def _alphabet(counts, room):
    """The most frequent characters.

    Letters may need two tokens, alone and within a word, Chinese ones one.
    """
    chinese = {c for c in counts if _is_ideograph(c)}
    share = sum(counts[c] for c in chinese) / max(1, sum(counts.values()))
    most = int(room * (1 + share) / 2)
    chosen, letters = [], 0
    for character in sorted(counts, key=lambda c: (-counts[c], c)):
        tokens = 1 if character in chinese else 2
        too_many = tokens == 2 and letters == _MOST_LETTERS
        if not too_many and len(chosen) < most and tokens <= room:
            chosen.append(character)
            letters += tokens - 1
            room -= tokens
    return chosen


def _is_ideograph(character):
    code = ord(character)
    return any(first <= code <= last for first, last in _IDEOGRAPHS)


def continuing_pieces(vocabulary: Sequence[str]) -> np.ndarray:
    """Tells which tokens continue a word, for masking of whole words.

    Args:
        vocabulary: the tokens in order of their ids.

    Returns:
        bool array of shape `(len(vocabulary),)`: which begin with `##`.

    Example:
    ```python
    continuing_pieces(("[UNK]", "low", "##er"))  # [False, False, True]
    ```
    """
    return np.array([token.startswith("##") for token in vocabulary], bool)


def save_vocabulary(
    tokens: Sequence[str], path: str | os.PathLike
) -> pathlib.Path:
    """Writes a vocabulary as text, one token a line, in order of the ids.

    Args:
        tokens: the tokens.
        path: the file to write.

    Returns:
        The path of the file.

    Raises:
        WriteError: there is no room, or no right to write.
    """
    path = pathlib.Path(path)
    text = "\n".join(tokens) + "\n"
    with writing(path):
        path.write_text(text, encoding="utf-8", newline="\n")
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


def fingerprint(vocabulary: Sequence[str]) -> str:
    """Computes what tells one vocabulary from another.

    Args:
        vocabulary: the tokens in order of their ids.

    Returns:
        The SHA-256 of the tokens, one a line, in hexadecimal digits.

    Example:
    ```python
    fingerprint(load_vocabulary("vocabulary.txt"))
    ```
    """
    text = "".join(f"{token}\n" for token in vocabulary)
    return hashlib.sha256(text.encode()).hexdigest()
