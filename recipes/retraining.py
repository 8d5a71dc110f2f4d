"""Earlier runs that are trained on: model, data, training and test."""

import dataclasses
import functools
import math
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import kbig
from kbig.errors import UsageError
from recipes import common
from recipes import finetune
from recipes import sequence_tasks
from recipes import text_results
from recipes import text_retraining
from recipes import text_training
from recipes import train_image
from recipes import train_sequence
from recipes.config import build
from recipes.config import field_key
from recipes.config import to_dict


@dataclasses.dataclass(frozen=True)
class Training:
    """How the model of a run is trained on.

    Args:
        config: of the recipe that trained it, with the epochs, the learning
            rate and so forth that are in force now.
        dataset: what it was trained on, or other data of that kind.
        metric: the main one: the key of `evaluate` is `test_<metric>`.
        curves: as of `kbig.sections.training`.
        loss: what is minimized.
        batches: from the runtime to batches to train on.
        fit: from `(model, runtime, directory, callbacks)` to what each epoch
            came to, and the speed.
        evaluate: from a model to numbers and sections on the test rows.
        inputs: from rows of `samples` to what a model takes.
        samples: test rows, and labels where exports are judged by them.
    """

    config: Any
    dataset: Any
    metric: str
    curves: Mapping[str, str]
    loss: Callable
    batches: Callable
    fit: Callable
    evaluate: Callable
    inputs: Callable
    samples: tuple


@dataclasses.dataclass(frozen=True)
class Source:
    """A recipe whose runs can be trained on.

    Args:
        config_class: of its options.
        make: from a configuration and the run to a `Training`.
        whole: from a configuration and the model to the configuration of a
            training of all weights.
        ignored: options that the recipe has in another sense.
        gains_by_bfloat16: whether its models do, on a CPU that has it.
    """

    config_class: type
    make: Callable
    whole: Callable = lambda config, model: config
    ignored: tuple[str, ...] = ()
    gains_by_bfloat16: bool = True


def open_run(directory: str, recipe: str):
    """Opens the run that is trained on.

    Args:
        directory: what `--from` names.
        recipe: the one that asks, for the message.

    Returns:
        A `kbig.runs.Run`.

    Raises:
        UsageError: there is none, or its recipe is none of `SOURCES`.
    """
    if not directory:
        raise UsageError(
            "There must be a run to start from. Received: no --from. Pass the "
            f"--out of {_sources()}."
        )
    run = kbig.runs.Run.open(directory)
    if run.training["recipe"] not in SOURCES:
        raise UsageError(
            f"kbig {recipe} takes runs of {_sources()}, or what was made of "
            f"them. Received: --from {directory}, a run of {run.recipe}."
        )
    return run


def load_model(run):
    """Loads the model of a run, all of it to be trained.

    Raises:
        UsageError: it has adapters, around which the rest stays as it is.
    """
    model = run.load_model()
    if any(isinstance(x, kbig.tuning.AdaptedEncoder) for x in model.layers):
        raise UsageError(
            "A model with adapters cannot be made smaller: what they stand "
            f"in is frozen. Received: --from {run.directory}. Pass a run of "
            "another --method."
        )
    return model


def source_of(run) -> Source:
    """The recipe that trained the model of a run of `open_run`."""
    return SOURCES[run.training["recipe"]]


def base_config(run, model, options):
    """The configuration of a training like that of the run.

    Args:
        run: of `open_run`.
        model: its own.
        options: with `data`, where not empty, and `limit`, where not None,
            in the place of the run's.

    Returns:
        Of the run's recipe; what the run trained in part is trained as a
        whole.
    """
    source = source_of(run)
    known = {field_key(f) for f in dataclasses.fields(source.config_class)}
    known -= set(source.ignored)
    values = {k: v for k, v in run.training.items() if k in known}
    config = build(source.config_class, values, {})
    given = {"data": options.data or None, "limit": options.limit}
    given = {key: value for key, value in given.items() if value is not None}
    config = dataclasses.replace(
        config, formats=(), out="", quick=False, dry_run=False, **given
    )
    return source.whole(config, model)


def training_block(run, config) -> dict:
    """What `kbig.runs.Run.training` records of a run made of another.

    Args:
        run: the earlier one.
        config: of `base_config`.
    """
    return {"recipe": run.training["recipe"], **to_dict(config)}


