import collections

import numpy as np
import pytest

from kbig.data import mask_choice
from kbig.data import masking

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = (PAD, UNK, CLS, SEP, MASK)
VOCABULARY = 1000
OPTIONS = {
    "vocabulary_size": VOCABULARY,
    "mask_id": MASK,
    "special_ids": SPECIAL,
}


def make_rows(count, length, padding=0, seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.integers(5, VOCABULARY, (count, length)).astype("int32")
    rows[:, 0] = CLS
    rows[:, length - 1 - padding] = SEP
    rows[:, length - padding :] = PAD
    return rows


def mask(rows, seed=(0, 0), **options):
    masked = masking.mask_tokens(rows, seed=seed, **OPTIONS | options)
    return {name: value.numpy() for name, value in masked.items()}


def within(successes, trials, probability):
    """Five standard deviations of a binomial."""
    deviation = np.sqrt(trials * probability * (1 - probability))
    return abs(successes - trials * probability) < 5 * deviation


CONTINUES = np.arange(VOCABULARY) >= 600


def make_words(count, length, sizes, seed=0):
    """Rows of words of the given sizes, drawn at random, special at the ends.

    Returns the rows and the number of the word at each position, -1 for
    special tokens.
    """
    generator = np.random.default_rng(seed)
    rows = np.full((count, length), PAD, "int32")
    words = np.full((count, length), -1)
    for row, word in zip(rows, words):
        row[0], position, number = CLS, 1, 0
        while True:
            size = generator.choice(sizes)
            if position + size > length - 1:
                break
            row[position] = generator.integers(5, 600)
            row[position + 1 : position + size] = generator.integers(
                600, VOCABULARY, size - 1
            )
            word[position : position + size] = number
            position, number = position + size, number + 1
        row[position] = SEP
    return rows, words


def chosen_of(masked, shape):
    chosen = np.zeros(shape, bool)
    row, column = np.nonzero(masked["mask_weights"])
    chosen[row, masked["mask_positions"][row, column]] = True
    return chosen


@pytest.mark.parametrize("masking_of", ["whole-word", "span"])
def test_words_are_hidden_whole_or_not_at_all(masking_of):
    rows, words = make_words(400, 64, (1, 1, 1, 2, 3, 4))
    masked = mask(
        rows, masking=masking_of, continues=CONTINUES, max_predictions=20
    )
    chosen = chosen_of(masked, rows.shape)
    assert not np.any(chosen & np.isin(rows, SPECIAL))
    for row in range(len(rows)):
        hidden = set(words[row][chosen[row]])
        np.testing.assert_array_equal(
            np.isin(words[row], list(hidden)), chosen[row]
        )
    budget = np.round((words >= 0).sum(axis=1) * 0.15)
    left = budget - chosen.sum(axis=1)
    # Words of one token fill what others leave, but for a few rows.
    assert left.min() >= 0 and left.mean() < 0.1


@pytest.mark.parametrize("masking_of", ["whole-word", "span"])
def test_a_word_is_cut_only_where_every_word_is_too_long(masking_of):
    rows, words = make_words(200, 32, (10,))  # Three words, budget 4 or 5.
    masked = mask(
        rows, masking=masking_of, continues=CONTINUES, max_predictions=8
    )
    budget = np.round((words >= 0).sum(axis=1) * 0.15)
    np.testing.assert_array_equal(masked["mask_weights"].sum(axis=1), budget)
    starts = masked["mask_positions"][:, 0]
    assert set(starts) == {1, 11, 21}
    np.testing.assert_array_equal(masked["mask_positions"][:, 1], starts + 1)


@pytest.mark.parametrize("masking_of", ["token", "whole-word", "span"])
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.4, 0.9])
def test_any_rate_is_met_in_every_way_of_masking(masking_of, rate):
    rows = make_rows(50, 102)
    masked = mask(
        rows,
        rate=rate,
        masking=masking_of,
        continues=np.zeros(VOCABULARY, bool),
        max_predictions=90,
    )
    np.testing.assert_array_equal(
        masked["mask_weights"].sum(axis=1), round(rate * 100)
    )


@pytest.mark.parametrize("masking_of", ["whole-word", "span"])
def test_every_position_is_equally_likely_for_words(masking_of):
    masked = mask(
        make_rows(4000, 22),
        masking=masking_of,
        continues=np.zeros(VOCABULARY, bool),
        max_predictions=3,
    )
    counts = np.bincount(masked["mask_positions"].ravel(), minlength=22)
    assert counts[0] == counts[21] == 0 and counts.sum() == 12000
    assert all(within(count, 4000, 3 / 20) for count in counts[1:21])


def test_words_are_replaced_token_by_token():
    rows, _ = make_words(2000, 64, (2,))
    masked = mask(
        rows, masking="whole-word", continues=CONTINUES, max_predictions=10
    )
    shown = np.take_along_axis(
        masked["token_ids"], masked["mask_positions"], axis=1
    )
    real = masked["mask_weights"] == 1
    assert within((shown[real] == MASK).sum(), real.sum(), 0.8)
    hidden = (shown == MASK)[:, :8].reshape(-1, 2)  # Both pieces of a word.
    assert within(hidden.all(axis=1).sum(), len(hidden), 0.8 * 0.8)


def spans_of(rows, **options):
    """Length of each run of hidden tokens, and what became of its tokens."""
    masked = mask(
        rows,
        masking="span",
        continues=np.zeros(VOCABULARY, bool),
        **options,
    )
    chosen = chosen_of(masked, rows.shape)
    padded = np.pad(chosen, 1)[1:-1].astype(int)
    starts, ends = (np.argwhere(np.diff(padded) == d) for d in (1, -1))
    for (row, start), (_, end) in zip(starts, ends):
        shown = masked["token_ids"][row, start:end]
        yield end - start, shown, rows[row, start:end]


def test_lengths_of_spans_are_geometric():
    lengths = mask_choice._span_lengths((200, 100), (0, 1)).numpy().ravel()
    shares = 0.2 * 0.8 ** np.arange(10)
    shares /= shares.sum()
    assert shares @ np.arange(1, 11) == pytest.approx(3.8, abs=0.01)
    counts = np.bincount(lengths, minlength=11)
    assert counts[0] == 0 and len(counts) == 11
    for length, share in enumerate(shares, start=1):
        assert within(counts[length], len(lengths), share)


def test_hidden_tokens_lie_in_spans():
    # Single tokens would be 15 of 100, of which 85 % begin a run.
    runs = [
        size for size, *_ in spans_of(make_rows(1000, 102), max_predictions=15)
    ]
    assert sum(runs) == 15_000 and max(runs) >= 10
    assert 3 < np.mean(runs) < 5


def test_spans_are_replaced_alike():
    rows = make_rows(3000, 66)
    outcomes = collections.Counter()
    for _, shown, labels in spans_of(rows, max_predictions=10):
        kinds = np.where(shown == MASK, 0, np.where(shown == labels, 2, 1))
        # Runs that touch are of two spans; tell them by the first change.
        outcomes[tuple(sorted(set(kinds)))] += 1
    total = sum(outcomes.values())
    mixed = sum(n for kinds, n in outcomes.items() if len(kinds) > 1)
    assert mixed / total < 0.1
    pure = total - mixed
    for kind, share in ((0, 0.8), (1, 0.1), (2, 0.1)):
        assert outcomes[(kind,)] / pure == pytest.approx(share, abs=0.03)
