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
from kbig.errors import WriteError
from recipes import summary
from recipes.config import EncoderConfig
from recipes.config import RecipeConfig
from recipes.config import TrainConfig
from recipes.config import to_dict
from recipes.limits import limited

CLASSIFIER_CURVES = {"loss": "Loss", "accuracy": "Accuracy"}
SWITCH = {"auto": "auto", "on": True, "off": False}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a recipe leaves: its run, its numbers and what to show."""

    run: Any
    metrics: dict[str, Any]
    sections: list


def load_data(
    name: str,
    kinds: Sequence[str],
    limit: int = 0,
    every_class: bool = False,
    **options,
):
    """Loads data of one of the kinds.

    Args:
        name: what `kbig.data.load` takes.
        kinds: those that the recipe can use.
        limit: training rows to keep, drawn at random; 0 is all.
        every_class: whether those kept must show each class of texts.
        **options: of the kind of data; empty ones are left out.

    Raises:
        UsageError: the data are of another kind, or have more classes than
            `limit`.
    """
    given = {k: v for k, v in options.items() if v not in ("", None)}
    dataset = kbig.data.load(name, **given)
    if dataset.info.kind not in kinds:
        raise UsageError(
            f"This recipe takes data of the kind {' or '.join(kinds)}. "
            f"Received: {name}, which is of the kind {dataset.info.kind}. "
            "`kbig list` names the other recipes."
        )
    return limited(dataset, limit, every_class) if limit else dataset


def array_kind(path: str, kind: str) -> str:
    """What an .npz file holds; of other data the loader knows it."""
    return kind if path.endswith(".npz") else ""


def data_name(name_or_path: str) -> str:
    """A plain name for what was loaded: `data/my.csv.gz` is `my`."""
    last = pathlib.PurePath(name_or_path.replace(":", "/")).name
    return last.partition(".")[0] or "model"


def runtime(config: TrainConfig, **pays):
    """The devices, precision and compilation that the options ask for.

    Args:
        config: of the recipe.
        **pays: what the model gains by on a CPU, as of `Runtime`.
    """
    has_encoders = isinstance(config, EncoderConfig)
    return kbig.training.Runtime(
        strategy=config.strategy,
        precision=config.precision,
        xla=SWITCH[config.xla],
        seed=config.seed,
        fused=SWITCH[config.fused] if has_encoders else False,
        **pays,
    )


def shared_batch(
    batch_size: int, rows: int, runtime, bucketed: bool = False
) -> int:
    """A batch that replicas can share evenly.

    Keras averages the first batch over the replicas, which fails when one
    of them has fewer rows.

    Args:
        batch_size: rows that were asked for.
        rows: that there are.
        runtime: with the number of replicas.
        bucketed: whether the rows go into the buckets of
            `kbig.data.bucketed_batches`, three at most. Then a batch must
            not be larger than the largest, so that a full one comes first.
    """
    replicas = runtime.num_replicas
    if bucketed and replicas > 1:
        rows = -(-rows // 3)
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


def check_start(config: RecipeConfig, recipe: str) -> pathlib.Path:
    """Finds the run directory, and makes sure that it may be made.

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
    plain = pathlib.PurePath(config.name).name == config.name
    if not plain or config.name.startswith("."):
        raise UsageError(
            "A name is one plain part of a file's name, without a dot before "
            f"it. Received: --name {config.name}."
        )
    kbig.runs.check_free(out, config.overwrite)
    return out


def start(config: RecipeConfig, recipe: str, training: Mapping | None = None):
    """Makes the run directory.

    Args:
        config: every value in force.
        recipe: whose run it is.
        training: of the run that it goes on from, as `kbig.runs.Run` has it.

    Raises:
        UsageError: as of `check_start`.
    """
    out = check_start(config, recipe)
    values = to_dict(config)
    if training is not None:
        values["training"] = dict(training)
    return kbig.runs.Run.create(out, recipe, values, config.overwrite)


def fit_verbosity() -> int:
    """A progress bar on a terminal, a line an epoch elsewhere."""
    return 1 if sys.stdout.isatty() else 2


def classifier_loss():
    """The loss of labels that are class numbers."""
    import keras

    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compile_classifier(model, runtime, optimizer) -> None:
    """Compiles for labels that are class numbers, in the runtime's scope."""
    model.compile(
        optimizer,
        classifier_loss(),
        metrics=["accuracy"],
        jit_compile=runtime.jit_compile,
    )


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
        export: of the metrics; makes the artefacts, returns their report.

    Returns:
        What the recipe leaves.

    Raises:
        GateError: of the export, once everything else is written.
        UsageError: likewise, or the results cannot be written.
    """
    metrics, sections = dict(metrics), list(sections)
    report, failure = _attempt(export, metrics)
    if report is not None:
        metrics |= {a.name: a.to_dict() for a in report.artefacts}
        sections.insert(-1, kbig.sections.artefacts(report))
    numbers = summary.summary(metrics)
    if numbers:
        cards = kbig.reporting.Cards(numbers)
        sections.insert(0, kbig.reporting.Section("Summary", [cards]))
        rows = [(label, value) for label, value, _ in numbers]
        kbig.reporting.show(kbig.reporting.Table(title, ("", "value"), rows))
    if report is not None:
        kbig.reporting.show(*report.tables())
        if failure is None:
            for artefact in report.artefacts:
                print(f"artefact: {artefact.path}")
    try:
        _write_results(run, title, metrics, sections)
    except WriteError as error:
        if failure is not None:
            raise failure from error
        raise _after_export(error, report) from error
    if failure is not None:
        raise failure
    return Outcome(run, metrics, sections)


def _write_results(run, title: str, metrics, sections) -> None:
    made_by = f"kbig {kbig.__version__}, recipe {run.recipe}"
    page = run.directory / "report.html"
    kbig.reporting.write_page(page, title, sections, footer=made_by)
    run.write_json("metrics.json", metrics)
    print(f"report: {page}")


def _after_export(error: WriteError, report) -> WriteError:
    """The error, with what was published before it and is whole."""
    paths = ", ".join(x.path for x in report.artefacts) if report else ""
    left = f"What was exported is whole: {paths}." if paths else error.left
    return WriteError(error.path, error.reason, left)


def export_of(run, formats: Sequence[str], name: str) -> Callable | None:
    """What `finish` exports of a run that trained: nothing by default."""
    if not formats:
        return None
    directory = run.directory / "artefacts"
    return lambda metrics: run.export(formats, directory, name, metrics)


def _attempt(export, metrics):
    if export is None:
        return None, None
    try:
        return export(metrics), None
    except (GateError, UsageError) as error:
        return getattr(error, "report", None), error
