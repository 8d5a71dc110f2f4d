import numpy as np

from kbig import baselines


def test_tfidf_tells_words_apart():
    texts = ["a red apple", "a green apple", "a fast car", "a slow car"] * 3
    labels = np.array([0, 0, 1, 1] * 3)
    predicted = baselines.tfidf_logistic_regression(
        texts, labels, ["one blue apple", "the car"]
    )
    assert predicted.tolist() == [0, 1]


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
