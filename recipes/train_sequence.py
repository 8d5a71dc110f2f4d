"""Trains an RNN: forecasts of a series, or classes of texts and sequences.

kbig train-sequence --data sea-surface-temperature --cell lstm --horizon 48
kbig train-sequence --data wordnet-topics --cell gru

The data decide the task. A series (also a table with --value-column) is
forecast; labelled texts and sequences are classified. Forecasts are compared
with persistence and ridge regression on the same windows, texts with TF-IDF
and logistic regression.
"""

import dataclasses
import time
from typing import ClassVar

import numpy as np

import kbig
from recipes import common
from recipes.config import TrainConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Options of `kbig train-sequence`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 500, "units": (8,)}

    data: str = option("sea-surface-temperature", "name or path")
    value_column: tuple[str, ...] = option(
        (), "of a table with a series: what to forecast, then more channels"
    )
    time_column: str = option("", "of a series: checked to be even steps")
    past: int = option(336, "of a series: steps that a window reaches back")
    every: int = option(4, "of a series: keep every so many of them")
    horizon: int = option(48, "of a series: steps to forecast")
    period: int = option(336, "of a series: steps of a block of a split")
    unit: str = option("", "of a series: unit of its values, for plots")
    text_column: str = option("", "of labelled texts")
    label_column: str = option("", "of labelled texts")
    split_column: str = option("", "of labelled texts")
    vocabulary_size: int = option(16000, "of texts: WordPiece tokens at most")
    lowercase: bool = option(True, "of texts: fold case and strip accents")
    sequence_length: int = option(0, "of texts: tokens; 0: from the data")
    cell: str = option("lstm", "recurrent cell", ("lstm", "gru", "simple"))
    units: tuple[int, ...] = option((32,), "state size of each layer")
    bidirectional: bool = option(False, "read in both directions")
    dropout: float = option(0.3, "before the outputs")
    epochs: int = option(5, "passes over the training rows")
    batch_size: int = option(64, "rows of a step")
    learning_rate: float = option(1e-3, "peak, after a warm-up of a tenth")
    weight_decay: float = option(0.01, "of AdamW")


def run(config: Config) -> common.Outcome:
    """Trains what the data ask for, tests, saves and reports."""
    started = time.perf_counter()
    dataset = _load(config)
    config = dataclasses.replace(
        config, name=config.name or common.data_name(config.data)
    )
    task = _TASKS[dataset.info.kind](config, dataset)
    runtime = common.runtime(config)
    with runtime.scope():
        model = task.build()
    if config.dry_run:
        return common.show_plan(task.config, model, dataset.info, runtime)
    run = common.start(task.config, "train-sequence")
    history, speed = _fit(task, runtime, model, run)
    x, y = dataset.arrays("test")
    outputs = model.predict(task.inputs(x), batch_size=256, verbose=0)
    metrics, sections = task.evaluate(x, outputs, y)
    run.save_model(
        model,
        vocabulary=task.vocabulary,
        class_names=dataset.info.class_names,
    )
    run.save_samples(x, y)
    report = common.exported(run, config.formats, config.name)
    metrics |= {
        "parameters": model.count_params(),
        **speed,
        "seconds": time.perf_counter() - started,
    }
    sections = [
        kbig.sections.training(history, common.CLASSIFIER_CURVES),
        *sections,
        common.run_details(task.config, runtime, model, dataset.info),
    ]
    title = f"{config.cell.upper()} on {config.name}"
    return common.finish(run, title, metrics, sections, report)


def _load(config: Config):
    kinds = ("series", "text", "sequence")
    if config.value_column:
        options = {
            "kind": "series",
            "value_column": config.value_column,
            "time_column": config.time_column,
        }
    else:
        options = {
            "text_column": config.text_column,
            "label_column": config.label_column,
            "split_column": config.split_column,
        }
    if config.value_column or config.data == "sea-surface-temperature":
        options |= {
            "past": config.past,
            "every": config.every,
            "horizon": config.horizon,
            "period": config.period,
        }
    return common.load_data(config.data, kinds, limit=config.limit, **options)


