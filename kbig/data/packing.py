"""Full rows of tokens for pretraining."""

from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError


def pack_documents(
    documents: Iterable[Iterable[Sequence[int]]],
    sequence_length: int,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
) -> np.ndarray:
    """Packs paragraphs into rows `[CLS] paragraph [SEP] paragraph [SEP] ...`.

    Paragraphs follow each other in order, from one document to the next. One
    that does not fit into what is left of a row is split and continued in
    the next row. A row has one slot of padding at most, but for the last.

    Args:
        documents: the paragraphs of each document, each a sequence of token
            ids without special tokens; empty ones are skipped.
        sequence_length: tokens of a row.
        cls_id: id of `[CLS]`.
        sep_id: id of `[SEP]`.
        pad_id: id of padding.

    Returns:
        int32 array of shape `(rows, sequence_length)`.

    Raises:
        UsageError: if `sequence_length` is below 3, or there is no token.

    Example:
    ```python
    pack_documents([[[7, 8], [9]]], 6, cls_id=2, sep_id=3, pad_id=0)
    # [[2, 7, 8, 3, 9, 3]]
    ```
    """
    if sequence_length < 3:
        raise UsageError(
            "`sequence_length` must be 3 or more, for [CLS], a token and "
            f"[SEP]. Received: sequence_length={sequence_length}"
        )
    cls = np.array([cls_id], np.int32)
    sep = np.array([sep_id], np.int32)
    parts, used = [], sequence_length
    for paragraph in _paragraphs(documents):
        begin = 0
        while begin < len(paragraph):
            if used > sequence_length - 2:
                parts.append(np.full(sequence_length - used, pad_id, np.int32))
                parts.append(cls)
                used = 1
            piece = paragraph[begin : begin + sequence_length - used - 1]
            parts += [piece, sep]
            begin += len(piece)
            used += len(piece) + 1
    if not parts:
        raise UsageError("`documents` must hold tokens. Received: none")
    parts.append(np.full(sequence_length - used, pad_id, np.int32))
    return np.concatenate(parts).reshape(-1, sequence_length)


def _paragraphs(documents):
    for document in documents:
        for paragraph in document:
            yield np.asarray(paragraph, np.int32)
