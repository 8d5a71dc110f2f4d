"""The steps that recipes share: start, train, finish."""

import dataclasses
import itertools
import json
import pathlib
import sys
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import kbig
from kbig.errors import GateError
from kbig.errors import UsageError
from recipes.config import RecipeConfig
from recipes.config import TrainConfig
from recipes.config import to_dict

CLASSIFIER_CURVES = {"loss": "Loss", "accuracy": "Accuracy"}
_XLA = {"auto": "auto", "on": True, "off": False}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a recipe leaves: its run, its numbers and what to show."""

    run: Any
    metrics: dict[str, Any]
    sections: list


def load_data(name: str, kinds: Sequence[str], limit: int = 0, **options):
    """Loads data of one of the kinds.

    Args:
        name: what `kbig.data.load` takes.
        kinds: those that the recipe can use.
        limit: training rows to keep, drawn at random; 0 is all.
        **options: of the kind of data; empty ones are left out.

    Raises:
        UsageError: the data are of another kind.
    """
    given = {k: v for k, v in options.items() if v not in ("", None)}
    dataset = kbig.data.load(name, **given)
    if dataset.info.kind not in kinds:
        raise UsageError(
            f"This recipe takes data of the kind {' or '.join(kinds)}. "
            f"Received: {name}, which is of the kind {dataset.info.kind}. "
            "`kbig list` names the other recipes."
        )
    return _limited(dataset, limit) if limit else dataset


def new_vocabulary(texts, config) -> tuple[tuple[str, ...], bool, bool]:
    """Trains a vocabulary on texts, for a model that starts from nothing.

    Args:
        texts: one by one.
        config: with `vocabulary_size`, `lowercase` and `strip_accents`.

    Returns:
        The vocabulary, and whether case is folded and accents stripped.
    """
    options = casing(config)
    vocabulary = kbig.data.train_vocabulary(
        texts, config.vocabulary_size, **options
    )
    return vocabulary, *options.values()


def casing(config) -> dict[str, bool]:
    """`lowercase` and `strip_accents`, which follows it unless given."""
    accents = config.strip_accents
    return {
        "lowercase": config.lowercase,
        "strip_accents": config.lowercase if accents is None else accents,
    }


def array_kind(path: str, kind: str) -> str:
    """What an .npz file holds; of other data the loader knows it."""
    return kind if path.endswith(".npz") else ""


def _limited(dataset, limit: int):
    train = dataset.train.shuffle(
        100_000, seed=0, reshuffle_each_iteration=False
    ).take(limit)
    sizes = {**dataset.info.sizes, "train": int(train.cardinality())}
    info = dataclasses.replace(dataset.info, sizes=sizes)
    return dataclasses.replace(dataset, train=train, info=info)


def data_name(name_or_path: str) -> str:
    """A plain name for what was loaded: `data/my.csv.gz` is `my`."""
    last = pathlib.PurePath(name_or_path.replace(":", "/")).name
    return last.partition(".")[0] or "model"


def runtime(config: TrainConfig, xla_pays_on_cpu: bool = False):
    """The devices, precision and compilation that the options ask for."""
    return kbig.training.Runtime(
        strategy=config.strategy,
        precision=config.precision,
        xla=_XLA[config.xla],
        seed=config.seed,
        xla_pays_on_cpu=xla_pays_on_cpu,
    )


def shared_batch(batch_size: int, rows: int, runtime) -> int:
    """A batch that replicas can share evenly.

    Keras averages the first batch over the replicas, which fails when one
    of them has fewer rows.
    """
    replicas = runtime.num_replicas
    return max(1, min(batch_size, rows) // replicas) * replicas


def out_directory(config: RecipeConfig, recipe: str) -> pathlib.Path:
    """`--out`, or the first free `runs/<recipe>-<number>`."""
    if config.out:
        return pathlib.Path(config.out)
    numbered = (
        pathlib.Path(f"runs/{recipe}-{number}") for number in itertools.count(1)
    )
    return next(path for path in numbered if not path.exists())


def show_plan(config: RecipeConfig, model, *facts) -> None:
    """What `--dry-run` prints: everything in force, and the model."""
    print(config_text(config))
    for fact in facts:
        print(f"\n{fact}")
    model.summary(print_fn=print)


def config_text(config: RecipeConfig) -> str:
    """Every value in force, as JSON."""
    return json.dumps(to_dict(config), indent=2, ensure_ascii=False)


def start(config: RecipeConfig, recipe: str):
    """Makes the run directory.

    Raises:
        UsageError: it is the run to start from, or it cannot be replaced;
            or the name is not one part of a file's name.
    """
    out = out_directory(config, recipe)
    source = getattr(config, "from_", "")
    if source and out.resolve() == pathlib.Path(source).resolve():
        raise UsageError(
            f"--out {out} is also --from, and would be emptied. Pass another "
            "--out."
        )
    if pathlib.PurePath(config.name).name != config.name:
        raise UsageError(
            "A name is one plain part of a file's name. "
            f"Received: --name {config.name}."
        )
    return kbig.runs.Run.create(out, recipe, to_dict(config), config.overwrite)


def fit_verbosity() -> int:
    """A progress bar on a terminal, a line an epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def compile_classifier(model, runtime, optimizer) -> None:
    """Compiles for labels that are class numbers."""
    import keras

    with runtime.scope():
        model.compile(
            optimizer,
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=runtime.jit_compile,
        )


