import numpy as np

from kbig import evaluation


def test_forecasting_averages_absolute_errors():
    targets = np.array([[1.0, 2.0], [3.0, 5.0]])
    report = evaluation.forecasting(
        {"zero": np.zeros((2, 2)), "right": targets}, targets
    )
    assert report.errors == {"zero": 11 / 4, "right": 0.0}
    assert [row[0] for row in report.tables()[0].rows] == ["right", "zero"]
