"""What `kbig train-sequence` does with each kind of data."""

import dataclasses

import numpy as np

import kbig
from recipes import common


class Forecasting:
    """Values of a series from the values before."""

    vocabulary = ()
    metric = "mean_absolute_error"

    def __init__(self, config, dataset, vocabulary=()):
        self.config, self.dataset = config, dataset
        self._train_x, self._train_y = dataset.arrays("train")

    def build(self):
        """The model, its scale taken from the training windows."""
        change = self._train_y - self._train_x[:, -1, :1]
        return kbig.models.forecaster(
            self.dataset.info.shapes["x"],
            self.config.horizon,
            scale=float(np.abs(change).mean()) or 1.0,
            **_architecture(self.config),
        )

    def loss(self):
        """What is reported: mean absolute error."""
        import keras

        return keras.losses.MeanAbsoluteError()

    def compile(self, model, runtime, optimizer):
        """Compiles for it."""
        model.compile(optimizer, self.loss(), jit_compile=runtime.jit_compile)

    def inputs(self, x):
        """What the model takes."""
        return x

    def baseline(self, x, y):
        """Nothing yet: forecasts are compared with theirs at the end."""
        return {}

    def evaluate(self, x, outputs, y):
        """Numbers and sections: the model beside its baselines."""
        forecasts = {
            self.config.cell: outputs,
            "persistence": kbig.baselines.persistence(x, y.shape[1]),
            "ridge regression": kbig.baselines.ridge(
                self._train_x, self._train_y, x
            ),
        }
        report = kbig.evaluation.forecasting(forecasts, y)
        error, persistence, ridge = report.errors.values()
        metrics = {
            "test_mean_absolute_error": error,
            "test_loss": error,
            "persistence_mean_absolute_error": persistence,
            "ridge_mean_absolute_error": ridge,
        }
        shown = len(x) // 2
        section = kbig.sections.forecasts(
            report,
            x[shown, :, 0],
            y[shown],
            {name: values[shown] for name, values in forecasts.items()},
            self.config.unit,
            every=self.config.every,
        )
        return metrics, [section]


class SequenceClassification:
    """Classes of sequences of features."""

    vocabulary = ()
    metric = "accuracy"

    def __init__(self, config, dataset, vocabulary=()):
        self.config, self.dataset = config, dataset

    def build(self):
        """The model for sequences of that shape."""
        return kbig.models.rnn(
            self.dataset.info.shapes["x"],
            len(self.dataset.info.class_names),
            **_architecture(self.config),
        )

    def loss(self):
        """Cross-entropy."""
        return common.classifier_loss()

    def compile(self, model, runtime, optimizer):
        """Compiles for labels that are class numbers."""
        common.compile_classifier(model, runtime, optimizer)

    def inputs(self, x):
        """What the model takes."""
        return x

    def baseline(self, x, y):
        """There is none for features."""
        return {}

    def evaluate(self, x, outputs, y):
        """Numbers and sections."""
        report = kbig.evaluation.classification(
            outputs, y, self.dataset.info.class_names
        )
        metrics = {
            "test_accuracy": report.accuracy,
            "test_loss": report.loss,
            "test_macro_f1": report.macro_f1,
        }
        return metrics, [kbig.sections.classification(report)]


class TextClassification(SequenceClassification):
    """Classes of texts, through a WordPiece vocabulary.

    It is trained on them unless there is one already.
    """

    def __init__(self, config, dataset, vocabulary=()):
        self._texts, self._labels = dataset.arrays("train")
        self.vocabulary = vocabulary or kbig.data.train_vocabulary(
            self._texts, config.vocabulary_size, lowercase=config.lowercase
        )
        self._tokenizer = kbig.data.tokenizer(self.vocabulary, config.lowercase)
        config = dataclasses.replace(
            config,
            vocabulary_size=len(self.vocabulary),
            sequence_length=config.sequence_length
            or kbig.data.suitable_length(self._texts, self._tokenizer),
        )
        kbig.data.encoding.check_length(config.sequence_length)
        super().__init__(config, dataset)

    def build(self):
        """The model for ids of that vocabulary."""
        return kbig.models.rnn(
            num_outputs=len(self.dataset.info.class_names),
            vocabulary_size=len(self.vocabulary),
            **_architecture(self.config),
        )

    def inputs(self, x):
        """Ids of the pieces of texts."""
        length = self.config.sequence_length
        return kbig.data.encode(x, self._tokenizer, length)["token_ids"]

    def baseline(self, x, y):
        """The accuracy of what needs no network, fitted to the same rows."""
        predicted = kbig.baselines.tfidf_logistic_regression(
            self._texts, self._labels, x
        )
        return {"baseline_accuracy": float((predicted == y).mean())}

    def evaluate(self, x, outputs, y):
        """Numbers and sections, with examples."""
        metrics, sections = super().evaluate(x, outputs, y)
        examples = kbig.sections.predictions(
            x[:3], outputs[:3], y[:3], self.dataset.info.class_names
        )
        return metrics, [*sections, examples]


def _architecture(config) -> dict:
    return {
        "cell": config.cell,
        "units": config.units,
        "bidirectional": config.bidirectional,
        "dropout": config.dropout,
    }


TASKS = {
    "series": Forecasting,
    "sequence": SequenceClassification,
    "text": TextClassification,
}
