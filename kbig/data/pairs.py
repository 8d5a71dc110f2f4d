"""Pairs of segments: does the second follow, or were they swapped?"""

from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError

OBJECTIVES = ("nsp", "sop")


def sentence_pairs(
    documents: Sequence[Sequence[Sequence[int]]],
    sequence_length: int,
    *,
    objective: str = "nsp",
    seed: int = 0,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    short_sequence_probability: float = 0.1,
) -> dict[str, np.ndarray]:
    """Makes rows `[CLS] a [SEP] b [SEP]` for next-sentence prediction.

    As in BERT's own data: sentences of a document are gathered until they
    fill a row, now and then a shorter one, and are cut at random between two
    of them into a and b. With `"nsp"` half of the rows take their b from a
    random place of another document, and what was gathered for b is used
    again. With `"sop"` half of them swap a and b. Pairs that are too long
    lose tokens of the longer one, from its beginning or end.

    Two things differ, so that paragraphs may stand for sentences: a sentence
    longer than half a row is split beforehand, and a row gathered from a
    single sentence is cut within it, where BERT always makes such a row a
    random pair.

    Documents and rows are held in memory.

    Args:
        documents: the sentences or paragraphs of each document, each a
            sequence of token ids without special tokens.
        sequence_length: tokens of a row.
        objective: `"nsp"` (Devlin et al.) or `"sop"`, sentence order (Lan
            et al.).
        seed: of every draw.
        cls_id: id of `[CLS]`.
        sep_id: id of `[SEP]`.
        pad_id: id of padding.
        short_sequence_probability: share of the rows that are to be shorter,
            of any length.

    Returns:
        int32 arrays: `token_ids` and `segment_ids` (0 up to the first
        `[SEP]`, 1 up to the second, 0 for padding) of shape `(rows,
        sequence_length)`, and `labels` `(rows,)`: 0 where b follows a, 1
        where it is random or they were swapped.

    Raises:
        UsageError: if the objective is unknown, `sequence_length` below 5,
            the probability not in [0, 1], there is no document of two
            tokens, or for `"nsp"` no second document.

    Example:
    ```python
    rows = sentence_pairs(
        [[[7, 8], [9]], [[6], [5]]], 8, cls_id=2, sep_id=3, pad_id=0
    )
    ```

    Reference:
        - [Devlin et al., 2018](https://arxiv.org/abs/1810.04805), A.2
        - [Lan et al., 2020](https://arxiv.org/abs/1909.11942), 3.1
    """
    _check(objective, sequence_length, short_sequence_probability)
    longest = sequence_length - 3
    documents = [_pieces(document, longest // 2) for document in documents]
    documents = [document for document in documents if document]
    if not documents or (objective == "nsp" and len(documents) < 2):
        raise UsageError(
            "`documents` must hold tokens, and for next-sentence pairs there "
            f"must be two or more that do. Received: {len(documents)}"
        )
    generator = np.random.default_rng(seed)
    pairs = []
    for number in range(len(documents)):
        lengths = _target_lengths(
            generator, longest, short_sequence_probability
        )
        pairs += _MAKERS[objective](documents, number, lengths, generator)
    if not pairs:
        raise UsageError(
            "`documents` must hold two tokens in a row. Received: none"
        )
    pairs = [(*_truncated(a, b, longest, generator), y) for a, b, y in pairs]
    return _framed(pairs, sequence_length, cls_id, sep_id, pad_id)


def _next_sentence(documents, number, lengths, generator):
    """Pairs of one document; half of the second segments are random."""
    document, begin = documents[number], 0
    while begin < len(document):
        target = next(lengths)
        end = _gathered(document, begin, target)
        if end - begin < 2:
            return
        cut = generator.integers(begin + 1, end)
        a = np.concatenate(document[begin:cut])
        if generator.random() < 0.5:
            b = _of_another(documents, number, target - len(a), generator)
            yield a, b, 1
            begin = cut
        else:
            yield a, np.concatenate(document[cut:end]), 0
            begin = end


def _sentence_order(documents, number, lengths, generator):
    """Pairs of one document; half of them are swapped."""
    document, begin = documents[number], 0
    while begin < len(document):
        end = _gathered(document, begin, next(lengths))
        if end - begin < 2:
            return
        cut = generator.integers(begin + 1, end)
        a = np.concatenate(document[begin:cut])
        b = np.concatenate(document[cut:end])
        yield (b, a, 1) if generator.random() < 0.5 else (a, b, 0)
        begin = end


_MAKERS = {"nsp": _next_sentence, "sop": _sentence_order}


def _check(objective, sequence_length, short_sequence_probability):
    if objective not in OBJECTIVES:
        raise UsageError(
            f"`objective` must be one of {', '.join(OBJECTIVES)}. Received: "
            f"objective={objective!r}"
        )
    if sequence_length < 5:
        raise UsageError(
            "`sequence_length` must be 5 or more, for [CLS], two tokens and "
            f"two [SEP]. Received: sequence_length={sequence_length}"
        )
    if not 0 <= short_sequence_probability <= 1:
        raise UsageError(
            "`short_sequence_probability` must be in [0, 1]. Received: "
            f"short_sequence_probability={short_sequence_probability}"
        )


def _pieces(document, longest):
    return [
        np.asarray(sentence[begin : begin + longest], np.int32)
        for sentence in document
        for begin in range(0, len(sentence), longest)
    ]


def _target_lengths(generator, longest, short_sequence_probability):
    while True:
        short = generator.random() < short_sequence_probability
        yield generator.integers(2, longest + 1) if short else longest


def _gathered(document, begin, target):
    """The end of the pieces from `begin` on that reach the target.

    A single piece becomes two; only one of a single token stays alone.
    """
    end = _reached(document, begin, target)
    if end - begin == 1 and len(document[begin]) > 1:
        middle = len(document[begin]) // 2
        halves = document[begin][:middle], document[begin][middle:]
        document[begin:end] = halves
        end += 1
    return end


def _reached(document, begin, target):
    end, tokens = begin, 0
    while end < len(document) and tokens < target:
        tokens += len(document[end])
        end += 1
    return end


def _of_another(documents, number, target, generator):
    """Tokens from a random place of a document other than this one."""
    other = generator.integers(len(documents) - 1)
    other = documents[other + (other >= number)]
    begin = generator.integers(len(other))
    end = _reached(other, begin, max(1, target))
    return np.concatenate(other[begin:end])


def _truncated(a, b, longest, generator):
    """Drops tokens of the longer one, each from a random side of it."""
    excess = len(a) + len(b) - longest
    if excess <= 0:
        return a, b
    more = min(excess, abs(len(a) - len(b)))
    from_a = (excess - more) // 2 + (more if len(a) > len(b) else 0)
    from_b = excess - from_a
    return _shortened(a, from_a, generator), _shortened(b, from_b, generator)


def _shortened(tokens, count, generator):
    front = generator.binomial(count, 0.5)
    return tokens[front : len(tokens) - (count - front)]


def _framed(pairs, sequence_length, cls_id, sep_id, pad_id):
    shape = (len(pairs), sequence_length)
    token_ids = np.full(shape, pad_id, np.int32)
    segment_ids = np.zeros(shape, np.int32)
    token_ids[:, 0] = cls_id
    for row, (a, b, _) in enumerate(pairs):
        first, last = len(a) + 1, len(a) + len(b) + 2
        token_ids[row, 1:first] = a
        token_ids[row, first + 1 : last] = b
        token_ids[row, [first, last]] = sep_id
        segment_ids[row, first + 1 : last + 1] = 1
    labels = np.array([label for *_, label in pairs], np.int32)
    return {
        "token_ids": token_ids,
        "segment_ids": segment_ids,
        "labels": labels,
    }