def training(run, model, config) -> Training:
    """Loads the data, and says how to train on them.

    Args:
        run: of `open_run`.
        model: its own.
        config: of `base_config`, perhaps with other epochs.

    Raises:
        UsageError: the data do not fit the model.
    """
    made = source_of(run).make(config, run)
    _check_fits(run, model, made.dataset.info)
    return made


def _images(config, run) -> Training:
    dataset = train_image.load(config)
    parts = config, dataset
    return Training(
        *parts,
        metric="accuracy",
        curves=common.CLASSIFIER_CURVES,
        loss=common.classifier_loss,
        batches=functools.partial(train_image.training_batches, *parts),
        fit=functools.partial(train_image.fit, *parts),
        evaluate=functools.partial(train_image.evaluate, *parts),
        inputs=lambda x: x,
        samples=dataset.arrays("test"),
    )


def _sequences(config, run) -> Training:
    dataset = train_sequence.load(config)
    make = sequence_tasks.TASKS[dataset.info.kind]
    if run.vocabulary and make is not sequence_tasks.TextClassification:
        raise _other_kind(run, dataset.info)
    task = make(config, dataset, run.vocabulary)
    return Training(
        task.config,
        dataset,
        metric=task.metric,
        curves=common.CLASSIFIER_CURVES,
        loss=task.loss,
        batches=functools.partial(train_sequence.training_batches, task),
        fit=functools.partial(train_sequence.fit, task),
        evaluate=functools.partial(train_sequence.evaluate, task),
        inputs=task.inputs,
        samples=dataset.arrays("test"),
    )


def _texts(config, run) -> Training:
    dataset = finetune.load(config)
    material = text_training.Material(config, dataset, run.tokenizer())
    return Training(
        config,
        dataset,
        metric=material.judge.metric,
        curves=finetune.CURVES,
        loss=material.task.loss,
        batches=functools.partial(text_retraining.training_batches, material),
        fit=functools.partial(text_retraining.fit_whole, material),
        evaluate=functools.partial(text_retraining.evaluate, material),
        inputs=lambda texts: kbig.data.encode(
            texts, run.tokenizer(), config.sequence_length
        ),
        samples=text_results.samples(material),
    )


def _whole_texts(config, model):
    """As by --method full, and until the end.

    Weights of an earlier epoch, which --patience would go back to, might not
    be compressed yet.
    """
    if config.method != "full":
        # The rate of another method is of few weights.
        rate = text_training.peak_rate(config, model, "full")
        config = dataclasses.replace(config, learning_rate=rate)
    return dataclasses.replace(config, method="full", patience=0)


SOURCES = {
    "train-image": Source(train_image.Config, _images),
    "train-sequence": Source(
        train_sequence.Config,
        _sequences,
        gains_by_bfloat16=train_sequence.GAINS_BY_BFLOAT16,
    ),
    "finetune": Source(finetune.Config, _texts, _whole_texts),
    # On labels alone: the teacher need not be there any more.
    "distill": Source(finetune.Config, _texts, _whole_texts, ("method",)),
}


def _sources() -> str:
    *others, last = SOURCES
    return f"{', '.join(others)} or {last}"


def _check_fits(run, model, info) -> None:
    """Raises where other data than the run's have other classes or shapes."""
    if run.class_names != tuple(info.class_names):
        raise UsageError(
            "The data must have the classes of the run, in the same order. "
            f"Received: {', '.join(info.class_names) or 'none'} of "
            f"{info.name}, and {', '.join(run.class_names) or 'none'} of "
            f"{run.directory}."
        )
    if run.vocabulary:
        return
    taken, given = model.input_shape[1:], info.shapes["x"]
    fits = len(taken) == len(given) and all(
        side in (None, size) for side, size in zip(taken, given)
    )
    if not fits:
        raise UsageError(
            f"The model of {run.directory} takes rows of the shape {taken}. "
            f"Received: {info.name}, of the shape {tuple(given)}. Pass data "
            "such as those of the run."
        )


def _other_kind(run, info) -> UsageError:
    return UsageError(
        f"The model of {run.directory} reads texts. Received: {info.name}, "
        f"which is of the kind {info.kind}."
    )


def fewer_epochs(config) -> int:
    """Half as many as of a training from the start, one at least."""
    return math.ceil(config.epochs / 2)
