"""What a model must beat: cheap, strong, and fitted on the same rows."""

from collections.abc import Sequence

import numpy as np


def tfidf_logistic_regression(
    texts: Sequence[str], labels: np.ndarray, new_texts: Sequence[str]
) -> np.ndarray:
    """Classifies texts by TF-IDF of words and logistic regression.

    Args:
        texts: training texts, `(rows,)`.
        labels: their classes, int `(rows,)`.
        new_texts: texts to classify.

    Returns:
        A class for each new text, int `(new rows,)`.

    Example:
    ```python
    predicted = tfidf_logistic_regression(["a cat", "a car"], [0, 1], ["cat"])
    ```
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        LogisticRegression(C=10, max_iter=1000),
    )
    return pipeline.fit(texts, labels).predict(new_texts)


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
