import numpy as np
import pytest
import tensorflow as tf

from kbig.data import masking
from kbig.errors import UsageError

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


def test_shapes_and_dtypes():
    masked = mask(make_rows(3, 16), max_predictions=6)
    assert {n: (v.shape, v.dtype.name) for n, v in masked.items()} == {
        "token_ids": ((3, 16), "int32"),
        "mask_positions": ((3, 6), "int32"),
        "mask_labels": ((3, 6), "int32"),
        "mask_weights": ((3, 6), "float32"),
    }


def test_number_of_masks_is_the_rate_of_the_ordinary_tokens():
    # 32 slots, 10 of padding, [CLS] and [SEP]: round(0.15 * 20) = 3.
    masked = mask(make_rows(50, 32, padding=10), max_predictions=8)
    np.testing.assert_array_equal(masked["mask_weights"].sum(1), 3)


@pytest.mark.parametrize("max_predictions, expected", [(2, 2), (30, 5)])
def test_max_predictions_bounds_the_masks(max_predictions, expected):
    # 30 ordinary tokens: 4.5 rounds to the even 4; at rate 0.17 to 5.
    masked = mask(make_rows(5, 32), rate=0.17, max_predictions=max_predictions)
    np.testing.assert_array_equal(masked["mask_weights"].sum(1), expected)


def test_one_mask_at_least_and_none_without_ordinary_tokens():
    rows = np.array([[CLS, 9, SEP, PAD], [CLS, SEP, PAD, PAD]], "int32")
    masked = mask(rows, max_predictions=2)
    np.testing.assert_array_equal(masked["mask_weights"], [[1, 0], [0, 0]])
    np.testing.assert_array_equal(masked["mask_labels"], [[9, 0], [0, 0]])
    np.testing.assert_array_equal(masked["token_ids"][1], rows[1])


def test_only_chosen_tokens_change_and_labels_are_the_originals():
    rows = make_rows(200, 64, padding=5)
    masked = mask(rows, max_predictions=12)
    chosen = np.zeros(rows.shape, bool)
    for row in range(len(rows)):
        real = masked["mask_weights"][row] == 1
        positions = masked["mask_positions"][row][real]
        assert np.all(np.diff(positions) > 0)
        np.testing.assert_array_equal(
            masked["mask_labels"][row][real], rows[row, positions]
        )
        chosen[row, positions] = True
    assert not np.any(chosen & np.isin(rows, SPECIAL))
    np.testing.assert_array_equal(masked["token_ids"][~chosen], rows[~chosen])
    padding = masked["mask_weights"] == 0
    assert not masked["mask_positions"][padding].any()
    assert not masked["mask_labels"][padding].any()


def test_eighty_ten_ten():
    rows = make_rows(2000, 64)
    masked = mask(rows, max_predictions=10)
    real = masked["mask_weights"] == 1
    assert real.sum() == 2000 * 9  # round(0.15 * 62) = 9.
    shown = np.take_along_axis(
        masked["token_ids"], masked["mask_positions"], axis=1
    )[real]
    labels = masked["mask_labels"][real]
    hidden, kept = shown == MASK, shown == labels
    # A random token is the original one once in 995 times.
    same = 0.1 / (VOCABULARY - len(SPECIAL))
    assert within(hidden.sum(), real.sum(), 0.8)
    assert within(kept.sum(), real.sum(), 0.1 + same)
    random = shown[~hidden & ~kept]
    assert random.min() >= 5 and random.max() < VOCABULARY
    assert within((random < 500).sum(), len(random), 495 / 995)


def test_every_position_is_equally_likely():
    masked = mask(make_rows(4000, 22), max_predictions=3)  # 3 of 20.
    counts = np.bincount(masked["mask_positions"].ravel(), minlength=22)
    assert counts[0] == counts[21] == 0
    assert all(within(count, 4000, 3 / 20) for count in counts[1:21])


def test_the_result_is_a_function_of_the_seed():
    rows = make_rows(8, 32)
    first = mask(rows, seed=(1, 2), max_predictions=5)
    again = mask(rows, seed=(1, 2), max_predictions=5)
    other = mask(rows, seed=(1, 3), max_predictions=5)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert np.any(first["mask_positions"] != other["mask_positions"])


def test_it_is_the_same_within_a_graph_of_unknown_batch_size():
    rows = make_rows(4, 16)
    graph = tf.function(
        lambda ids: masking.mask_tokens(
            ids, seed=(3, 4), max_predictions=4, **OPTIONS
        ),
        input_signature=[tf.TensorSpec([None, 16], tf.int32)],
    )(rows)
    for name, value in mask(rows, seed=(3, 4), max_predictions=4).items():
        np.testing.assert_array_equal(graph[name], value)


def test_position_zero_survives_the_padding_of_positions():
    # No [CLS]: position 0 may be chosen while padding points to it too.
    rows = np.full((300, 4), 7, "int32")
    masked = mask(rows, rate=0.25, max_predictions=3)
    np.testing.assert_array_equal(masked["mask_weights"], [[1, 0, 0]] * 300)
    at_zero = masked["mask_positions"][:, 0] == 0
    assert within(at_zero.sum(), 300, 1 / 4)
    first = masked["token_ids"][:, 0]
    assert np.all(first[~at_zero] == 7)
    hidden = first[at_zero] == MASK
    assert within(hidden.sum(), at_zero.sum(), 0.8)


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 0.0, "max_predictions": 2},
        {"max_predictions": 0},
        {"max_predictions": 17},
        {"max_predictions": 2, "special_ids": range(VOCABULARY)},
        {"max_predictions": 2, "masking": "words"},
        {"max_predictions": 2, "masking": "span"},
        {"max_predictions": 2, "masking": "span", "continues": [False]},
    ],
)
def test_impossible_options_are_rejected(options):
    with pytest.raises(UsageError, match="Received"):
        mask(make_rows(2, 16), **options)
