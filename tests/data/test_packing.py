import time
import tracemalloc

import numpy as np
import pytest

from kbig.data import catalog
from kbig.data import packing
from kbig.data.packing import pack_documents
from kbig.data.packing import pack_texts
from kbig.errors import UsageError

IDS = {"cls_id": 2, "sep_id": 3, "pad_id": 0}


def test_rows_worked_out_by_hand():
    documents = [[[11, 12], [13]], [[14, 15, 16, 17, 18]], [[]], [[19]]]
    np.testing.assert_array_equal(
        pack_documents(documents, 6, **IDS),
        [
            [2, 11, 12, 3, 13, 3],
            [2, 14, 15, 16, 17, 3],
            [2, 18, 3, 19, 3, 0],
        ],
    )


def test_one_slot_is_padded_where_no_token_and_separator_fit():
    np.testing.assert_array_equal(
        pack_documents([[[11, 12], [13]]], 5, **IDS),
        [[2, 11, 12, 3, 0], [2, 13, 3, 0, 0]],
    )


@pytest.mark.parametrize("sequence_length", [3, 4, 17, 64])
def test_nothing_is_lost_doubled_or_moved(sequence_length):
    generator = np.random.default_rng(0)
    documents = [
        [
            generator.integers(10, 99, generator.integers(0, 40)).tolist()
            for _ in range(generator.integers(1, 6))
        ]
        for _ in range(30)
    ]
    rows = pack_documents(documents, sequence_length, **IDS)
    assert rows.shape[1] == sequence_length and rows.dtype == np.int32
    np.testing.assert_array_equal(
        rows[rows > 3], [t for d in documents for p in d for t in p]
    )
    np.testing.assert_array_equal(rows[:, 0], 2)
    assert np.all((rows[:-1] == 0).sum(axis=1) <= 1)
    last = (rows != 0).sum(axis=1) - 1
    np.testing.assert_array_equal(rows[np.arange(len(rows)), last], 3)


@pytest.mark.parametrize("together", [1, 50, 2**20])
def test_rows_in_a_file_are_those_in_memory(tmp_path, monkeypatch, together):
    generator = np.random.default_rng(0)
    documents = [
        [generator.integers(10, 99, size) for size in generator.poisson(9, 5)]
        for _ in range(40)
    ]
    in_memory = pack_documents(documents, 17, **IDS)
    monkeypatch.setattr(packing, "_TOGETHER", together)
    np.testing.assert_array_equal(
        pack_documents(iter(documents), 17, **IDS), in_memory
    )
    path = tmp_path / "rows.int32"
    path.write_text("an earlier one")
    rows = pack_documents(iter(documents), 17, **IDS, path=path)
    assert isinstance(rows, np.memmap) and not rows.flags.writeable
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows, in_memory)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_of_rows_is_whole_or_as_it_was(tmp_path):
    def broken():
        yield [[11, 12]]
        raise RuntimeError

    path = tmp_path / "rows.int32"
    path.write_text("an earlier one")
    with pytest.raises(RuntimeError):
        pack_documents(broken(), 8, **IDS, path=path)
    with pytest.raises(UsageError, match="hold tokens"):
        pack_documents([[[]]], 8, **IDS, path=path)
    assert path.read_text() == "an earlier one"
    assert list(tmp_path.iterdir()) == [path]


