import numpy as np
import pytest

from kbig.errors import UsageError
from kbig.tuning.altered_texts import altered_texts

TEXTS = np.array(["a b c d e f g h", "1 2 3 4", "x"], object)


def test_copies_are_made_of_the_words_that_there_are():
    altered = altered_texts(TEXTS, 200, seed=1)
    assert altered.shape == (600,)
    assert altered.dtype == object
    assert all(altered)
    words = set(" ".join(TEXTS).split())
    assert set(" ".join(altered).split()) == words
    mixed = [
        bool(set(text) & set("abcdefgh")) and "4" in text for text in altered
    ]
    # Half are joined, a third of those with "1 2 3 4", whose last word stays
    # in 9 of 10; and hardly any loses its whole beginning.
    assert 0.09 < np.mean(mixed[::3]) < 0.21


def test_words_are_left_out_at_the_rate():
    texts = np.array([" ".join("w" * 100)] * 2, object)
    kept = [len(t.split()) for t in altered_texts(texts, 500, drop=0.2)]
    untouched = [n for n in kept if n <= 100]
    # Half are joined, to 100 words on average too: 80 of 100 stay.
    assert 78 < np.mean(kept) < 82
    assert len(untouched) > 500
    whole = altered_texts(texts, 50, drop=0.0)
    assert 30 <= sum(len(text.split()) == 100 for text in whole) <= 80


def test_one_word_always_stays():
    altered = altered_texts(["one", "two"], 500, drop=0.99)
    words = [text.split() for text in altered]
    assert min(map(len, words)) == 1
    assert np.mean([len(w) for w in words]) < 1.03


def test_chinese_characters_are_words():
    altered = altered_texts(["我喜欢猫和狗 ok"], 300, drop=0.3)
    assert set(" ".join(altered).split()) == {*"我喜欢猫和狗", "ok"}


def test_the_seed_decides():
    first, again, other = (altered_texts(TEXTS, 5, seed=s) for s in (3, 3, 4))
    assert first.tolist() == again.tolist() != other.tolist()


def test_pairs_stay_pairs():
    pairs = np.array([["a b", "1 2"], ["c d", "3 4"]], object)
    altered = altered_texts(pairs, 20)
    assert altered.shape == (40, 2)
    assert set("".join(altered[:, 0])) <= set("abcd ")
    assert set("".join(altered[:, 1])) <= set("1234 ")


@pytest.mark.parametrize(
    "texts, options, message",
    [
        ([], {"copies": 1}, "Received: 0 texts"),
        (["a"], {"copies": -1}, "copies=-1"),
        (["a"], {"copies": 1, "drop": 1.0}, "drop=1.0"),
    ],
)
def test_mistakes_are_named(texts, options, message):
    with pytest.raises(UsageError, match=message):
        altered_texts(texts, **options)
