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
import functools
import time
from typing import ClassVar

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes import text_results
from recipes import text_tasks
from recipes import text_training
from recipes.config import FORMATS
from recipes.config import TrainConfig
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
class Config(TrainConfig):
    """Options of `kbig finetune`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 2000}

    data: str = option("wordnet-topics", "name or path of labelled texts")
    task: str = option(
        "",
        "what labels of tables are; CoNLL files are tags",
        ("classification", "multilabel", "regression", "tags"),
    )
    text_column: str = option("", "column of the text in tables")
    pair_column: str = option("", "column of a second text")
    label_column: str = option("", "column of the label in tables")
    split_column: str = option("", "column of the split in tables")
    data_dir: str = option("", "folder of tensorflow-datasets")
    from_: str = option("", "run, Hugging Face directory or KerasHub preset")
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
    formats: tuple[str, ...] = option((), "what to export at the end", FORMATS)
    baseline: bool = option(True, "also fit a baseline without a BERT")


@dataclasses.dataclass(frozen=True)
class _Start:
    """What trainings start from: words, and how to make a backbone."""

    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool
    positions: int
    backbone: functools.partial
    untrained: functools.partial


def run(config: Config) -> common.Outcome:
    """Fine-tunes, tests, saves, exports when asked, and reports."""
    started = time.perf_counter()
    dataset = _load(config)
    start = _start(config, dataset)
    tokenizer = kbig.data.tokenizer(
        start.vocabulary, start.lowercase, start.strip_accents
    )
    config = _resolved(config, dataset, start, tokenizer)
    material = text_training.Material(config, dataset, tokenizer)
    if config.dry_run:
        return _show_plan(material, start)
    # Before a training that takes hours: it may refuse the texts.
    baseline = text_results.baseline(material)
    run = common.start(config, "finetune")
    material = dataclasses.replace(material, directory=run.directory)
    trials = _trials(material, start.backbone, config.method)
    controls = (
        _trials(material, start.untrained, "full", "control")
        if config.control
        else []
    )
    kept = trials[0]
    _save(run, material, kept, start)
    metrics = text_results.numbers(material, trials, controls) | baseline
    metrics["seconds"] = time.perf_counter() - started
    sections = [
        kbig.sections.training(kept.history, _CURVES),
        material.task.section(kept.report),
        *text_results.comparison(material, trials, controls, metrics),
        *text_results.examples(material, kept),
        common.run_details(
            config, kept.runtime, kept.tuning.model, dataset.info, kept.tuning
        ),
    ]
    export = common.export_of(run, config.formats, config.name)
    return common.finish(
        run, f"BERT on {config.name}", metrics, sections, export
    )


_CURVES = {**common.CLASSIFIER_CURVES, "mae": "Mean absolute error"}


def _load(config: Config):
    # Data that come with kbig, and tags, have a task of their own.
    named = config.task in ("multilabel", "regression")
    dataset = common.load_data(
        config.data,
        ("text", "tags"),
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


def _start(config: Config, dataset) -> _Start:
    if config.from_:
        found = kbig.pretrained.load(config.from_)
        for note in found.notes:
            print(note)
        size = _size_of(found.backbone)
        return _Start(
            found.vocabulary,
            found.lowercase,
            found.strip_accents,
            found.backbone.max_sequence_length,
            functools.partial(_loaded, config.from_),
            functools.partial(
                kbig.models.bert, size, found.backbone.vocabulary_size
            ),
        )
    texts = text_tasks.TASKS[dataset.info.task].texts(
        dataset.arrays("train")[0]
    )
    tokens = common.new_vocabulary(text_tasks.strings(texts), config)
    new = functools.partial(kbig.models.bert, config.size, len(tokens[0]))
    return _Start(*tokens, _POSITIONS, new, new)


def _loaded(source: str):
    """Read anew for each training, since training changes the weights."""
    return kbig.pretrained.load(source).backbone


def _size_of(backbone) -> dict:
    names = (
        "num_layers",
        "hidden_dim",
        "num_heads",
        "intermediate_dim",
        "max_sequence_length",
        "dropout",
    )
    activation = kbig.models.activation_of(backbone.transformer_layers[0])
    sizes = {name: getattr(backbone, name) for name in names}
    return {**sizes, "activation": activation}


_POSITIONS = 512  # Of every BERT that kbig builds.


def _resolved(config: Config, dataset, start: _Start, tokenizer) -> Config:
    task = dataset.info.task
    if config.class_weights != "none" and task != "classification":
        raise UsageError(
            "--class-weights needs one class a text. Received: "
            f"--class-weights {config.class_weights} for the task {task}."
        )
    if config.method == "gradual" and config.epochs < 2:
        raise UsageError(
            "--method gradual needs an epoch for the head and one for the "
            f"rest. Received: --epochs {config.epochs}."
        )
    texts = text_tasks.TASKS[task].texts(dataset.arrays("train")[0])
    length = config.sequence_length or kbig.data.suitable_length(
        texts, tokenizer, start.positions
    )
    if not 3 <= length <= start.positions:
        raise UsageError(
            f"--sequence-length must be from 3 to the {start.positions} "
            f"positions of the backbone. Received: {length}."
        )
    return dataclasses.replace(
        config,
        name=config.name or common.data_name(config.data),
        task=task,
        lowercase=start.lowercase,
        strip_accents=start.strip_accents,
        vocabulary_size=len(start.vocabulary),
        sequence_length=length,
    )


def _show_plan(material, start: _Start) -> None:
    runtime = common.runtime(material.config, xla_pays_on_cpu=True)
    with runtime.scope():
        model = material.build(start.backbone())
    facts = (material.dataset.info, runtime)
    return common.show_plan(material.config, model, *facts)


def _trials(material, backbone, method: str, name: str = "") -> list:
    """One training a seed; the first one's records are the run's own."""
    trials = []
    for seed in range(material.config.seed, _last_seed(material.config)):
        config = dataclasses.replace(material.config, seed=seed)
        own = not trials and not name
        directory = material.directory
        if not own:
            directory /= f"seeds/{name or method}-{seed}"
        trial = text_training.train(
            dataclasses.replace(material, config=config),
            backbone,
            method,
            directory,
        )
        trials.append(trial)
    return trials


def _last_seed(config: Config) -> int:
    return config.seed + config.seeds


def _save(run, material, trial, start: _Start) -> None:
    texts, labels = material.dataset.arrays("test")
    run.save_model(
        trial.model,
        vocabulary=start.vocabulary,
        class_names=material.dataset.info.class_names,
    )
    is_tagging = material.dataset.info.kind == "tags"
    run.save_samples(material.task.texts(texts), None if is_tagging else labels)
    if trial.tuning.method != "full":
        part = kbig.tuning.save_part(
            trial.tuning.model,
            run.directory / "part.safetensors",
            trial.tuning.method,
        )
        kbig.reporting.show(*part.tables())
