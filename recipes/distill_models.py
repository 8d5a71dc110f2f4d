"""The two models of a distillation, and what turns texts into their inputs."""

import dataclasses
import pathlib

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes import text_start
from recipes import vocabularies

# Which of the weights in the configuration each method puts in force.
METHODS = {
    "logits": (),
    "hidden": ("hidden",),
    "attention": ("attention",),
    "all": ("hidden", "attention"),
}


@dataclasses.dataclass(frozen=True)
class Reader:
    """A classifier with what turns texts into its inputs.

    Args:
        model: from texts' ids to logits.
        vocabulary: the tokens in order of their ids.
        lowercase: whether the tokenizer folds the case.
        strip_accents: whether it strips accents.
        sequence_length: tokens of the longest rows.
    """

    model: object
    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool
    sequence_length: int

    @property
    def tokenizer(self):
        """What `kbig.data.encode` takes."""
        return kbig.data.tokenizer(
            self.vocabulary, self.lowercase, self.strip_accents
        )

    @property
    def tokens(self):
        """What two models must share to read the same tokens."""
        return self.vocabulary, self.lowercase, self.strip_accents

    @property
    def width(self) -> int:
        """Of the embeddings."""
        return self.model.get_layer("token_embedding").output_dim

    def logits(self, texts) -> np.ndarray:
        """Classifies texts `(n,)`: float32 `(n, classes)`."""
        return kbig.tuning.teacher_logits(
            self.model, texts, self.tokenizer, self.sequence_length
        )

    def batches(self, texts, targets, batch_size: int, **options):
        """Batches to fit on, as of `kbig.data.bucketed_batches`."""
        return kbig.data.bucketed_batches(
            texts,
            targets,
            batch_size,
            self.tokenizer,
            self.sequence_length,
            **options,
        )


def open_teacher(config):
    """Opens the run of the teacher.

    Args:
        config: of `kbig distill`.

    Returns:
        A `kbig.runs.Run`.

    Raises:
        UsageError: there is none, it is no classifier, or it would be
            replaced by this run.
    """
    if not config.from_:
        raise UsageError(
            "There must be a teacher. Received: no --from. Pass the --out of "
            "a `kbig finetune`."
        )
    _check_apart(config)
    earlier = kbig.runs.Run.open(config.from_)
    task = earlier.config.get("task") or "classification"
    is_classifier = earlier.class_names and earlier.vocabulary
    if not is_classifier or task != "classification":
        raise UsageError(
            "A teacher is a classifier of texts. Received: --from "
            f"{config.from_}, a run of {earlier.recipe} for {task}. Pass the "
            "--out of a `kbig finetune` on classes."
        )
    return earlier


def check_classes(earlier, info) -> None:
    """Raises unless teacher and data have the same classes and texts.

    Args:
        earlier: the run of the teacher.
        info: of the data.

    Raises:
        UsageError: the classes differ, or their order does; or one has
            single texts and the other one pairs.
    """
    known, given = earlier.class_names, info.class_names
    if known != given:
        raise UsageError(
            "Teacher and data must have the same classes in the same order. "
            f"Received: {', '.join(known)} of {earlier.directory}, and "
            f"{', '.join(given) or 'none'} of {info.name}. Take the data that "
            "the teacher was trained on, or train one on these."
        )
    _check_pairs(earlier, info)


def load_teacher(earlier) -> Reader:
    """Loads the teacher.

    Args:
        earlier: its run.

    Returns:
        The model with its tokenizer and length.

    Raises:
        UsageError: its model is no classifier of texts.
    """
    model = earlier.load_model()
    kbig.tuning.check_classifier(model)
    lowercase = earlier.config["lowercase"]
    accents = earlier.config.get("strip_accents")
    return Reader(
        model,
        earlier.vocabulary,
        lowercase,
        lowercase if accents is None else accents,
        earlier.config["sequence_length"],
    )


