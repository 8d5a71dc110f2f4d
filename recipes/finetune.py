"""Fine-tunes a BERT on labelled texts, from a pretrained one or from nothing.

kbig finetune --data wordnet-topics --from runs/pretrain --out runs/topics
kbig finetune --data pairs.csv --pair-column second --from bert/ --method lora
kbig finetune --data ner.conll --from runs/pretrain --out runs/ner

--from takes a run directory, a Hugging Face directory (config.json,
model.safetensors, vocab.txt) or a KerasHub preset; vocabulary and casing come
with it. The default takes about 5 minutes on 2 CPU cores. A baseline is
fitted to the same rows and printed beside.
"""

import dataclasses
import pathlib
import time
from typing import ClassVar

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes import text_results
from recipes import text_start
from recipes import text_tasks
from recipes import text_training
from recipes.config import FLOAT_FORMATS
from recipes.config import EncoderConfig
from recipes.config import option

# As kbig.tuning has them, which only loads with TensorFlow.
METHODS = (
    "full",
    "frozen",
    "gradual",
    "layerwise",
    "lora",
    "houlsby",
    "pfeiffer",
    "bitfit",
)
PROJECTIONS = (
    "query",
    "key",
    "value",
    "output",
    "intermediate",
    "feedforward_output",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EncoderConfig):
    """Options of `kbig finetune`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 2000}

    data: str = option("wordnet-topics", "name or path of labelled texts")
    task: str = option(
        "",
        "what labels of tables are; CoNLL files are tags",
        ("classification", "multilabel", "regression", "tags"),
    )
    text_column: str = option("", "column in tables; default text")
    pair_column: str = option("", "column of a second text")
    label_column: str = option("", "column in tables; default label")
    split_column: str = option("", "column in tables; default split")
    data_dir: str = option("", "folder of tensorflow-datasets")
    from_: str = option("", "run, Hugging Face directory or KerasHub preset")
    new_words: int = option(
        -1,
        "tokens to add for the task's words, at most; -1: as many as there "
        "are, where a fifth of the words are broken up",
        minimum=-1,
    )
    size: str = option(
        "tiny",
        "size of the BERT, when it starts from nothing",
        ("tiny", "mini", "small", "medium", "base", "large"),
    )
    vocabulary_size: int = option(
        16000, "likewise, WordPiece tokens at most", minimum=1
    )
    lowercase: bool = option(True, "likewise, fold case")
    strip_accents: bool = option(
        None, "likewise, strip accents; default as --lowercase"
    )
    method: str = option("full", "what is trained", METHODS)
    rank: int = option(8, "of lora", minimum=1)
    projections: tuple[str, ...] = option(
        ("query", "value"), "of lora", PROJECTIONS
    )
    adapter_dim: int = option(64, "of houlsby and pfeiffer", minimum=1)
    layer_decay: float = option(0.9, "of layerwise, a layer", minimum=0)
    sequence_length: int = option(
        0, "tokens of a row; 0: from the data", minimum=0
    )
    epochs: int = option(3, "passes over the training rows", minimum=1)
    batch_size: int = option(32, "rows of a step", minimum=1)
    learning_rate: float = option(
        0.0, "peak, after a warm-up of a tenth; 0: by method", minimum=0
    )
    weight_decay: float = option(0.01, "of AdamW", minimum=0)
    dropout: float = option(0.1, "before the head", minimum=0)
    pooling: str = option(
        "mean", "what a head for whole texts sees", ("mean", "cls")
    )
    class_weights: str = option("none", "of the loss", ("none", "balanced"))
    patience: int = option(
        0, "epochs without a better validation; 0: never stop", minimum=0
    )
    seeds: int = option(
        1, "trainings, for mean and spread; the first is kept", minimum=1
    )
    control: bool = option(False, "also train the same BERT from nothing")
    formats: tuple[str, ...] = option(
        (), "what to export at the end", FLOAT_FORMATS
    )
    baseline: bool = option(True, "also fit a baseline without a BERT")


def run(config: Config) -> common.Outcome | None:
    """Fine-tunes, tests, saves, exports when asked, and reports."""
    started = time.perf_counter()
    _check(config)
    dataset = load(config)
    start = text_start.start(config, dataset)
    tokenizer = kbig.data.tokenizer(
        start.vocabulary, start.lowercase, start.strip_accents
    )
    config = _resolved(config, dataset, start, tokenizer)
    material = text_training.Material(config, dataset, tokenizer)
    material = _rehearsed(material, start)
    config = material.config
    if config.dry_run:
        return None
    common.check_start(config, "finetune")
    # Before a training that takes hours: it may refuse the texts.
    baseline = text_results.baseline(material)
    run = common.start(config, "finetune")
    kept = text_training.train(
        material, start.backbone, config.method, run.directory
    )
    _save(run, material, kept, start)
    reports, controls = _further(material, start, run)
    reports = [kept.report, *reports]
    metrics = text_results.numbers(material, kept, reports, controls)
    metrics |= baseline
    metrics["seconds"] = time.perf_counter() - started
    sections = [
        kbig.sections.training(kept.history, CURVES),
        material.task.section(kept.report),
        *text_results.comparison(material, reports, controls, metrics),
        *text_results.examples(material, kept.outputs),
        common.run_details(
            config, kept.runtime, kept.tuning.model, dataset.info, kept.tuning
        ),
    ]
    export = common.export_of(run, config.formats, config.name)
    return common.finish(
        run, f"BERT on {config.name}", metrics, sections, export
    )


CURVES = {
    **common.CLASSIFIER_CURVES,
    "mae": "Mean absolute error",
    "micro_f1": "Micro F1",
    "f1": "Span F1",
    "pearson": "Pearson correlation",
}


def load(config: Config):
    """Loads the data, for the task that was asked for.

    Raises:
        UsageError: the data are of another kind or task.
    """
    # Data that come with kbig, and tags, have a task of their own.
    named = config.task in ("multilabel", "regression")
    columns = config.task == "tags" and pathlib.Path(config.data).exists()
    dataset = common.load_data(
        config.data,
        ("text", "tags"),
        every_class=True,
        kind="tags" if columns else "",
        task=config.task if named else "",
        text_column=config.text_column,
        pair_column=config.pair_column,
        label_column=config.label_column,
        split_column=config.split_column,
        data_dir=config.data_dir,
        limit=config.limit,
    )
    if config.task not in ("", dataset.info.task):
        raise UsageError(
            f"The labels of {config.data} are those of the task "
            f"{dataset.info.task}. Received: --task {config.task}. Leave it "
            "out, or pass other data."
        )
    return dataset


def _check(config: Config) -> None:
    """Raises where options exclude each other, whatever the data are."""
    if config.method == "gradual" and config.epochs < 2:
        raise UsageError(
            "--method gradual needs an epoch for the head and one for the "
            f"rest. Received: --epochs {config.epochs}."
        )
    if config.control and config.method == "full" and not config.from_:
        raise UsageError(
            "--control trains the same BERT from nothing by --method full, "
            "which is what this run does. Received: --control without --from. "
            "Leave it out, or pass --from."
        )


def _resolved(config: Config, dataset, start, tokenizer) -> Config:
    task = dataset.info.task
    if config.class_weights != "none" and task != "classification":
        raise UsageError(
            "--class-weights needs one class a text. Received: "
            f"--class-weights {config.class_weights} for the task {task}."
        )
    texts = text_tasks.TASKS[task].texts(dataset.arrays("train")[0])
    return dataclasses.replace(
        config,
        name=config.name or common.data_name(config.data),
        task=task,
        lowercase=start.lowercase,
        strip_accents=start.strip_accents,
        vocabulary_size=len(start.vocabulary),
        sequence_length=text_start.row_length(
            config, texts, tokenizer, start.positions, "the backbone"
        ),
    )


def _rehearsed(material, start):
    """Makes once what a training needs: mistakes show before there is a run.

    Returns:
        The material, with the learning rate in force.
    """
    config = material.config
    runtime, tuning = text_training.prepared(
        material, start.backbone, config.method
    )
    material.class_weights()
    rate = text_training.peak_rate(config, tuning.model, config.method)
    config = dataclasses.replace(config, learning_rate=rate)
    if config.dry_run:
        facts = (material.dataset.info, runtime, tuning)
        common.show_plan(config, tuning.model, *facts)
    return dataclasses.replace(material, config=config)


def _further(material, start, run) -> tuple[list, list]:
    """Reports of the seeds after the first, and of the control's."""
    config = material.config
    seeds = range(config.seed, config.seed + config.seeds)

    def reports(backbone, method, seeds, name):
        # Of each training only the report: models would fill the memory.
        return [
            text_training.train(
                dataclasses.replace(
                    material, config=dataclasses.replace(config, seed=seed)
                ),
                backbone,
                method,
                run.directory / f"seeds/{name}-{seed}",
            ).report
            for seed in seeds
        ]

    return (
        reports(start.backbone, config.method, seeds[1:], config.method),
        reports(start.untrained, "full", seeds, "control")
        if config.control
        else [],
    )


def _save(run, material, trial, start) -> None:
    run.save_model(
        trial.model,
        vocabulary=start.vocabulary,
        class_names=material.dataset.info.class_names,
    )
    run.save_samples(*text_results.samples(material))
    if trial.tuning.method != "full":
        part = kbig.tuning.save_part(
            trial.tuning.model,
            run.directory / "part.safetensors",
            trial.tuning.method,
        )
        kbig.reporting.show(*part.tables())
