"""WordPiece vocabularies: train, save and load them."""

import collections
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

import tokenizers

from kbig.data.reading import read_text
from kbig.errors import DataError
from kbig.errors import UsageError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_MAX_ALPHABET = 1000


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