def _fit(task, runtime, model, run):
    config, dataset = task.config, task.dataset
    rows = dataset.info.sizes["train"]
    total = common.steps(rows, config.batch_size, config.epochs)
    rate = kbig.training.WarmupCosine(config.learning_rate, total // 10, total)
    with runtime.scope():
        optimizer = kbig.training.adamw(
            rate, config.weight_decay, global_clipnorm=1.0
        )
        task.compile(model, runtime, optimizer)
    throughput = kbig.training.Throughput(config.batch_size)

    def transform(x, y):
        return task.inputs(x), y

    history = model.fit(
        kbig.data.batches(
            dataset.train,
            config.batch_size,
            shuffle=True,
            seed=config.seed,
            transform=transform,
        ),
        validation_data=kbig.data.batches(
            dataset.validation, 256, transform=transform
        ),
        epochs=config.epochs,
        callbacks=kbig.training.run_callbacks(run.directory, throughput),
        verbose=common.fit_verbosity(),
        shuffle=False,
    )
    return history.history, throughput.report()


class _Forecasting:
    """Values of a series from the values before."""

    vocabulary = ()

    def __init__(self, config: Config, dataset):
        self.config, self.dataset = config, dataset
        self.train_x, self.train_y = dataset.arrays("train")

    def build(self):
        change = self.train_y - self.train_x[:, -1, :1]
        return kbig.models.forecaster(
            self.dataset.info.shapes["x"],
            self.config.horizon,
            cell=self.config.cell,
            units=self.config.units,
            bidirectional=self.config.bidirectional,
            dropout=self.config.dropout,
            scale=float(np.abs(change).mean()),
        )

    def compile(self, model, runtime, optimizer):
        model.compile(
            optimizer, "mean_absolute_error", jit_compile=runtime.jit_compile
        )

    def inputs(self, x):
        return x

    def evaluate(self, x, outputs, y):
        forecasts = {
            self.config.cell: outputs,
            "persistence": kbig.baselines.persistence(x, y.shape[1]),
            "ridge regression": kbig.baselines.ridge(
                self.train_x, self.train_y, x
            ),
        }
        report = kbig.evaluation.forecasting(forecasts, y)
        kbig.reporting.show(*report.tables())
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


class _SequenceClassification:
    """Classes of sequences of features."""

    vocabulary = ()

    def __init__(self, config: Config, dataset):
        self.config, self.dataset = config, dataset

    def build(self):
        return kbig.models.rnn(
            self.dataset.info.shapes["x"],
            len(self.dataset.info.class_names),
            cell=self.config.cell,
            units=self.config.units,
            bidirectional=self.config.bidirectional,
            dropout=self.config.dropout,
        )

    def compile(self, model, runtime, optimizer):
        common.compile_classifier(model, runtime, optimizer)

    def inputs(self, x):
        return x

    def evaluate(self, x, outputs, y):
        report = kbig.evaluation.classification(
            outputs, y, self.dataset.info.class_names
        )
        metrics = {
            "test_accuracy": report.accuracy,
            "test_loss": report.loss,
            "test_macro_f1": report.macro_f1,
        }
        return metrics, [kbig.sections.classification(report)]


class _TextClassification:
    """Classes of texts, through a WordPiece vocabulary of their own."""

    def __init__(self, config: Config, dataset):
        self.dataset = dataset
        self.texts, self.labels = dataset.arrays("train")
        self.vocabulary = kbig.data.train_vocabulary(
            self.texts, config.vocabulary_size, lowercase=config.lowercase
        )
        self._tokenizer = kbig.data.tokenizer(self.vocabulary, config.lowercase)
        self.config = dataclasses.replace(
            config,
            vocabulary_size=len(self.vocabulary),
            sequence_length=config.sequence_length
            or kbig.data.suitable_length(self.texts, self._tokenizer),
        )

    def build(self):
        return kbig.models.rnn(
            num_outputs=len(self.dataset.info.class_names),
            cell=self.config.cell,
            units=self.config.units,
            bidirectional=self.config.bidirectional,
            vocabulary_size=len(self.vocabulary),
            dropout=self.config.dropout,
        )

    def compile(self, model, runtime, optimizer):
        common.compile_classifier(model, runtime, optimizer)

    def inputs(self, x):
        length = self.config.sequence_length
        return kbig.data.encode(x, self._tokenizer, length)["token_ids"]

    def evaluate(self, x, outputs, y):
        names = self.dataset.info.class_names
        report = kbig.evaluation.classification(outputs, y, names)
        predicted = kbig.baselines.tfidf_logistic_regression(
            self.texts, self.labels, x
        )
        metrics = {
            "test_accuracy": report.accuracy,
            "test_loss": report.loss,
            "test_macro_f1": report.macro_f1,
            "baseline_accuracy": float((predicted == y).mean()),
        }
        sections = [
            kbig.sections.classification(report),
            kbig.sections.predictions(x[:3], outputs[:3], y[:3], names),
        ]
        return metrics, sections


_TASKS = {
    "series": _Forecasting,
    "sequence": _SequenceClassification,
    "text": _TextClassification,
}
