"""What a model must beat: cheap, strong, and fitted on the same rows."""

import collections
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError

# scikit-learn's words, of two letters or more, and each Chinese character.
_CHINESE = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = rf"[{_CHINESE}]|[^\W{_CHINESE}]{{2,}}"


def tfidf_logistic_regression(
    texts: Sequence[str], labels: np.ndarray, new_texts: Sequence[str]
) -> np.ndarray:
    """Classifies texts by TF-IDF of words and logistic regression.

    Args:
        texts: training texts, `(rows,)`, or `(rows, 2)` for pairs.
        labels: their classes, int `(rows,)`.
        new_texts: texts to classify.

    Returns:
        A class for each new text, int `(new rows,)`.

    Example:
    ```python
    predicted = tfidf_logistic_regression(["a cat", "a car"], [0, 1], ["cat"])
    ```
    """
    features, new_features = tfidf(texts, new_texts)
    return _logistic_regression().fit(features, labels).predict(new_features)


def tfidf_one_vs_rest(
    texts: Sequence[str], labels: np.ndarray, new_texts: Sequence[str]
) -> np.ndarray:
    """Gives texts any number of classes: a logistic regression for each.

    Args:
        texts: training texts, `(rows,)`, or `(rows, 2)` for pairs.
        labels: 0 or 1, `(rows, classes)`.
        new_texts: texts to classify.

    Returns:
        0 or 1 for each new text and class, int `(new rows, classes)`.

    Example:
    ```python
    labels = np.array([[1, 0], [0, 1], [1, 1]])
    tfidf_one_vs_rest(["a cat", "a dog", "both"], labels, ["my cat"])
    ```
    """
    features, new_features = tfidf(texts, new_texts)
    columns = []
    for column in np.asarray(labels, int).T:
        predicted = np.full(new_features.shape[0], column[0])
        # Nothing can be fitted to a class that all rows have, or none.
        if column.min() < column.max():
            fitted = _logistic_regression().fit(features, column)
            predicted = fitted.predict(new_features)
        columns.append(predicted)
    return np.stack(columns, axis=-1)


def tfidf_ridge(
    texts: Sequence[str], targets: np.ndarray, new_texts: Sequence[str]
) -> np.ndarray:
    """Predicts numbers by TF-IDF of words and ridge regression.

    Args:
        texts: training texts, `(rows,)`, or `(rows, 2)` for pairs.
        targets: float `(rows,)`.
        new_texts: texts to predict numbers for.

    Returns:
        A number for each new text, float `(new rows,)`.

    Example:
    ```python
    predicted = tfidf_ridge(["a good film", "a bad film"], [5, 1], ["good"])
    ```
    """
    from sklearn.linear_model import Ridge

    features, new_features = tfidf(texts, new_texts)
    return Ridge().fit(features, targets).predict(new_features)


def most_frequent_tag(
    words: Sequence[Sequence[str]],
    tags: Sequence[np.ndarray],
    new_words: Sequence[Sequence[str]],
) -> tuple[np.ndarray, ...]:
    """Tags each word as it was most often tagged in training.

    Args:
        words: training sentences, each a sequence of words.
        tags: int `(words,)` for each sentence.
        new_words: sentences to tag.

    Returns:
        Int `(words,)` for each new sentence. A word that training does not
        show gets the tag that is most frequent over all; of two tags that
        are as frequent the lower wins.

    Example:
    ```python
    most_frequent_tag([("Jane", "left")], [[1, 0]], [("left", "Jane")])
    # ([0, 1],)
    ```
    """
    counts = collections.defaultdict(collections.Counter)
    for sentence, numbers in zip(words, tags, strict=True):
        for word, number in zip(sentence, numbers, strict=True):
            counts[word][int(number)] += 1
    most = {word: _most_frequent(counter) for word, counter in counts.items()}
    other = _most_frequent(sum(counts.values(), collections.Counter()))
    return tuple(
        np.array([most.get(word, other) for word in sentence], np.int32)
        for sentence in new_words
    )


def tfidf(texts: Sequence[str], new_texts: Sequence[str]) -> tuple:
    """Weighs words and pairs of words by TF-IDF, fitted to training texts.

    For pairs of texts the features are those of each text, their products,
    which tell what both have, and the sum of these: the cosine.

    Args:
        texts: training texts, `(rows,)`, or `(rows, 2)` for pairs.
        new_texts: other texts.

    Returns:
        Two sparse matrices `(rows, features)`.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), token_pattern=_WORD
    )
    texts, new_texts = (np.asarray(x, object) for x in (texts, new_texts))
    try:
        vectorizer.fit(texts.reshape(-1))
    except ValueError as error:
        raise UsageError(
            "TF-IDF needs texts with words of two letters or more. Received: "
            f"{len(texts)} texts without one, such as {texts.reshape(-1)[0]!r}"
        ) from error

    def features(texts):
        if texts.ndim == 1:
            return vectorizer.transform(texts)
        first, second = map(vectorizer.transform, texts.T)
        products = first.multiply(second)
        cosine = sparse.csr_matrix(products.sum(axis=1))
        return sparse.hstack([first, second, products, cosine], format="csr")

    return features(texts), features(new_texts)


def persistence(windows: np.ndarray, horizon: int) -> np.ndarray:
    """Forecasts that nothing changes: the newest value, repeated.

    Args:
        windows: float `(rows, steps, channels)`; channel 0 is forecast.
        horizon: steps to forecast.

    Returns:
        float `(rows, horizon)`.
    """
    return np.repeat(windows[:, -1, :1], horizon, axis=1)


def ridge(
    windows: np.ndarray, targets: np.ndarray, new_windows: np.ndarray
) -> np.ndarray:
    """Forecasts by ridge regression on the flattened windows.

    Args:
        windows: training windows, float `(rows, steps, channels)`.
        targets: float `(rows, horizon)`.
        new_windows: windows to forecast from.

    Returns:
        float `(new rows, horizon)`.
    """
    from sklearn.linear_model import Ridge

    flat, new_flat = (w.reshape(len(w), -1) for w in (windows, new_windows))
    return Ridge().fit(flat, targets).predict(new_flat)


def _logistic_regression():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=10, max_iter=1000)


def _most_frequent(counter):
    return min(counter, key=lambda tag: (-counter[tag], tag))
