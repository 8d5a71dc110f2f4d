"""Full rows of tokens for pretraining."""

import itertools
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError

_TOGETHER = 2**20  # Slots of rows that are made at once.


def pack_documents(
    documents: Iterable[Iterable[Sequence[int]]],
    sequence_length: int,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    path: str | os.PathLike | None = None,
) -> np.ndarray:
    """Packs paragraphs into rows `[CLS] paragraph [SEP] paragraph [SEP] ...`.

    Paragraphs follow each other in order, from one document to the next. One
    that does not fit into what is left of a row is split and continued in
    the next row. A row has one slot of padding at most, but for the last.

    Documents are read as they are needed. With `path` the rows never are in
    memory together, so that neither corpus nor rows need to fit into it.

    Args:
        documents: the paragraphs of each document, each a sequence of token
            ids without special tokens; empty ones are skipped.
        sequence_length: tokens of a row.
        cls_id: id of `[CLS]`.
        sep_id: id of `[SEP]`.
        pad_id: id of padding.
        path: a file for the rows, written aside and then put in place of
            what is there; `None` keeps them in memory.

    Returns:
        int32 array of shape `(rows, sequence_length)`; with `path` a
        read-only `np.memmap` of it, which `masked_batches` reads from.

    Raises:
        UsageError: if `sequence_length` is below 3, or there is no token.

    Example:
    ```python
    pack_documents([[[7, 8], [9]]], 6, cls_id=2, sep_id=3, pad_id=0)
    # [[2, 7, 8, 3, 9, 3]]
    ```
    """
    _check_length(sequence_length)
    blocks = _blocks(documents, sequence_length, cls_id, sep_id, pad_id)
    first = next(blocks, None)
    if first is None:
        raise UsageError("`documents` must hold tokens. Received: none")
    blocks = itertools.chain([first], blocks)
    if path is None:
        return np.concatenate(list(blocks))
    _write(blocks, pathlib.Path(path))
    rows = np.memmap(path, np.int32, mode="r")
    return rows.reshape(-1, sequence_length)


def pack_texts(
    texts: Iterable[Sequence[int]],
    sequence_length: int,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
) -> dict[str, np.ndarray]:
    """Packs several texts `[CLS] text [SEP]` into each row.

    A model that `kbig.models.packed` returns treats each text as if it were
    alone. The longest texts are placed first, each where it leaves least
    room; longer ones than a row holds are split. The same texts give the
    same rows. Texts and rows are held in memory.

    Args:
        texts: token ids without special tokens; empty ones are skipped.
        sequence_length: tokens of a row.
        cls_id: id of `[CLS]`.
        sep_id: id of `[SEP]`.
        pad_id: id of padding.

    Returns:
        int32 arrays of shape `(rows, sequence_length)`: `token_ids`;
        `segment_ids`, all 0; `padding_mask`, 1 for tokens, so that its mean
        is the share of the slots in use; `text_ids`, the number of the text
        within the row from 1 on, 0 for padding; and `position_ids`, which
        start at 0 in each text and are 0 for padding.

    Raises:
        UsageError: if `sequence_length` is below 3, or there is no token.

    Example:
    ```python
    rows = pack_texts([[7, 8], [9]], 8, cls_id=2, sep_id=3, pad_id=0)
    rows["token_ids"]  # [[2, 7, 8, 3, 2, 9, 3, 0]]
    rows["text_ids"]  # [[1, 1, 1, 1, 2, 2, 2, 0]]
    ```

    Reference:
        - [Krell et al., 2021](https://arxiv.org/abs/2107.02027)
    """
    (rows,) = _packed(texts, (sequence_length,), cls_id, sep_id, pad_id)
    return rows


