"""How good a model is on rows that it never saw, as reports."""

from kbig.evaluation.bootstrap import bootstrap_interval
from kbig.evaluation.classification import ClassificationReport
from kbig.evaluation.classification import classification
from kbig.evaluation.classification import probabilities
from kbig.evaluation.forecasting import ForecastReport
from kbig.evaluation.forecasting import forecasting
from kbig.evaluation.multilabel import MultilabelReport
from kbig.evaluation.multilabel import multilabel
from kbig.evaluation.prediction import predict_tags
from kbig.evaluation.prediction import predict_texts
from kbig.evaluation.regression import RegressionReport
from kbig.evaluation.regression import regression
from kbig.evaluation.tagging import TaggingReport
from kbig.evaluation.tagging import tagging
from kbig.evaluation.tasks import TASKS
from kbig.evaluation.tasks import Task
from kbig.evaluation.validation import ValidationMetric

__all__ = [
    "TASKS",
    "ClassificationReport",
    "ForecastReport",
    "MultilabelReport",
    "RegressionReport",
    "TaggingReport",
    "Task",
    "ValidationMetric",
    "bootstrap_interval",
    "classification",
    "forecasting",
    "multilabel",
    "predict_tags",
    "predict_texts",
    "probabilities",
    "regression",
    "tagging",
]
