import numpy as np
import pytest

from kbig.errors import UsageError
from kbig.tuning.transfer import narrowed
from kbig.tuning.transfer import transfer_set

TEXTS = ["a b c", "d e", "f"]


def lengths(texts):
    """A teacher whose first logit counts words."""
    counts = [len(" ".join(np.atleast_1d(text)).split()) for text in texts]
    return np.stack([counts, np.zeros(len(texts))], axis=1)


def test_only_given_labels_are_labels():
    texts, targets = transfer_set(
        lengths, TEXTS, np.array([1, 0, 1]), copies=2, unlabelled=["g h i j"]
    )
    assert texts.shape == (10,)
    assert texts[:3].tolist() == TEXTS
    assert texts[-1] == "g h i j"
    assert targets[:, 0].tolist() == [1, 0, 1] + [-1] * 7
    np.testing.assert_array_equal(targets[:, 1:], lengths(texts))


def test_without_more_texts_there_are_no_more():
    texts, targets = transfer_set(lengths, TEXTS, [0, 1, 1])
    assert texts.tolist() == TEXTS
    assert targets[:, :2].tolist() == [[0, 3], [1, 2], [1, 1]]


def test_pairs_are_joined_by_pairs():
    pairs = np.array([["a b", "c"], ["d", "e"]], object)
    texts, targets = transfer_set(lengths, pairs, [0, 1], copies=3)
    assert texts.shape == (8, 2)
    assert targets.shape == (8, 3)
    with pytest.raises(UsageError, match=r"\(2, 2\) and \(1,\)"):
        transfer_set(lengths, pairs, [0, 1], unlabelled=["f"])


def test_narrowed_rows_keep_what_they_have_in_common():
    """Eckart and Young: nothing of that width keeps distances better."""
    random = np.random.default_rng(0)
    table = random.normal(size=(50, 12)) * np.linspace(3, 0.1, 12)
    found = narrowed(table, 5)
    centred = table - table.mean(0)
    values = np.linalg.svd(centred, compute_uv=False)
    products = centred @ centred.T - found @ found.T
    lost = np.sqrt((values[5:] ** 4).sum())
    assert np.linalg.norm(products) == pytest.approx(lost, rel=1e-4)
    assert found.shape == (50, 5)
    assert found.dtype == np.float32
    spread = found.std(0)
    assert spread.max() / spread.min() < values[0] / values[4]


def test_wider_rows_are_refused():
    with pytest.raises(UsageError, match="Received: 13 of 12"):
        narrowed(np.ones((50, 12)), 13)
