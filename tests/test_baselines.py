import numpy as np
import pytest

from kbig import baselines
from kbig.errors import UsageError


def test_tfidf_tells_words_apart():
    texts = ["a red apple", "a green apple", "a fast car", "a slow car"] * 3
    labels = np.array([0, 0, 1, 1] * 3)
    predicted = baselines.tfidf_logistic_regression(
        texts, labels, ["one blue apple", "the car"]
    )
    assert predicted.tolist() == [0, 1]


def test_tfidf_sees_single_chinese_characters():
    texts = ["红苹果", "青苹果", "快汽车", "慢汽车"] * 3
    predicted = baselines.tfidf_logistic_regression(
        texts, [0, 0, 1, 1] * 3, ["一个蓝苹果", "那汽车"]
    )
    assert predicted.tolist() == [0, 1]


def test_words_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = ["It's a red-hot_dog, 42 of 7!", "café no_w x1 y", "a bb ccc"]
    expected = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    expected = expected.fit(texts).transform(texts[:2]).toarray()
    _, features = baselines.tfidf(texts, texts[:2])
    np.testing.assert_allclose(features.toarray(), expected)


def test_features_of_pairs_tell_what_both_have():
    pairs = [["red apple", "red apple"], ["red apple", "fast car"]]
    features, _ = baselines.tfidf(pairs, pairs)
    cosines = features.toarray()[:, -1]
    np.testing.assert_allclose(cosines, [1, 0])
    # Each text, the products, and the cosine; "red", "apple", "red apple"
    # and likewise of the car.
    assert features.shape == (2, 3 * 6 + 1)


def test_ridge_learns_the_similarity_of_pairs_of_new_words():
    words = [f"word{i}" for i in range(60)]
    same = [[word, word] for word in words[:40]]
    other = [[words[i], words[i + 1]] for i in range(40)]
    targets = [5.0] * 40 + [0.0] * 40
    predicted = baselines.tfidf_ridge(
        same + other, targets, [["word3", "word3"], ["word3", "word9"]]
    )
    assert predicted[0] > 4 > 1 > predicted[1]


def test_one_vs_rest_gives_any_number_of_classes():
    texts = ["red apple", "fast car", "red car", "nothing here"] * 5
    # Red, car, always and never.
    labels = [[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0]] * 5
    predicted = baselines.tfidf_one_vs_rest(
        texts, np.array(labels), ["some red car", "an apple, red", "here"]
    )
    assert predicted.tolist() == [[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]]


def test_words_get_their_most_frequent_tag():
    words = [("Jane", "left"), ("Jane", "left", "Bath"), ("Jane", "x")]
    tags = [[1, 0], [2, 0, 3], [1, 4]]
    new = [("Bath", "left"), ("Jane",), ("unseen",)]
    # 0 and 1 are as frequent, and the lower wins.
    expected = [[3, 0], [1], [0]]
    predicted = baselines.most_frequent_tag(words, tags, new)
    assert [row.tolist() for row in predicted] == expected


def test_texts_without_a_word_are_refused():
    with pytest.raises(UsageError, match="Received: 2 texts without one"):
        baselines.tfidf_logistic_regression(["a", "b"], [0, 1], ["a"])


def test_persistence_repeats_the_newest_value_of_the_first_channel():
    windows = np.array([[[1.0, 8.0], [2.0, 9.0]], [[3.0, 8.0], [4.0, 9.0]]])
    expected = [[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]
    assert baselines.persistence(windows, 3).tolist() == expected


def test_ridge_recovers_a_linear_rule():
    generator = np.random.default_rng(0)
    windows = generator.normal(size=(500, 3, 2))
    rule = generator.normal(size=(6, 2)) * 5
    targets = windows.reshape(500, 6) @ rule + 1
    forecast = baselines.ridge(windows[:400], targets[:400], windows[400:])
    np.testing.assert_allclose(forecast, targets[400:], atol=0.2)
