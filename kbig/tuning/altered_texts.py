"""New texts out of old ones, for a teacher to label."""

import re
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError

# A CJK character is a word of its own, as it is for BERT.
_WORD = re.compile(
    r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
    r"|[^\s\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


def altered_texts(
    texts: Sequence[str], copies: int, *, drop: float = 0.1, seed: int = 0
) -> np.ndarray:
    """Makes altered copies of texts.

    Each copy loses words at random, and every second one, chosen at random,
    ends as another text does. What they mean only a teacher can say: their
    labels are its logits. A student that sees no more texts than its teacher
    learns little but the labels, which the teacher knows by heart.

    Args:
        texts: `(n,)`, or `(n, 2)` for pairs, whose texts are altered one by
            one.
        copies: how many of each text.
        drop: the chance of each word to be left out, below 1; one word
            always stays.
        seed: of all choices.

    Returns:
        Object array of `str`, `(copies * n,)` or `(copies * n, 2)`.

    Raises:
        UsageError: no texts, or an argument out of its range.

    Example:
    ```python
    new = altered_texts(["a small furry beast", "a tall green tree"], 3)
    ```

    Reference:
     - [Tang et al., 2019](https://arxiv.org/abs/1903.12136)
     - [Beyer et al., 2021](https://arxiv.org/abs/2106.05237): a student
       must see much, and what its teacher sees
    """
    if not len(texts) or copies < 0 or not 0 <= drop < 1:
        raise UsageError(
            "There must be texts, `copies` not below 0, and `drop` from 0 to "
            f"below 1. Received: {len(texts)} texts, copies={copies}, "
            f"drop={drop}"
        )
    texts = np.asarray(texts, object)
    generator = np.random.default_rng(seed)
    columns = texts[:, None] if texts.ndim == 1 else texts
    altered = [
        _altered(column, copies, drop, generator) for column in columns.T
    ]
    return np.stack(altered, axis=-1).reshape(-1, *texts.shape[1:])


def _altered(texts, copies, drop, generator) -> np.ndarray:
    words = [_WORD.findall(text) for text in texts]
    rows = np.tile(np.arange(len(texts)), copies)
    others = generator.integers(len(texts), size=len(rows))
    joins = generator.random(len(rows)) < 0.5
    cuts = generator.random((2, len(rows)))
    altered = np.empty(len(rows), object)
    for i, (row, other, join) in enumerate(zip(rows, others, joins)):
        chosen = words[row]
        if join:
            chosen = _begin(chosen, cuts[0, i]) + _end(words[other], cuts[1, i])
        altered[i] = " ".join(_thinned(chosen, drop, generator))
    return altered


def _begin(words, share):
    return words[: round(share * len(words))]


def _end(words, share):
    # One word at least, for the beginning may be empty.
    return words[min(round(share * len(words)), len(words) - 1) :]


def _thinned(words, drop, generator):
    if not words:
        return words
    kept = generator.random(len(words)) >= drop
    kept[generator.integers(len(words))] = True
    return [word for word, stays in zip(words, kept) if stays]
