"""What `kbig prune`, `shrink` and `factorize` share: the whole of a run."""

import dataclasses
import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import ClassVar

import kbig
from recipes import common
from recipes import compression_results
from recipes import retraining
from recipes.config import FLOAT_FORMATS
from recipes.config import RecipeConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RecipeConfig):
    """Options of every recipe that makes the model of a run smaller."""

    quick_values: ClassVar[dict] = {"epochs": 1, "limit": 500}
    # Of the run's learning rate, where none is given.
    rate_share: ClassVar[float] = 1.0

    from_: str = option("", "run whose model is to be smaller")
    data: str = option("", "other data of its classes; default the run's own")
    limit: int = option(
        None, "training rows to use, 0 is all; default as the run", minimum=0
    )
    epochs: int = option(
        0, "trained afterwards; 0: half as many as the run", minimum=0
    )
    learning_rate: float = option(
        0.0, "peak; 0: as of the run, or what suits all weights", minimum=0
    )
    control: bool = option(
        True, "also train the original for as long, to compare with"
    )
    strategy: str = option(
        "auto", "how devices share the work", ("auto", "none", "mirrored")
    )
    xla: str = option("auto", "XLA compilation", ("auto", "on", "off"))
    formats: tuple[str, ...] = option(
        (), "what to export at the end", FLOAT_FORMATS
    )


@dataclasses.dataclass(frozen=True)
class Material:
    """What a technique works on.

    Args:
        config: of the recipe, every value in force.
        run: the earlier one.
        original: its model, which stays as it is.
        training: how it is trained on.
        block: what the new run records of the training before.
        runtime: where.
    """

    config: Config
    run: Any
    original: Any
    training: retraining.Training
    block: dict
    runtime: Any

    def copy(self):
        """The model of the run, loaded anew."""
        with self.runtime.scope():
            return retraining.load_model(self.run)

    def seeded(self, seed: int) -> "Material":
        """The same, trained with another seed."""
        base = dataclasses.replace(self.training.config, seed=seed)
        training = retraining.training(self.run, self.original, base)
        return dataclasses.replace(self, training=training)

    def fit(self, model, directory, callbacks=()) -> tuple[dict, dict]:
        """Trains a model: what each epoch came to, and the speed."""
        return self.training.fit(model, self.runtime, directory, callbacks)

    def tested(self, model) -> compression_results.Trial:
        """Tests a model."""
        if not model.compiled:
            model.compile(jit_compile=self.runtime.jit_compile)
        found = self.training.evaluate(model)
        return compression_results.trial(model, *found)


@dataclasses.dataclass(frozen=True)
class Compression:
    """What one of the recipes does to a model.

    Args:
        model: to train.
        callbacks: of the training.
        plan: the report of what was done before it, or None.
        report: otherwise what makes the report once it is trained.
        compare: from the material, trials and models by who they are, to
            what has a `table`, `details` and `numbers`.
    """

    model: Any
    callbacks: tuple = ()
    plan: Any = None
    report: Callable | None = None
    compare: Callable = compression_results.compare


def run(config: Config, recipe: str, done: str, compress: Callable):
    """Compresses, trains, tests, saves, exports when asked, and reports.

    Args:
        config: of the recipe.
        recipe: its name.
        done: what it does, as in "pruned".
        compress: from a `Material`, in the scope of its runtime, to a
            `Compression`. It raises where nothing can be done.

    Returns:
        A `recipes.common.Outcome`, None with --dry-run.

    Raises:
        UsageError: the run cannot be compressed so; nothing was written.
    """
    started = time.perf_counter()
    material = load_material(config, recipe)
    config, info = material.config, material.training.dataset.info
    if not config.dry_run:
        common.check_start(config, recipe)
    with material.runtime.scope():
        made = compress(material)
    if made.plan is not None:
        kbig.reporting.show(*made.plan.tables())
    if config.dry_run:
        return common.show_plan(config, made.model, info, material.runtime)
    run = common.start(config, recipe, material.block)
    history, speed, trials, models = _trained(material, made, run, done)
    compared = made.compare(material, trials, models)
    sections = [
        *_shown(made, compared, recipe),
        kbig.sections.training(history, material.training.curves),
        *trials[done].sections,
        common.run_details(config, material.runtime, made.model, info),
    ]
    metrics = compared.numbers() | speed
    metrics["seconds"] = time.perf_counter() - started
    export = common.export_of(run, config.formats, config.name)
    title = f"{config.name}, {done}"
    return common.finish(run, title, metrics, sections, export)


def _shown(made: Compression, compared, recipe: str) -> list:
    """Prints what was done and what it came to: two sections of the page."""
    report = made.plan
    if report is None:
        report = made.report()
        kbig.reporting.show(*report.tables())
    tables = [compared.table(), *compared.details()]
    kbig.reporting.show(*tables)
    return [
        kbig.reporting.Section("Before and after", tables),
        kbig.reporting.Section(recipe.capitalize(), report.tables()),
    ]


def flags(names: Sequence[str]) -> str:
    """Options as the command line has them, for messages."""
    return ", ".join(f"--{name}" for name in names) or "none of them"


def _may_fuse(earlier) -> str | bool:
    """Not more than "auto": what is made of a model may have other layers."""
    return "auto" if earlier.training.get("fused", "off") != "off" else False


def load_material(config: Config, recipe: str) -> Material:
    """Loads the model and the data, and completes the configuration.

    Args:
        config: of the recipe.
        recipe: its name.

    Raises:
        UsageError: there is no such run, or its data do not fit.
    """
    earlier = retraining.open_run(config.from_, recipe)
    runtime = kbig.training.Runtime(
        strategy=config.strategy,
        precision=earlier.training.get("precision", "auto"),
        xla=common.SWITCH[config.xla],
        seed=config.seed,
        # Fake quantization is long chains of elementwise operations.
        xla_pays_on_cpu=recipe == "quantize" and bool(earlier.vocabulary),
        fused=_may_fuse(earlier),
        # It cannot tell steps of 8 bits apart.
        bfloat16_pays_on_cpu=recipe != "quantize"
        and retraining.source_of(earlier).gains_by_bfloat16,
    )
    with runtime.scope():
        original = retraining.load_model(earlier)
    base = retraining.base_config(earlier, original, config)
    config = dataclasses.replace(
        config,
        name=config.name or earlier.config["name"],
        data=base.data,
        limit=base.limit,
        epochs=config.epochs or retraining.fewer_epochs(base),
        learning_rate=config.learning_rate
        or config.rate_share * base.learning_rate,
    )
    now = dataclasses.replace(
        base,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        seed=config.seed,
    )
    return Material(
        config,
        earlier,
        original,
        retraining.training(earlier, original, now),
        retraining.training_block(earlier, base),
        runtime,
    )


def _trained(material: Material, made: Compression, run, done: str) -> tuple:
    """Trains and tests what was made and its rivals, and saves it."""
    models = {"original": material.original}
    trials = {"original": material.tested(material.original)}
    history, speed = material.fit(made.model, run.directory, made.callbacks)
    # Before the control: what takes long must not be lost with it.
    run.save_model(
        made.model,
        vocabulary=material.run.vocabulary,
        class_names=material.run.class_names,
    )
    run.save_samples(*material.training.samples)
    tested = material.tested(made.model)
    if material.config.control:
        models["control"] = material.copy()
        material.fit(models["control"], run.directory / "control")
        trials["control"] = material.tested(models["control"])
    models[done], trials[done] = made.model, tested
    return history, speed, trials, models