def make_student(config, teacher: Reader, dataset) -> Reader:
    """Makes the student, from nothing or from what was pretrained.

    Args:
        config: of `kbig distill`.
        teacher: whose vocabulary it may share.
        dataset: the labelled texts.

    Returns:
        The model with its tokenizer and length.

    Raises:
        UsageError: what it starts from cannot be read, or its rows are
            longer than it can take.
    """
    texts, _ = dataset.arrays("train")
    if config.student:
        start = kbig.pretrained.load(config.student)
        tokens = start.vocabulary, start.lowercase, start.strip_accents
        backbone = start.backbone
    elif config.vocabulary == "own":
        tokens = vocabularies.new_vocabulary(np.ravel(texts), config)
        backbone = kbig.models.bert(config.size, len(tokens[0]))
    else:
        tokens = teacher.tokens
        backbone = _like_teacher(config, teacher.model)
    model = kbig.models.bert_classifier(
        backbone, len(dataset.info.class_names), config.dropout, config.pooling
    )
    length = text_start.row_length(
        config,
        texts,
        kbig.data.tokenizer(*tokens),
        backbone.max_sequence_length,
        "the student",
    )
    return Reader(model, *tokens, length)


def _like_teacher(config, teacher):
    """A backbone that reads the teacher's tokens."""
    table = teacher.get_layer("token_embedding").embeddings
    # There may be more rows than tokens.
    backbone = kbig.models.bert(config.size, table.shape[0])
    if config.embeddings == "random":
        return backbone
    if backbone.hidden_dim > table.shape[1]:
        raise UsageError(
            f"Embeddings {table.shape[1]} wide cannot start a student that "
            f"is wider. Received: --size {config.size}, "
            f"{backbone.hidden_dim} wide. Pass --embeddings random."
        )
    start = kbig.tuning.narrowed(table, backbone.hidden_dim, config.seed)
    backbone.token_embedding.embeddings.assign(start)
    return backbone


def make_learner(config, student: Reader, teacher: Reader):
    """Makes what is fitted: the student, or it and its teacher.

    Args:
        config: of `kbig distill`.
        student: the student.
        teacher: the teacher.

    Returns:
        The student's model, or a `kbig.tuning.Distiller`.

    Raises:
        UsageError: the teacher's insides cannot be taught to this student.
    """
    weights = {name: getattr(config, name) for name in METHODS[config.method]}
    if not any(weights.values()):
        return student.model
    if student.tokens != teacher.tokens:
        raise UsageError(
            f"--method {config.method} teaches token by token: student and "
            "teacher must share vocabulary and casing. Received: "
            f"{len(student.vocabulary):,} and {len(teacher.vocabulary):,} "
            "tokens that differ. Pass --method logits, or --vocabulary "
            "teacher without --student."
        )
    longest = teacher.model.get_layer("position_embedding").sequence_length
    if student.sequence_length > longest:
        raise UsageError(
            f"--method {config.method} takes rows of at most the {longest} "
            "positions of the teacher. Received: --sequence-length "
            f"{student.sequence_length}."
        )
    weights = {"hidden": 0.0, "attention": 0.0} | weights
    return kbig.tuning.Distiller(student.model, teacher.model, **weights)


def _check_apart(config) -> None:
    for flag, source in (("from", config.from_), ("student", config.student)):
        both = [pathlib.Path(path).resolve() for path in (config.out, source)]
        if config.out and source and both[0] == both[1]:
            raise UsageError(
                f"--out {config.out} is also --{flag}, and would be emptied. "
                "Pass another --out."
            )


def _check_pairs(earlier, info) -> None:
    pairs = earlier.config.get("pair_column"), info.shapes["x"]
    kinds = ["pairs of texts" if x else "single texts" for x in pairs]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"The teacher was trained on {kinds[0]}. Received: {info.name}, "
            f"which is {kinds[1]}. Pass data such as the teacher's, with "
            "--pair-column where they are pairs."
        )
