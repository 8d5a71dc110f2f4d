import numpy as np
import pytest

from kbig.data.packing import pack_documents
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
