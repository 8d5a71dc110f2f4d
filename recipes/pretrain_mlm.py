"""Pretrains a BERT on a corpus by masked language modelling.

kbig pretrain-mlm --corpus austen --size tiny --out runs/pretrain

A WordPiece vocabulary is trained on the corpus, texts are packed into full
rows, and 15 % of the tokens are hidden anew in every batch. The default
takes about 4 minutes on 2 CPU cores; held-out loss and masked accuracy are
of documents that were never trained on.
"""

import dataclasses
import time
from typing import ClassVar

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes.config import TrainConfig
from recipes.config import option

_CURVE_POINTS = 4
_POSITIONS = 512  # Of every BERT that kbig builds.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TrainConfig):
    """Options of `kbig pretrain-mlm`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 20}

    corpus: tuple[str, ...] = option(
        ("austen",), "names or paths; of labelled texts only the texts"
    )
    text_column: str = option("", "column of the text in tables")
    label_column: str = option("", "column of the label in tables")
    size: str = option(
        "tiny",
        "size of the BERT",
        ("tiny", "mini", "small", "medium", "base", "large"),
    )
    vocabulary_size: int = option(16000, "WordPiece tokens, at most", minimum=1)
    lowercase: bool = option(True, "fold case and strip accents")
    sequence_length: int = option(64, "tokens of a row", minimum=0)
    rate: float = option(0.15, "share of the tokens that are hidden")
    epochs: int = option(3, "passes over the corpus", minimum=1)
    batch_size: int = option(32, "rows of a step", minimum=1)
    learning_rate: float = option(
        1e-3, "peak, after a warm-up of a tenth", minimum=1e-9
    )
    weight_decay: float = option(0.01, "of AdamW", minimum=0)


@dataclasses.dataclass(frozen=True)
class _Corpus:
    """Documents of both splits, and where they come from."""

    train: list[str]
    held_out: list[str]
    infos: list


def run(config: Config) -> common.Outcome:
    """Pretrains, evaluates on held-out documents, saves and reports."""
    started = time.perf_counter()
    _check(config)
    corpus = read_corpus(config)
    vocabulary = kbig.data.train_vocabulary(
        corpus.train, config.vocabulary_size, lowercase=config.lowercase
    )
    tokenizer = kbig.data.tokenizer(vocabulary, config.lowercase)
    rows = _rows(corpus.train, tokenizer, config)
    held_out_rows = _rows(corpus.held_out, tokenizer, config)
    runtime = common.runtime(config, xla_pays_on_cpu=True)
    with runtime.scope():
        backbone = kbig.models.bert(config.size, len(vocabulary))
        model = kbig.models.bert_masked_lm(
            backbone, token_frequencies=_frequencies(rows, vocabulary)
        )
    if config.dry_run:
        return common.show_plan(config, model, *corpus.infos, runtime)
    run = common.start(config, "pretrain-mlm")
    history, speed = _fit(
        config, runtime, model, (rows, held_out_rows), vocabulary, run
    )
    run.save_model(model, vocabulary=vocabulary)
    metrics = {
        "test_loss": history["val_loss"][-1],
        "test_accuracy": history["val_accuracy"][-1],
        "perplexity": float(np.exp(history["val_loss"][-1])),
        "unigram_entropy": _unigram_entropy(rows, held_out_rows, vocabulary),
        "parameters": model.count_params(),
        "vocabulary_size": len(vocabulary),
        **speed,
        "seconds": time.perf_counter() - started,
    }
    curves = {"loss": "Loss", "accuracy": "Masked accuracy"}
    sections = [
        kbig.sections.training(
            history,
            curves,
            "Pretraining",
            f"{config.epochs} passes over the corpus, in equal parts; dashed: "
            "held-out documents.",
        ),
        common.run_details(config, runtime, model, *corpus.infos),
    ]
    title = f"BERT {config.size}, pretrained"
    return common.finish(run, title, metrics, sections)


def _fit(config, runtime, model, rows, vocabulary, run):
    import keras

    rows, held_out_rows = rows
    total = max(1, len(rows) // config.batch_size) * config.epochs
    # Keras's epochs are parts of the run here: one pass has a curve too.
    parts = min(total, max(config.epochs, _CURVE_POINTS))
    total -= total % parts
    with runtime.scope():
        rate = kbig.training.WarmupLinear(
            config.learning_rate, total // 10, total
        )
        model.compile(
            kbig.training.adamw(rate, config.weight_decay, global_clipnorm=1.0),
            # Averaged over hidden tokens only, not over padding.
            keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            ),
            weighted_metrics=["accuracy"],
            jit_compile=runtime.jit_compile,
        )
    tokens_a_row = (rows != vocabulary.index("[PAD]")).sum() / len(rows)
    throughput = kbig.training.Throughput(
        tokens_a_row * config.batch_size, unit="tokens"
    )
    history = model.fit(
        _masked(rows, vocabulary, config, training=True),
        steps_per_epoch=total // parts,
        epochs=parts,
        validation_data=_masked(
            held_out_rows, vocabulary, config, training=False
        ),
        callbacks=kbig.training.run_callbacks(run.directory, throughput),
        verbose=common.fit_verbosity(),
        shuffle=False,
    ).history
    return history, throughput.report()


def read_corpus(config: Config) -> _Corpus:
    """Loads every part of the corpus; test rows are never read."""
    if not config.corpus:
        raise UsageError("A corpus is needed. Received: none.")
    train, held_out, infos = [], [], []
    for name in config.corpus:
        columns = {}
        if any(suffix in name for suffix in (".csv", ".tsv", ".jsonl")):
            columns["text_column"] = config.text_column
            columns["label_column"] = config.label_column
        dataset = common.load_data(
            name, ("corpus", "text"), limit=config.limit, **columns
        )
        train += list(dataset.arrays("train")[0])
        held_out += list(dataset.arrays("validation")[0])
        infos.append(dataset.info)
    return _Corpus(train, held_out, infos)


def _check(config: Config) -> None:
    if not 0 < config.rate < 1:
        raise UsageError(
            f"--rate must be between 0 and 1. Received: {config.rate}."
        )
    if not 3 <= config.sequence_length <= _POSITIONS:
        raise UsageError(
            f"--sequence-length must be from 3 to {_POSITIONS}. Received: "
            f"{config.sequence_length}."
        )


def _rows(documents, tokenizer, config) -> np.ndarray:
    """Documents as full rows of ids, int32 `(rows, sequence_length)`."""
    paragraphs = [p for text in documents for p in text.split("\n")]
    ids = kbig.data.tokenize(paragraphs, tokenizer)
    return kbig.data.pack_documents(
        [np.split(ids.flat_values.numpy(), ids.row_splits.numpy()[1:-1])],
        config.sequence_length,
        cls_id=tokenizer.cls_token_id,
        sep_id=tokenizer.sep_token_id,
        pad_id=tokenizer.pad_token_id,
    )


def _masked(rows, vocabulary, config, training: bool):
    return kbig.data.masked_batches(
        rows,
        config.batch_size,
        vocabulary_size=len(vocabulary),
        mask_id=vocabulary.index("[MASK]"),
        special_ids=_special_ids(vocabulary),
        max_predictions=max(1, round(config.sequence_length * config.rate)),
        rate=config.rate,
        pad_id=vocabulary.index("[PAD]"),
        seed=config.seed,
        training=training,
    )


def _unigram_entropy(rows, held_out_rows, vocabulary) -> float:
    """Nats a token when each is predicted by its frequency in training.

    What a model without context reaches on the held-out rows: the bar that
    the loss has to fall below.
    """
    frequencies = _frequencies(rows, vocabulary)
    hidden = held_out_rows[~np.isin(held_out_rows, _special_ids(vocabulary))]
    return float(-np.log(frequencies[hidden]).mean())


def _frequencies(rows, vocabulary) -> np.ndarray:
    """Share of each id among what may be hidden, float32, none is 0."""
    counts = np.bincount(rows.ravel(), minlength=len(vocabulary))
    counts[_special_ids(vocabulary)] = 0
    return ((counts + 1) / (counts + 1).sum()).astype(np.float32)


def _special_ids(vocabulary) -> list[int]:
    return [vocabulary.index(token) for token in kbig.data.SPECIAL_TOKENS]
