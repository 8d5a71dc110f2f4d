"""Trains a BERT text classifier, from a pretraining run or from nothing.

kbig finetune --data wordnet-topics --from runs/pretrain-mlm --out runs/topics

With --from the backbone, its vocabulary and its casing are those of that
run. The default takes about 5 minutes on 2 CPU cores. TF-IDF with logistic
regression is fitted to the same rows and printed beside.
"""

import dataclasses
import time
from typing import ClassVar

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes.config import FORMATS
from recipes.config import TrainConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Options of `kbig finetune`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 2000}

    data: str = option("wordnet-topics", "name or path of labelled texts")
    text_column: str = option("", "column of the text in tables")
    label_column: str = option("", "column of the label in tables")
    split_column: str = option("", "column of the split in tables")
    data_dir: str = option("", "folder of tensorflow-datasets")
    from_: str = option("", "run directory to start from")
    size: str = option(
        "tiny",
        "size of the BERT, when it starts from nothing",
        ("tiny", "mini", "small", "medium", "base", "large"),
    )
    vocabulary_size: int = option(
        16000, "likewise, WordPiece tokens at most", minimum=1
    )
    lowercase: bool = option(True, "likewise, fold case and strip accents")
    sequence_length: int = option(
        0, "tokens of a row; 0: from the data", minimum=0
    )
    epochs: int = option(3, "passes over the training rows", minimum=1)
    batch_size: int = option(32, "rows of a step", minimum=1)
    learning_rate: float = option(
        5e-4, "peak, after a warm-up of a tenth", minimum=1e-9
    )
    weight_decay: float = option(0.01, "of AdamW", minimum=0)
    dropout: float = option(0.1, "before the classifier", minimum=0)
    pooling: str = option(
        "mean", "what the classifier sees of the tokens", ("mean", "cls")
    )
    formats: tuple[str, ...] = option((), "what to export at the end", FORMATS)
    baseline: bool = option(True, "also fit TF-IDF and logistic regression")


@dataclasses.dataclass(frozen=True)
class _Start:
    """What training starts from."""

    vocabulary: tuple[str, ...]
    lowercase: bool
    backbone: object


def run(config: Config) -> common.Outcome:
    """Fine-tunes, tests, saves, exports when asked, and reports."""
    started = time.perf_counter()
    dataset = common.load_data(
        config.data,
        ("text",),
        text_column=config.text_column,
        label_column=config.label_column,
        split_column=config.split_column,
        data_dir=config.data_dir,
        limit=config.limit,
    )
    texts, labels = dataset.arrays("train")
    runtime = common.runtime(config, xla_pays_on_cpu=True)
    start, model = _model(config, runtime, texts, dataset.info.class_names)
    tokenizer = kbig.data.tokenizer(start.vocabulary, start.lowercase)
    config = dataclasses.replace(
        config,
        name=config.name or common.data_name(config.data),
        lowercase=start.lowercase,
        vocabulary_size=len(start.vocabulary),
        sequence_length=config.sequence_length
        or kbig.data.suitable_length(
            texts, tokenizer, start.backbone.max_sequence_length
        ),
    )
    _check_length(config, start.backbone)
    if config.dry_run:
        return common.show_plan(config, model, dataset.info, runtime)
    run = common.start(config, "finetune")
    history, speed = _fit(config, runtime, model, dataset, tokenizer, run)
    test_texts, test_labels = dataset.arrays("test")
    logits = _logits(model, test_texts, tokenizer, config)
    report = kbig.evaluation.classification(
        logits, test_labels, dataset.info.class_names
    )
    run.save_model(
        model,
        vocabulary=start.vocabulary,
        class_names=dataset.info.class_names,
    )
    run.save_samples(test_texts, test_labels)
    metrics = {
        "test_accuracy": report.accuracy,
        "test_loss": report.loss,
        "test_macro_f1": report.macro_f1,
        "parameters": model.count_params(),
        **speed,
    }
    if config.baseline:
        predicted = kbig.baselines.tfidf_logistic_regression(
            texts, labels, test_texts
        )
        metrics["baseline_accuracy"] = float((predicted == test_labels).mean())
    metrics["seconds"] = time.perf_counter() - started
    sections = [
        kbig.sections.training(history, common.CLASSIFIER_CURVES),
        kbig.sections.classification(report),
        kbig.sections.predictions(
            test_texts[:3],
            logits[:3],
            test_labels[:3],
            dataset.info.class_names,
        ),
        common.run_details(config, runtime, model, dataset.info),
    ]
    title = f"BERT on {config.name}"
    export = common.export_of(run, config.formats, config.name)
    return common.finish(run, title, metrics, sections, export)


def _model(config, runtime, texts, class_names):
    with runtime.scope():
        start = _start(config, texts)
        model = kbig.models.bert_classifier(
            start.backbone, len(class_names), config.dropout, config.pooling
        )
    return start, model


def _start(config: Config, texts) -> _Start:
    if not config.from_:
        vocabulary = kbig.data.train_vocabulary(
            texts, config.vocabulary_size, lowercase=config.lowercase
        )
        backbone = kbig.models.bert(config.size, len(vocabulary))
        return _Start(vocabulary, config.lowercase, backbone)
    earlier = kbig.runs.Run.open(config.from_)
    backbone = _in_this_precision(kbig.models.find_bert(earlier.load_model()))
    return _Start(earlier.vocabulary, earlier.config["lowercase"], backbone)


def _in_this_precision(backbone):
    """The backbone under the policy in force, not that of its own run."""
    import keras

    policy = keras.config.dtype_policy().name
    copy = type(backbone).from_config(backbone.get_config() | {"dtype": policy})
    copy.set_weights(backbone.get_weights())
    return copy


def _check_length(config: Config, backbone) -> None:
    longest = backbone.max_sequence_length
    if not 3 <= config.sequence_length <= longest:
        raise UsageError(
            f"--sequence-length must be from 3 to the {longest} positions of "
            f"the backbone. Received: {config.sequence_length}."
        )


def _fit(config, runtime, model, dataset, tokenizer, run):
    rows = dataset.info.sizes["train"]
    train = kbig.data.bucketed_batches(
        *dataset.arrays("train"),
        config.batch_size,
        tokenizer,
        config.sequence_length,
        shuffle=True,
        seed=config.seed,
        # XLA compiles each shape of a batch anew.
        drop_remainder=rows >= 20 * config.batch_size,
    )
    validation = kbig.data.bucketed_batches(
        *dataset.arrays("validation"), 128, tokenizer, config.sequence_length
    )
    steps = int(train.cardinality())
    total = steps * config.epochs
    rate = kbig.training.WarmupLinear(config.learning_rate, total // 10, total)
    with runtime.scope():
        optimizer = kbig.training.adamw(
            rate, config.weight_decay, global_clipnorm=1.0
        )
    common.compile_classifier(model, runtime, optimizer)
    throughput = kbig.training.Throughput(min(rows / steps, config.batch_size))
    history = model.fit(
        train,
        validation_data=validation,
        epochs=config.epochs,
        callbacks=kbig.training.run_callbacks(run.directory, throughput),
        verbose=common.fit_verbosity(),
        shuffle=False,
    )
    return history.history, throughput.report()


def _logits(model, texts, tokenizer, config) -> np.ndarray:
    inputs = kbig.data.encode(texts, tokenizer, config.sequence_length)
    return model.predict(inputs, batch_size=128, verbose=0)
