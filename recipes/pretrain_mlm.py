"""Pretrains a BERT on a corpus by masked language modelling.

kbig pretrain-mlm --corpus austen --size tiny --out runs/pretrain
kbig pretrain-mlm --corpus articles/ --stream --from bert/ --out runs/adapted

A WordPiece vocabulary is trained on the corpus, or comes with --from, which
continues a pretrained model on another corpus. Texts are tokenized once, into
--shards, and fill rows; 15 % of the tokens are hidden anew in every batch. With
--stream the corpus may be larger than memory: its rows lie in a file beside the
shards, but those of --pack, mlm+nsp and mlm+sop are held in memory. The default
takes about 4 minutes on 2 CPU cores; held-out loss and masked accuracy
are of documents that were never trained on, at 15 % hidden tokens whatever
--masking and --rate are.
"""

import dataclasses
import pathlib
import time
from typing import ClassVar

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes import pretrain_data
from recipes import pretrain_model
from recipes import pretrain_report
from recipes import pretrain_rows
from recipes.config import EncoderConfig
from recipes.config import option

_POSITIONS = 512  # Of every BERT that kbig builds.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EncoderConfig):
    """Options of `kbig pretrain-mlm`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 20}

    corpus: tuple[str, ...] = option(
        ("austen",), "names or paths; of labelled texts only the texts"
    )
    text_column: str = option("", "column in tables; default text")
    split_column: str = option("", "column in tables; default split")
    stream: bool = option(
        False, "hold neither text files nor rows of --objective mlm in memory"
    )
    shards: str = option("", "folder of tokenized text; default in --out")
    from_: str = option("", "run, Hugging Face directory or KerasHub preset")
    size: str = option(
        "tiny",
        "size of the BERT",
        ("tiny", "mini", "small", "medium", "base", "large"),
    )
    vocabulary: str = option("", "file of WordPiece tokens, one a line")
    vocabulary_size: int = option(
        16000, "without it, tokens at most", minimum=1
    )
    lowercase: bool = option(True, "fold case")
    strip_accents: bool = option(None, "strip accents; default as --lowercase")
    sequence_length: int = option(64, "tokens of a row", minimum=5)
    objective: str = option(
        "mlm", "what is learnt", ("mlm", "mlm+nsp", "mlm+sop")
    )
    masking: str = option(
        "token", "what is hidden together", ("token", "whole-word", "span")
    )
    rate: float = option(0.15, "share of the tokens that are hidden")
    pack: bool = option(
        False, "rows of whole paragraphs that do not see each other"
    )
    epochs: int = option(3, "passes over the corpus", minimum=1)
    steps: int = option(0, "steps instead of passes", minimum=0)
    batch_size: int = option(32, "rows of a step", minimum=1)
    learning_rate: float = option(
        0.0, "peak, after a warm-up of a tenth; 0: by width", minimum=0
    )
    weight_decay: float = option(0.01, "of AdamW", minimum=0)
    dropout: float = option(
        0.0, "in the encoder, while it pretrains", minimum=0
    )


def run(config: Config) -> common.Outcome | None:
    """Pretrains, evaluates on held-out documents, saves and reports."""
    started = time.perf_counter()
    _check(config)
    corpus = pretrain_data.read_corpus(config)
    runtime = common.runtime(config)
    with runtime.scope():
        start = pretrain_model.start(config, corpus)
    runtime.check_fusable(start.backbone)
    config = _resolved(config, start)
    pretrain_rows.check_sample(corpus, start.words, config)
    if config.dry_run:
        model = kbig.models.bert_masked_lm(
            start.backbone, config.objective != "mlm"
        )
        return common.show_plan(config, model, *corpus.facts, runtime)
    run = common.start(config, "pretrain-mlm")
    shards = pretrain_data.tokenized(corpus, start.words, _shards(config, run))
    train, held_out = (_rows(part, start, config) for part in shards)
    pretrain_rows.check(train, held_out, config)
    with runtime.scope():
        model = pretrain_model.model(start, config, train.frequencies)
    fitted = pretrain_model.fit(
        config, runtime, model, train, held_out, start, run
    )
    run.save_model(model, vocabulary=start.words.vocabulary)
    metrics = {
        **_metrics(fitted, train, held_out),
        "parameters": model.count_params(),
        "vocabulary_size": len(start.words.vocabulary),
        "seconds": time.perf_counter() - started,
    }
    sections = [
        pretrain_report.curves(fitted),
        pretrain_report.fill_ins(
            model, start.words, shards[1].documents(), config
        ),
        common.run_details(config, runtime, model, *corpus.facts),
    ]
    title = f"BERT {config.from_ or config.size}, on held-out documents"
    return common.finish(run, title, metrics, sections)


def _metrics(fitted, train, held_out) -> dict[str, float]:
    return {
        **fitted.metrics,
        "perplexity": float(np.exp(fitted.metrics["test_loss"])),
        "unigram_entropy": pretrain_rows.unigram_entropy(train, held_out),
        "fill": train.fill,
        "unknown_share": train.unknown_share,
    }


def _rows(shards, start, config: Config) -> pretrain_rows.Rows:
    size = start.backbone.vocabulary_size
    file = shards.files[0].with_name("rows.int32") if config.stream else None
    return pretrain_rows.make(
        shards.documents(), start.words, config, size, file
    )


def _shards(config: Config, run) -> pathlib.Path:
    return pathlib.Path(config.shards or run.directory / "shards")


def _resolved(config: Config, start) -> Config:
    positions = start.backbone.max_sequence_length
    if config.sequence_length > positions:
        raise UsageError(
            f"--sequence-length must be at most the {positions} positions of "
            f"the backbone. Received: {config.sequence_length}."
        )
    return dataclasses.replace(
        config,
        learning_rate=pretrain_model.peak_rate(config, start.backbone),
        vocabulary_size=len(start.words.vocabulary),
        lowercase=start.words.lowercase,
        strip_accents=start.words.strip_accents,
    )


def _check(config: Config) -> None:
    if not 0 < config.rate <= 1:
        raise UsageError(
            f"--rate must be above 0 and at most 1. Received: {config.rate}."
        )
    if config.dropout >= 1:
        raise UsageError(
            f"--dropout must be below 1. Received: {config.dropout}."
        )
    if config.sequence_length > _POSITIONS and not config.from_:
        raise UsageError(
            f"--sequence-length must be from 5 to {_POSITIONS}. Received: "
            f"{config.sequence_length}."
        )
    if config.pack and config.objective != "mlm":
        raise UsageError(
            "--pack puts texts together that have nothing to do with each "
            "other, so it goes with --objective mlm alone. Received: "
            f"--objective {config.objective}."
        )
    if config.from_ and config.vocabulary:
        raise UsageError(
            "--from brings its own vocabulary. Received: --vocabulary "
            f"{config.vocabulary} too. Leave one out."
        )
