import itertools

import numpy as np
import pytest

from kbig.data.pairs import sentence_pairs
from kbig.errors import UsageError

CLS, SEP, PAD = 2, 3, 0
IDS = {"cls_id": CLS, "sep_id": SEP, "pad_id": PAD}
LENGTH = 32


def make_documents(count=200, sentences=12, seed=0):
    """Every token is one of a kind, so its place in the text is known."""
    generator = np.random.default_rng(seed)
    number = itertools.count(10)
    return [
        [
            [next(number) for _ in range(generator.integers(1, 15))]
            for _ in range(sentences)
        ]
        for _ in range(count)
    ]


def segments(rows):
    """Both segments of each row, after a look at the frame."""
    for ids, kinds in zip(rows["token_ids"], rows["segment_ids"]):
        first, last = np.flatnonzero(ids == SEP)
        assert ids[0] == CLS and not ids[last + 1 :].any()
        np.testing.assert_array_equal(kinds[: first + 1], 0)
        np.testing.assert_array_equal(kinds[first + 1 : last + 1], 1)
        np.testing.assert_array_equal(kinds[last + 1 :], 0)
        yield ids[1:first], ids[first + 1 : last]


def document_of(documents):
    return {
        token: number
        for number, document in enumerate(documents)
        for sentence in document
        for token in sentence
    }


@pytest.fixture(scope="module", params=["nsp", "sop"])
def made(request):
    documents = make_documents()
    rows = sentence_pairs(
        documents, LENGTH, objective=request.param, seed=3, **IDS
    )
    return request.param, documents, rows


def test_half_of_the_labels_are_one(made):
    _, _, rows = made
    count = len(rows["labels"])
    assert count > 500 and set(rows["labels"]) == {0, 1}
    assert abs(rows["labels"].sum() - count / 2) < 5 * np.sqrt(count / 4)


def test_segments_follow_are_swapped_or_come_from_another_document(made):
    objective, documents, rows = made
    home = document_of(documents)
    gaps = []
    for (a, b), label in zip(segments(rows), rows["labels"]):
        assert len(a) and len(b) and len(a) + len(b) <= LENGTH - 3
        for segment in (a, b):
            np.testing.assert_array_equal(np.diff(segment), 1)
        if objective == "nsp" and label:
            assert home[a[0]] != home[b[0]]
            continue
        first, second = (b, a) if label else (a, b)
        assert home[a[0]] == home[b[0]] and first[-1] < second[0]
        gaps.append((second[0] - first[-1], len(a) + len(b) == LENGTH - 3))
    # Where nothing had to be cut off, the second begins where the first ends.
    assert {gap for gap, is_full in gaps if not is_full} == {1}
    assert np.mean([gap == 1 for gap, _ in gaps]) > 0.4


def test_all_text_but_what_is_cut_off_is_used(made):
    _, documents, rows = made
    ordinary = rows["token_ids"][rows["token_ids"] > SEP]
    used = len(np.unique(ordinary)) / len(document_of(documents))
    assert used > 0.8
    # Nine in ten rows were meant to be full.
    assert (rows["token_ids"] != PAD).mean() > 0.8


def test_random_segments_come_from_all_documents():
    documents = make_documents(6, 300)
    rows = sentence_pairs(documents, LENGTH, seed=1, **IDS)
    home = document_of(documents)
    chosen = [
        home[b[0]]
        for (_, b), label in zip(segments(rows), rows["labels"])
        if label
    ]
    counts = np.bincount(chosen, minlength=6)
    expected = len(chosen) / 6
    assert np.all(abs(counts - expected) < 5 * np.sqrt(expected))


def test_long_paragraphs_are_split_and_a_single_one_is_cut():
    documents = [[list(range(10, 110))], [list(range(200, 206))]]
    rows = sentence_pairs(
        documents,
        13,
        objective="sop",
        short_sequence_probability=0,
        **IDS,
    )
    # Ten tokens a row, of pieces of five; the last row has six, cut in two.
    assert rows["token_ids"].shape == (11, 13)
    last = sorted(map(len, next(itertools.islice(segments(rows), 10, None))))
    assert last in ([1, 5], [3, 3])
    ordinary = rows["token_ids"][rows["token_ids"] > SEP]
    assert set(ordinary) == {*range(10, 110), *range(200, 206)}


@pytest.mark.parametrize(
    "lengths, expected", [((9, 3), (5, 3)), ((8, 8), (4, 4)), ((3, 7), (3, 5))]
)
def test_the_longer_segment_loses_tokens(lengths, expected):
    from kbig.data.pairs import _truncated

    generator = np.random.default_rng(0)
    a, b = (np.arange(length) for length in lengths)
    fronts = set()
    for _ in range(50):
        shorter = _truncated(a, b, 8, generator)
        assert tuple(map(len, shorter)) == expected
        for segment in shorter:
            np.testing.assert_array_equal(np.diff(segment), 1)
        fronts.add(tuple(int(segment[0]) for segment in shorter))
    assert len(fronts) > 2


def test_rows_are_a_function_of_the_seed():
    documents = make_documents(20)
    first, again, other = (
        sentence_pairs(documents, LENGTH, seed=seed, **IDS)
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first["token_ids"], again["token_ids"])
    assert first["token_ids"].tolist() != other["token_ids"].tolist()


@pytest.mark.parametrize(
    "documents, options, message",
    [
        ([[[7, 8]], [[9, 9]]], {"objective": "mlm"}, "objective='mlm'"),
        ([[[7, 8]], [[9, 9]]], {"sequence_length": 4}, "sequence_length=4"),
        ([[[7, 8]], [[]]], {}, "two or more .*Received: 1"),
        ([[[7]], [[8]]], {}, "two tokens"),
        (
            [[[7, 8]], [[9]]],
            {"short_sequence_probability": 2},
            "short_sequence_probability=2",
        ),
    ],
)
def test_what_makes_no_pairs_is_rejected(documents, options, message):
    arguments = {"sequence_length": 16, **IDS, **options}
    with pytest.raises(UsageError, match=message):
        sentence_pairs(documents, **arguments)