# Key of metrics.json -> how a person reads it. A metric is one line here.
_SUMMARY = {
    "test_accuracy": ("Test accuracy", "Percent", ""),
    "test_micro_f1": ("Test micro F1", "Percent", ""),
    "test_f1": ("Test span F1", "Percent", ""),
    "test_pearson": ("Test Pearson correlation", None, ""),
    "teacher_accuracy": ("Teacher's accuracy", "Percent", ""),
    "control_accuracy": ("From nothing", "Percent", "the same BERT"),
    "baseline_accuracy": ("Baseline accuracy", "Percent", "without a BERT"),
    "baseline_micro_f1": ("Baseline micro F1", "Percent", "without a BERT"),
    "baseline_f1": ("Baseline span F1", "Percent", "without a BERT"),
    "baseline_pearson": ("Baseline correlation", None, "without a BERT"),
    "test_mean_absolute_error": ("Mean absolute error", None, ""),
    "persistence_mean_absolute_error": ("Persistence", None, ""),
    "ridge_mean_absolute_error": ("Ridge regression", None, ""),
    "test_loss": ("Test loss", None, ""),
    "perplexity": ("Perplexity", None, "of hidden tokens"),
    "unigram_entropy": ("Unigram entropy", None, "the loss without context"),
    "tokens_per_second": ("Tokens a second", "", ""),
    "matmul_share": ("Share of matmul peak", "Percent", ""),
    "trained_parameters": ("Trained parameters", None, ""),
    "parameters": ("Parameters", None, ""),
    "seconds": ("Time", "Seconds", ""),
}


def summary(metrics: Mapping[str, Any]) -> list[tuple[str, Any, str]]:
    """The numbers that matter most: `(label, value, hint)`."""
    return [
        (label, getattr(kbig.reporting, unit or "", _same)(metrics[key]), hint)
        for key, (label, unit, hint) in _SUMMARY.items()
        if key in metrics
    ]


def _same(value):
    return value


def run_details(config: RecipeConfig, runtime, model, *facts):
    """What it takes to repeat the run, folded."""
    summary = []
    model.summary(print_fn=summary.append)
    return kbig.sections.details(
        {
            "Configuration": config_text(config),
            "Data": "\n\n".join(map(str, facts)),
            "Devices": str(runtime),
            "Model": "\n".join(summary),
        }
    )


def finish(
    run,
    title: str,
    metrics: Mapping[str, Any],
    sections: Sequence,
    export: Callable | None = None,
) -> Outcome:
    """Exports when asked, writes `report.html` and, last, `metrics.json`.

    Args:
        run: the run.
        title: of the page.
        metrics: flat numbers.
        sections: of the page.
        export: makes the artefacts and returns their report.

    Returns:
        What the recipe leaves.

    Raises:
        GateError: of the export, once everything else is written.
    """
    metrics, sections = dict(metrics), list(sections)
    report, failure = _attempt(export)
    if report is not None:
        metrics |= {a.name: a.to_dict() for a in report.artefacts}
        sections.insert(-1, kbig.sections.artefacts(report))
    numbers = summary(metrics)
    if numbers:
        cards = kbig.reporting.Cards(numbers)
        sections.insert(0, kbig.reporting.Section("Summary", [cards]))
        rows = [(label, value) for label, value, _ in numbers]
        kbig.reporting.show(kbig.reporting.Table(title, ("", "value"), rows))
    if report is not None:
        kbig.reporting.show(*report.tables())
    made_by = f"kbig {kbig.__version__}, recipe {run.recipe}"
    page = run.directory / "report.html"
    kbig.reporting.write_page(page, title, sections, footer=made_by)
    run.write_json("metrics.json", metrics)
    print(f"report: {page}")
    if failure is not None:
        raise failure
    return Outcome(run, metrics, sections)


def export_of(run, formats: Sequence[str], name: str) -> Callable | None:
    """What `finish` exports of a run that trained: nothing by default."""
    if not formats:
        return None
    return lambda: run.export(formats, run.directory / "artefacts", name)


def _attempt(export):
    if export is None:
        return None, None
    try:
        return export(), None
    except GateError as error:
        return error.report, error