def pack_by_length(
    texts: Iterable[Sequence[int]],
    sequence_length: int,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    shortest: int = 128,
) -> tuple[dict[str, np.ndarray], ...]:
    """Packs texts as `pack_texts` does, into rows of several lengths.

    Attention costs a token as much as its row is long. So a text that fits
    into half a row, or into half of that, opens only so short a row; and it
    still fills what longer texts leave of theirs.

    Args:
        texts: see `pack_texts`.
        sequence_length: tokens of the longest rows.
        cls_id: see `pack_texts`.
        sep_id: see `pack_texts`.
        pad_id: see `pack_texts`.
        shortest: no rows are shorter, unless `sequence_length` is.

    Returns:
        What `pack_texts` returns, once for each length that there are rows
        of, the shortest first.

    Raises:
        UsageError: see `pack_texts`.

    Example:
    ```python
    groups = pack_by_length(texts, 512, cls_id=2, sep_id=3, pad_id=0)
    batches = mixed_batches(groups, 8, ...)
    ```
    """
    lengths = [sequence_length]
    while lengths[-1] % 2 == 0 and lengths[-1] // 2 >= shortest:
        lengths.append(lengths[-1] // 2)
    return _packed(texts, lengths[::-1], cls_id, sep_id, pad_id)


def _packed(texts, lengths, cls_id, sep_id, pad_id):
    """Rows of each of the lengths, which rise, that has any."""
    _check_length(lengths[-1])
    texts = list(_split(texts, lengths[-1] - 2))
    if not texts:
        raise UsageError("`texts` must hold tokens. Received: none")
    sizes = np.array([len(text) + 2 for text in texts])
    row, number, start, length_of_row = _placed(sizes, lengths)
    groups = []
    for length in lengths:
        own = np.flatnonzero(length_of_row[row] == length)
        if not len(own):
            continue
        numbered = np.unique(row[own], return_inverse=True)[1]
        groups.append(
            _filled_rows(
                np.concatenate([texts[i] for i in own]),
                (sizes[own], numbered, number[own], start[own]),
                length,
                (cls_id, sep_id, pad_id),
            )
        )
    return tuple(groups)


def _filled_rows(tokens, places, length, special):
    """Writes texts, one after the other in `tokens`, to where they belong."""
    sizes, row, number, start = places
    cls_id, sep_id, pad_id = special
    shape = (row.max() + 1, length)
    within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    firsts = row * length + start
    slots = np.repeat(firsts, sizes) + within
    inner = np.ones(len(slots), bool)
    inner[np.cumsum(sizes) - 1] = inner[np.cumsum(sizes) - sizes] = False
    token_ids = np.full(shape, pad_id, np.int32)
    token_ids.flat[slots[inner]] = tokens
    token_ids.flat[firsts] = cls_id
    token_ids.flat[firsts + sizes - 1] = sep_id
    text_ids, position_ids = np.zeros((2, *shape), np.int32)
    text_ids.flat[slots] = np.repeat(number, sizes)
    position_ids.flat[slots] = within
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros(shape, np.int32),
        "padding_mask": (text_ids > 0).astype(np.int32),
        "text_ids": text_ids,
        "position_ids": position_ids,
    }


def _blocks(documents, sequence_length, cls_id, sep_id, pad_id):
    """The rows in order, so many at a time that they are `_TOGETHER` slots."""
    cls, sep = (np.array([index], np.int32) for index in (cls_id, sep_id))
    padding = np.full(sequence_length, pad_id, np.int32)
    parts, rows, used = [], 0, sequence_length
    for paragraph in _paragraphs(documents):
        begin = 0
        while begin < len(paragraph):
            if used > sequence_length - 2:
                parts.append(padding[used:])
                if rows * sequence_length >= _TOGETHER:
                    yield np.concatenate(parts).reshape(rows, -1)
                    parts, rows = [], 0
                parts.append(cls)
                rows, used = rows + 1, 1
            piece = paragraph[begin : begin + sequence_length - used - 1]
            parts += [piece, sep]
            begin += len(piece)
            used += len(piece) + 1
    if rows:
        parts.append(padding[used:])
        yield np.concatenate(parts).reshape(rows, -1)


def _write(blocks, path):
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as file:
            for block in blocks:
                file.write(block)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _placed(sizes, lengths):
    """Row, number within it from 1 on, and first slot of each text.

    And the length of each row: the shortest that holds the text that opened
    it.
    """
    row, number, start = np.zeros((3, len(sizes)), np.int64)
    capacities = np.array(lengths)[np.searchsorted(lengths, sizes)].tolist()
    # Rows by the room left in them; the set bits of `rooms` tell which of
    # the lists are not empty.
    by_room, rooms = [[] for _ in range(lengths[-1] + 1)], 0
    filled, length_of_row = [], []
    for text in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[text])
        enough = rooms >> size << size
        if enough:
            room = (enough & -enough).bit_length() - 1
            place = by_room[room].pop()
            rooms ^= (not by_room[room]) << room
        else:
            room, place = capacities[text], len(filled)
            filled.append(0)
            length_of_row.append(room)
        filled[place] += 1
        row[text], number[text] = place, filled[place]
        start[text] = length_of_row[place] - room
        by_room[room - size].append(place)
        rooms |= 1 << (room - size)
    return row, number, start, np.array(length_of_row)


def _split(texts, longest):
    for text in texts:
        text = np.asarray(text, np.int32)
        for begin in range(0, len(text), longest):
            yield text[begin : begin + longest]


def _check_length(sequence_length):
    if sequence_length < 3:
        raise UsageError(
            "`sequence_length` must be 3 or more, for [CLS], a token and "
            f"[SEP]. Received: sequence_length={sequence_length}"
        )


def _paragraphs(documents):
    for document in documents:
        for paragraph in document:
            yield np.asarray(paragraph, np.int32)