def peak_of_packing(count, **options):
    """MiB at most in use while `count` paragraphs of five are packed."""
    documents = ([np.arange(10, 15)] for _ in range(count))
    tracemalloc.start()
    rows = pack_documents(documents, 62, **IDS, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == -(-count // 10)  # 61 = 10 x (5 + [SEP]) + 1.
    return peak / 2**20


@pytest.mark.ci
def test_memory_of_packing(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_TOGETHER", 2**14)
    path = tmp_path / "rows.int32"
    short, long = (peak_of_packing(n, path=path) for n in (20_000, 100_000))
    assert path.stat().st_size == 10_000 * 62 * 4
    assert long < short + 0.2
    # The rows and their blocks, not an array a paragraph.
    assert peak_of_packing(100_000) < 2.5 * path.stat().st_size / 2**20


def test_a_million_tokens_fill_the_rows():
    documents = [[np.arange(100) + 10] * 100] * 100
    rows = pack_documents(documents, 128, **IDS)
    assert (rows > 3).sum() == 1_000_000
    assert (rows != 0).mean() > 0.99


def test_what_cannot_be_packed_is_rejected():
    with pytest.raises(UsageError, match="sequence_length=2"):
        pack_documents([[[5]]], 2, **IDS)
    with pytest.raises(UsageError, match="hold tokens"):
        pack_documents([[[]], []], 8, **IDS)


def test_texts_worked_out_by_hand():
    # Framed they take 5, 4, 3 and 4 of 8 slots; the second is split.
    rows = pack_texts([[11, 12, 13], [14, 15], [16], [17, 18]], 8, **IDS)
    assert {name: array.tolist() for name, array in rows.items()} == {
        "token_ids": [
            [2, 11, 12, 13, 3, 2, 16, 3],
            [2, 14, 15, 3, 2, 17, 18, 3],
        ],
        "segment_ids": [[0] * 8] * 2,
        "padding_mask": [[1] * 8] * 2,
        "text_ids": [[1, 1, 1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 2, 2, 2, 2]],
        "position_ids": [[0, 1, 2, 3, 4, 0, 1, 2], [0, 1, 2, 3] * 2],
    }


def test_long_texts_are_split_and_empty_ones_skipped():
    rows = pack_texts([[], [11, 12, 13, 14, 15], []], 5, **IDS)
    np.testing.assert_array_equal(
        rows["token_ids"], [[2, 11, 12, 13, 3], [2, 14, 15, 3, 0]]
    )
    np.testing.assert_array_equal(rows["padding_mask"][1], [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(rows["text_ids"][1], [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(rows["position_ids"][1], [0, 1, 2, 3, 0])


@pytest.mark.parametrize("sequence_length", [3, 17, 64])
def test_texts_are_whole_and_there_once(sequence_length):
    generator = np.random.default_rng(0)
    sizes = generator.integers(0, sequence_length - 1, 300)
    number = iter(range(10, 10**6))
    texts = [[next(number) for _ in range(size)] for size in sizes]
    rows = pack_texts(texts, sequence_length, **IDS)
    assert {array.dtype.name for array in rows.values()} == {"int32"}
    found = []
    for ids, text_ids, positions in zip(
        rows["token_ids"], rows["text_ids"], rows["position_ids"]
    ):
        for text in range(1, text_ids.max() + 1):
            framed = ids[text_ids == text].tolist()
            assert framed[0] == 2 and framed[-1] == 3
            assert positions[text_ids == text].tolist() == list(
                range(len(framed))
            )
            found.append(framed[1:-1])
        assert not ids[text_ids == 0].any()
        # In one piece each: the numbers rise, and padding comes last.
        assert set(np.diff(text_ids[text_ids > 0])) <= {0, 1}
        assert not np.any(np.diff(text_ids == 0) < 0)
    assert sorted(found) == sorted(filter(None, texts))


@pytest.mark.parametrize("sequence_length", [128, 512])
def test_austen_fills_the_rows(sequence_length):
    # Words stand for tokens.
    documents, _ = catalog.load("austen").arrays("train")
    paragraphs = "\n".join(documents).split("\n")
    texts = [np.ones(len(text.split()), np.int32) for text in paragraphs]
    rows = pack_texts(texts, sequence_length, **IDS)
    assert (rows["token_ids"] == 1).sum() == sum(map(len, texts))
    assert rows["padding_mask"].mean() >= 0.98


def test_a_hundred_thousand_texts_are_packed_quickly():
    generator = np.random.default_rng(0)
    texts = [
        np.ones(size, np.int32) for size in generator.geometric(0.02, 10**5)
    ]
    started = time.process_time()
    rows = pack_texts(texts, 128, **IDS)
    assert time.process_time() - started < 5
    assert rows["padding_mask"].mean() >= 0.99


def test_texts_that_cannot_be_packed_are_rejected():
    with pytest.raises(UsageError, match="sequence_length=2"):
        pack_texts([[5]], 2, **IDS)
    with pytest.raises(UsageError, match="hold tokens"):
        pack_texts([[], []], 8, **IDS)


def texts_of(groups):
    """Every text of packed rows, special tokens included, and its slots."""
    for rows in groups:
        for ids, numbers in zip(rows["token_ids"], rows["text_ids"]):
            for number in range(1, numbers.max() + 1):
                yield tuple(ids[numbers == number].tolist())


def test_texts_open_the_shortest_row_that_holds_them():
    texts = [[9] * 30, [8] * 14, [7] * 13, [6] * 6, [5] * 1]
    groups = packing.pack_by_length(texts, 32, shortest=8, **IDS)
    # 32 slots are full; 16 and 15 open rows of 16; 8 one of 8; and the text
    # of 3 has room nowhere.
    assert [rows["token_ids"].shape for rows in groups] == [
        (2, 8),
        (2, 16),
        (1, 32),
    ]
    assert sorted(texts_of(groups)) == sorted((2, *text, 3) for text in texts)


def test_short_texts_fill_what_long_ones_leave():
    # 20 of 32 slots, so 12 are left for a text of 8 and one of 4.
    texts = [[9] * 18, [8] * 6, [7] * 2]
    (rows,) = packing.pack_by_length(texts, 32, shortest=8, **IDS)
    assert rows["token_ids"].shape == (1, 32)
    assert rows["padding_mask"].sum() == 32
    assert rows["text_ids"][0].tolist() == [1] * 20 + [2] * 8 + [3] * 4


def test_several_lengths_lose_nothing_and_start_positions_anew():
    generator = np.random.default_rng(0)
    # Many short ones and a few long, as paragraphs are.
    texts = [
        generator.integers(5, 99, min(size, 254)).tolist()
        for size in generator.geometric(1 / 60, 500)
    ]
    groups = packing.pack_by_length(texts, 256, shortest=64, **IDS)
    assert [rows["token_ids"].shape[1] for rows in groups] == [64, 128, 256]
    assert sorted(texts_of(groups)) == sorted((2, *text, 3) for text in texts)
    for rows in groups:
        assert (rows["padding_mask"] == (rows["text_ids"] > 0)).all()
        begins = rows["token_ids"] == 2
        assert (rows["position_ids"][begins] == 0).all()
        steps = np.diff(rows["position_ids"], axis=1)
        same = np.diff(rows["text_ids"], axis=1) == 0
        real = rows["text_ids"][:, 1:] > 0
        assert (steps[same & real] == 1).all()
    one = packing.pack_texts(texts, 256, **IDS)
    slots = sum(rows["token_ids"].size for rows in groups)
    assert slots <= 1.02 * one["token_ids"].size
