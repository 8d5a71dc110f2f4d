"""Words of texts that a vocabulary breaks into pieces."""

import collections
import dataclasses
from collections.abc import Iterable
from collections.abc import Sequence

import tokenizers

from kbig.data.vocabulary import bert_normalizer


@dataclasses.dataclass(frozen=True)
class BrokenWords:
    """Words of which a vocabulary has only pieces.

    Args:
        words: that occur twice or more, the most frequent ones first.
        pieces: ids of the pieces of each.
        share: of all words of the texts, each time that one occurs, that are
            broken up, 0 to 1.
    """

    words: tuple[str, ...]
    pieces: tuple[tuple[int, ...], ...]
    share: float


def broken_words(
    texts: Iterable[str],
    vocabulary: Sequence[str],
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
) -> BrokenWords:
    """Finds the words of texts that a vocabulary breaks into pieces.

    Args:
        texts: strings.
        vocabulary: of WordPiece, in order of the ids, with `[UNK]`.
        lowercase: whether its tokenizer lowers the case.
        strip_accents: whether it strips accents; `None` is as `lowercase`.

    Returns:
        The words, their pieces, and how much of the texts they are.

    Example:
    ```python
    found = broken_words(["lower, lower", "low"], ("[UNK]", "low", "##er"))
    found.words, found.pieces  # ("lower",), ((1, 2),)
    ```
    """
    normalizer = bert_normalizer(lowercase, strip_accents)
    splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
    counts = collections.Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(
            normalizer.normalize_str(str(text))
        )
    )
    known = set(vocabulary)
    broken = {w: n for w, n in counts.items() if w not in known}
    words = sorted(
        (w for w, n in broken.items() if n > 1), key=lambda w: (-broken[w], w)
    )
    model = tokenizers.models.WordPiece(
        {token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"
    )
    pieces = (tuple(t.id for t in model.tokenize(word)) for word in words)
    share = sum(broken.values()) / max(1, counts.total())
    return BrokenWords(tuple(words), tuple(pieces), share)
