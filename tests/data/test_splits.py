import hashlib

import numpy as np
import pytest

from kbig.data.splits import assign_splits
from kbig.data.splits import block_splits
from kbig.data.splits import content_position
from kbig.errors import DataError

CONTENTS = [str(i).encode() for i in range(4000)]


def test_position_is_the_hash_as_a_fraction():
    digest = hashlib.blake2b(b"a", digest_size=8).hexdigest()
    assert content_position(b"a") == pytest.approx(int(digest, 16) / 2**64)


def test_a_tenth_each_and_the_same_whatever_else_is_there():
    splits, rule = assign_splits(CONTENTS)
    for name in ("validation", "test"):
        # Five standard deviations of a binomial of 4000 and 0.1.
        assert abs((splits == name).sum() - 400) < 5 * np.sqrt(360)
    few, _ = assign_splits(CONTENTS[:500])
    np.testing.assert_array_equal(few, splits[:500])
    assert "BLAKE2b" in rule and "Validation and test" in rule


def test_equal_content_never_straddles():
    splits, _ = assign_splits(CONTENTS[:300] * 2)
    np.testing.assert_array_equal(splits[:300], splits[300:])


def test_given_splits_stay_and_validation_comes_from_training():
    given = np.array(["train"] * 2000 + ["test"] * 2000)
    splits, rule = assign_splits(CONTENTS, given)
    assert np.all(splits[2000:] == "test")
    position = np.array([content_position(c) for c in CONTENTS[:2000]])
    np.testing.assert_array_equal(splits[:2000] == "validation", position < 0.1)
    assert rule.endswith("train and test as given.")


def test_complete_splits_are_left_alone():
    splits, rule = assign_splits([b"a"] * 3, ["test", "validation", "train"])
    assert list(splits) == ["test", "validation", "train"]
    assert rule == "Train, validation and test as given."


def test_small_data_give_one_distinct_content_to_each_split():
    splits, _ = assign_splits([b"a", b"b", b"c", b"a"])
    assert sorted(splits[:3]) == ["test", "train", "validation"]
    assert splits[3] == splits[0]


def test_training_keeps_every_label():
    labels = ["common"] * 3990 + [str(i) for i in range(10)]
    splits, _ = assign_splits(CONTENTS, labels=labels)
    assert np.all(splits[-10:] == "train")
    assert np.any(assign_splits(CONTENTS)[0][-10:] != "train")


def test_what_cannot_be_split_is_an_error():
    with pytest.raises(DataError, match="mine: too few .* Received: 2 dist"):
        assign_splits([b"a", b"b", b"a"], source="mine")
    with pytest.raises(DataError, match="must be training examples"):
        assign_splits([b"a"], ["test"])


def test_blocks_follow_the_cycle_and_crossing_targets_are_left_out():
    first = np.array([0, 8, 18, 28, 29, 30, 38, 40, 48, 49, 50])
    np.testing.assert_array_equal(
        block_splits(first, first + 2, period=10),
        # Steps 0-29 train, 30-39 validate, 40-49 test, 50-79 train.
        [
            "train",
            "train",
            "train",
            "",
            "",
            "validation",
            "",
            "test",
            "",
            "",
            "train",
        ],
    )
