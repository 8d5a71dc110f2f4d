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

import kbig
from recipes import common
from recipes.config import FLOAT_FORMATS
from recipes.config import TrainConfig
from recipes.config import option
from recipes.sequence_tasks import TASKS

# The products of a step are small, and wait for those of the step before.
GAINS_BY_BFLOAT16 = False


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
    vocabulary_size: int = option(
        16000, "of texts: WordPiece tokens at most", minimum=1
    )
    lowercase: bool = option(True, "of texts: fold case and strip accents")
    sequence_length: int = option(
        0, "of texts: tokens; 0: from the data", minimum=0
    )
    formats: tuple[str, ...] = option(
        (), "what to export at the end", FLOAT_FORMATS
    )
    data_dir: str = option("", "folder of tensorflow-datasets")
    cell: str = option("lstm", "recurrent cell", ("lstm", "gru", "simple"))
    units: tuple[int, ...] = option((32,), "state size of each layer")
    bidirectional: bool = option(False, "read in both directions")
    dropout: float = option(0.3, "before the outputs", minimum=0)
    epochs: int = option(5, "passes over the training rows", minimum=1)
    batch_size: int = option(64, "rows of a step", minimum=1)
    learning_rate: float = option(
        1e-3, "peak, after a warm-up of a tenth", minimum=1e-9
    )
    weight_decay: float = option(0.01, "of AdamW", minimum=0)


def run(config: Config) -> common.Outcome:
    """Trains what the data ask for, tests, saves and reports."""
    started = time.perf_counter()
    dataset = load(config)
    celsius = config.data == "sea-surface-temperature"
    config = dataclasses.replace(
        config,
        name=config.name or common.data_name(config.data),
        unit=config.unit or ("°C" if celsius else "value"),
    )
    task = TASKS[dataset.info.kind](config, dataset)
    runtime = common.runtime(
        config,
        bfloat16_pays_on_cpu=GAINS_BY_BFLOAT16,
        # A loop of many small operations.
        xla_pays_on_cpu=True,
    )
    with runtime.scope():
        model = task.build()
    if config.dry_run:
        return common.show_plan(task.config, model, dataset.info, runtime)
    common.check_start(task.config, "train-sequence")
    x, y = dataset.arrays("test")
    # Before a training that takes hours: it may refuse the texts.
    baseline = task.baseline(x, y)
    run = common.start(task.config, "train-sequence")
    history, speed = fit(task, model, runtime, run.directory)
    run.save_model(
        model,
        vocabulary=task.vocabulary,
        class_names=dataset.info.class_names,
    )
    run.save_samples(x, y)
    metrics, sections = evaluate(task, model)
    metrics |= {
        **baseline,
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
    export = common.export_of(run, config.formats, config.name)
    return common.finish(run, title, metrics, sections, export)


def load(config: Config):
    """Loads a series, texts or sequences.

    Raises:
        UsageError: the data are of another kind.
    """
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
            "kind": common.array_kind(config.data, "sequence"),
            "data_dir": config.data_dir,
        }
    if config.value_column or config.data == "sea-surface-temperature":
        options |= {
            "past": config.past,
            "every": config.every,
            "horizon": config.horizon,
            "period": config.period,
        }
    return common.load_data(
        config.data, kinds, limit=config.limit, every_class=True, **options
    )


def fit(task, model, runtime, directory, callbacks=()) -> tuple[dict, dict]:
    """Trains a model.

    Args:
        task: of `TASKS`, with the data and the options.
        model: any that takes these rows.
        runtime: where.
        directory: where the curves are recorded.
        callbacks: further ones.

    Returns:
        What each epoch came to, and the speed.
    """
    config, dataset = task.config, task.dataset
    rows = dataset.info.sizes["train"]
    total = -(-rows // config.batch_size) * config.epochs
    rate = kbig.training.WarmupCosine(config.learning_rate, total // 10, total)
    throughput = kbig.training.Throughput(config.batch_size)

    with runtime.scope():
        optimizer = kbig.training.adamw(
            rate, config.weight_decay, global_clipnorm=1.0
        )
        task.compile(model, runtime, optimizer)
        history = model.fit(
            training_batches(task, runtime),
            validation_data=kbig.data.batches(
                dataset.validation,
                common.shared_batch(
                    256, dataset.info.sizes["validation"], runtime
                ),
                transform=_transform(task),
            ),
            epochs=config.epochs,
            callbacks=[
                *callbacks,
                *kbig.training.run_callbacks(directory, throughput),
            ],
            verbose=common.fit_verbosity(),
            shuffle=False,
        )
    return history.history, throughput.report()


def training_batches(task, runtime):
    """Batches to train on, shuffled."""
    config, dataset = task.config, task.dataset
    rows = dataset.info.sizes["train"]
    return kbig.data.batches(
        dataset.train,
        common.shared_batch(config.batch_size, rows, runtime),
        shuffle=True,
        seed=config.seed,
        transform=_transform(task),
    )


def evaluate(task, model) -> tuple[dict, list]:
    """What a model comes to on the test rows: numbers and sections."""
    x, y = task.dataset.arrays("test")
    outputs = model.predict(task.inputs(x), batch_size=256, verbose=0)
    return task.evaluate(x, outputs, y)


def _transform(task):
    return lambda x, y: (task.inputs(x), y)
