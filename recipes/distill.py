"""Trains a small BERT classifier to do what a large one does.

kbig distill --from runs/finetune --size tiny --out runs/small

--from is a run of `kbig finetune`, the teacher. It labels the training texts
once, with altered copies of them and, if there are any, unlabelled texts; the
student learns its logits. --method hidden, attention or all also teaches the
teacher's insides, which then computes along and makes a step many times as
dear. The student starts from nothing or from --student, as of
`kbig pretrain-mlm`.
"""

import dataclasses
import time
from typing import ClassVar

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes import pretrain_data
from recipes.config import FLOAT_FORMATS
from recipes.config import EncoderConfig
from recipes.config import option
from recipes.distill_models import METHODS
from recipes.distill_models import Reader
from recipes.distill_models import check_classes
from recipes.distill_models import load_teacher
from recipes.distill_models import make_learner
from recipes.distill_models import make_student
from recipes.distill_models import open_teacher

# Peak learning rate of a student so wide; wider ones take less.
_RATE, _WIDTH = 1e-3, 128
_CURVES = {**common.CLASSIFIER_CURVES, "agreement": "Agreement with teacher"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(EncoderConfig):
    """Options of `kbig distill`."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 2000, "augment": 1}

    data: str = option("wordnet-topics", "name or path of labelled texts")
    text_column: str = option("", "column in tables; default text")
    pair_column: str = option("", "column of a second text in tables")
    label_column: str = option("", "column in tables; default label")
    split_column: str = option("", "column in tables; default split")
    data_dir: str = option("", "folder of tensorflow-datasets")
    unlabelled: tuple[str, ...] = option(
        (), "further texts, which the teacher labels: names or paths"
    )
    augment: int = option(
        4, "altered copies of each text, which the teacher labels", minimum=0
    )
    from_: str = option("", "run directory of the teacher, a classifier")
    student: str = option("", "what the student starts from; default nothing")
    size: str = option(
        "tiny",
        "size of a student that starts from nothing",
        ("tiny", "mini", "small", "medium", "base", "large"),
    )
    vocabulary: str = option(
        "teacher", "likewise, whose tokens it reads", ("teacher", "own")
    )
    embeddings: str = option(
        "teacher",
        "of the teacher's tokens: narrowed ones of the teacher, or random",
        ("teacher", "random"),
    )
    vocabulary_size: int = option(
        8000, "of its own vocabulary, tokens at most", minimum=1
    )
    lowercase: bool = option(True, "likewise, fold case")
    strip_accents: bool = option(
        None, "likewise, strip accents; default as --lowercase"
    )
    sequence_length: int = option(
        0, "tokens of a row of the student; 0: from the data", minimum=0
    )
    method: str = option("logits", "what is taught", tuple(METHODS))
    temperature: float = option(2.0, "that softens the logits")
    alpha: float = option(0.9, "weight of the logits, the labels' is the rest")
    hidden: float = option(1.0, "weight of the hidden states", minimum=0)
    attention: float = option(1.0, "weight of the attention", minimum=0)
    epochs: int = option(3, "passes over all texts to learn", minimum=1)
    batch_size: int = option(32, "rows of a step", minimum=1)
    learning_rate: float = option(
        0.0, "peak, after a warm-up of a tenth; 0: by width", minimum=0
    )
    weight_decay: float = option(0.01, "of AdamW", minimum=0)
    dropout: float = option(0.1, "before the classifier", minimum=0)
    pooling: str = option(
        "mean", "what the classifier sees of the tokens", ("mean", "cls")
    )
    formats: tuple[str, ...] = option(
        (), "what to export at the end", FLOAT_FORMATS
    )


def run(config: Config) -> common.Outcome:
    """Distils, tests, saves, exports when asked, and reports."""
    started = time.perf_counter()
    kbig.tuning.DistillationLoss(config.temperature, config.alpha)  # Checks.
    earlier = open_teacher(config)
    dataset = _data(config)
    check_classes(earlier, dataset.info)
    runtime = common.runtime(config)
    with runtime.scope():
        teacher = load_teacher(earlier)
        student = make_student(config, teacher, dataset)
        learner = make_learner(config, student, teacher)
    runtime.check_fusable(student.model)
    config = _in_force(config, student)
    unlabelled = _unlabelled(config, dataset)
    if config.dry_run:
        return common.show_plan(config, student.model, dataset.info, runtime)
    run = common.start(config, "distill")
    lessons = {
        split: _lesson(config, teacher, dataset, split, unlabelled)
        for split in ("train", "validation")
    }
    history, speed = _fit(config, runtime, student, learner, lessons, run)
    names = dataset.info.class_names
    run.save_model(
        student.model, vocabulary=student.vocabulary, class_names=names
    )
    run.save_samples(*dataset.arrays("test"))
    metrics, sections = _tested(student, teacher, dataset)
    metrics |= {
        "model_bytes": _model_bytes(run),
        "teacher_bytes": _model_bytes(earlier),
        **speed,
        "seconds": time.perf_counter() - started,
    }
    sections = [
        kbig.sections.training(history, _CURVES),
        _comparison(metrics),
        *sections,
        common.run_details(config, runtime, student.model, dataset.info),
    ]
    export = common.export_of(run, config.formats, config.name)
    title = f"BERT on {config.name}, distilled"
    return common.finish(run, title, metrics, sections, export)


def _data(config: Config):
    return common.load_data(
        config.data,
        ("text",),
        every_class=True,
        text_column=config.text_column,
        pair_column=config.pair_column,
        label_column=config.label_column,
        split_column=config.split_column,
        data_dir=config.data_dir,
        limit=config.limit,
    )


def _in_force(config: Config, student: Reader) -> Config:
    return dataclasses.replace(
        config,
        name=config.name or common.data_name(config.data),
        vocabulary_size=len(student.vocabulary),
        lowercase=student.lowercase,
        strip_accents=student.strip_accents,
        sequence_length=student.sequence_length,
        learning_rate=config.learning_rate
        or _RATE * min(1, _WIDTH / student.width),
    )


def _lesson(config, teacher: Reader, dataset, split: str, unlabelled):
    """The texts of a split, and what the teacher says about them."""
    texts, labels = dataset.arrays(split)
    more = {}
    if split == "train":
        more = {
            "copies": config.augment,
            "unlabelled": unlabelled,
            "seed": config.seed,
        }
        count = len(texts) * (1 + config.augment) + len(unlabelled)
        print(f"the teacher labels {count:,} texts, once")
    return kbig.tuning.transfer_set(teacher.logits, texts, labels, **more)


def _unlabelled(config: Config, dataset) -> list[str]:
    """Texts of every split, but none that the student is tested on."""
    if not config.unlabelled:
        return []
    if dataset.info.shapes["x"]:
        raise UsageError(
            "--unlabelled are single texts, and the data are pairs. Received: "
            f"--unlabelled {','.join(config.unlabelled)}. Leave it out, and "
            "raise --augment instead."
        )
    texts = []
    for name in config.unlabelled:
        found = pretrain_data.load_texts(name, text_column=config.text_column)
        for split in found.info.sizes:
            # A corpus comes in documents, their paragraphs in lines.
            for text in found.arrays(split)[0]:
                texts += text.split("\n")
    held_out = {
        text.strip()
        for split in ("validation", "test")
        for text in dataset.arrays(split)[0]
    }
    return [text for text in texts if text.strip() not in held_out]


def _fit(config, runtime, student: Reader, learner, lessons, run):
    rows = len(lessons["train"][0])
    batch_size, validation_batch_size = (
        common.shared_batch(size, len(lessons[split][0]), runtime, True)
        for size, split in ((config.batch_size, "train"), (128, "validation"))
    )
    train = student.batches(
        *lessons["train"],
        batch_size,
        shuffle=True,
        seed=config.seed,
        # XLA compiles each shape of a batch anew.
        drop_remainder=rows >= 20 * config.batch_size,
    )
    steps = int(train.cardinality())
    total = steps * config.epochs
    rate = kbig.training.WarmupLinear(config.learning_rate, total // 10, total)
    throughput = kbig.training.Throughput(min(rows / steps, batch_size))
    with runtime.scope(), runtime.fusing(learner) as fused:
        learner.compile(
            kbig.training.adamw(rate, config.weight_decay, global_clipnorm=1.0),
            kbig.tuning.DistillationLoss(config.temperature, config.alpha),
            metrics=[kbig.tuning.LabelAccuracy(), kbig.tuning.agreement],
            jit_compile=runtime.jit_compile,
        )
        history = learner.fit(
            train,
            validation_data=student.batches(
                *lessons["validation"], validation_batch_size
            ),
            epochs=config.epochs,
            callbacks=kbig.training.run_callbacks(run.directory, throughput),
            verbose=common.fit_verbosity(),
            shuffle=False,
        )
    return history.history, {**throughput.report(), "fused_encoders": fused}


def _tested(student: Reader, teacher: Reader, dataset):
    """Both models on the test rows: numbers and sections."""
    texts, labels = dataset.arrays("test")
    names = dataset.info.class_names
    logits, taught = student.logits(texts), teacher.logits(texts)
    judge = kbig.evaluation.TASKS["classification"]
    report = judge.evaluate(logits, labels, names)
    metrics = {f"test_{name}": getattr(report, name) for name in judge.metrics}
    metrics |= {
        "test_interval": report.interval,
        "teacher_accuracy": judge.score(taught.argmax(-1), labels, names),
        "agreement": judge.score(taught.argmax(-1), logits.argmax(-1), names),
        "parameters": student.model.count_params(),
        "teacher_parameters": teacher.model.count_params(),
    }
    sections = [
        kbig.sections.classification(report),
        kbig.sections.predictions(texts[:3], logits[:3], labels[:3], names),
    ]
    return metrics, sections


def _model_bytes(run) -> int:
    return (run.directory / "model.keras").stat().st_size


def _comparison(metrics):
    """Student and teacher side by side."""
    rows = [
        (
            who,
            kbig.reporting.Percent(metrics[f"{prefix}accuracy"]),
            metrics[f"{counted}parameters"],
            kbig.reporting.Bytes(metrics[size]),
        )
        for who, prefix, counted, size in (
            ("student", "test_", "", "model_bytes"),
            ("teacher", "teacher_", "teacher_", "teacher_bytes"),
        )
    ]
    note = f"They agree on {metrics['agreement']:.1%} of the test rows."
    table = kbig.reporting.Table(
        "Student and teacher",
        ("", "test accuracy", "parameters", "file"),
        rows,
        note,
    )
    kbig.reporting.show(table)
    return kbig.reporting.Section("Student and teacher", [table])
