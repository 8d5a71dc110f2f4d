"""The whole way: text in; a BERT trained, exported, verified and reported.

kbig demo --out runs/demo

Pretrains a tiny BERT on six novels by Jane Austen and the training glosses
of WordNet, fine-tunes it to tell the topic of a gloss, exports it for
servers and phones to saved_models/topics, runs every artefact on the 2,000
test rows, and writes one page. About 8 minutes on 2 CPU cores. It fails when
the model is not at least as accurate as TF-IDF with logistic regression.
"""

import dataclasses
import pathlib
import time
from typing import ClassVar

from kbig.errors import GateError
from recipes import common
from recipes import export_model
from recipes import finetune
from recipes import pretrain_mlm
from recipes.config import FORMATS
from recipes.config import RecipeConfig
from recipes.config import option


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RecipeConfig):
    """Options of `kbig demo`."""

    quick_values: ClassVar[dict] = {
        "pretrain_epochs": 1,
        "finetune_epochs": 1,
        "limit": 500,
    }

    name: str = option("topics", "name of the artefacts")
    to: str = option("", "where artefacts go; default saved_models/<name>")
    data: str = option("wordnet-topics", "labelled texts to fine-tune on")
    corpus: tuple[str, ...] = option(
        ("austen", "wordnet-topics"), "what to pretrain on"
    )
    pretrain_epochs: int = option(1, "passes over the corpus")
    finetune_epochs: int = option(3, "passes over the labelled texts")
    limit: int = option(0, "training rows to use; 0 is all")


def run(config: Config) -> common.Outcome | None:
    """Pretrains, fine-tunes, exports, verifies and writes the page."""
    started = time.perf_counter()
    out = common.out_directory(config, "demo")
    plans = _plans(config, out)
    if config.dry_run:
        for recipe, plan in plans:
            print(f"{recipe.__name__}\n{common.config_text(plan)}\n")
        return None
    run = common.start(dataclasses.replace(config, out=str(out)), "demo")
    outcomes = [recipe.run(plan) for recipe, plan in plans]
    pretrained, tuned, exported = outcomes
    artefacts = {
        name: block
        for name, block in exported.metrics.items()
        if isinstance(block, dict)
    }
    metrics = {
        **tuned.metrics,
        **artefacts,
        "pretrain_loss": pretrained.metrics["test_loss"],
        "seconds": time.perf_counter() - started,
    }
    sections = [
        *(section for o in outcomes for section in o.sections[1:-1]),
        tuned.sections[-1],
    ]
    outcome = common.finish(run, f"kbig demo: {config.name}", metrics, sections)
    if not config.quick:
        _check_bar(metrics)
    return outcome


def _plans(config: Config, out: pathlib.Path) -> list:
    """Each recipe of the way with its configuration."""
    shared = {"seed": config.seed, "overwrite": True, "name": config.name}
    return [
        (
            pretrain_mlm,
            pretrain_mlm.Config(
                out=str(out / "pretrain"),
                corpus=config.corpus,
                epochs=config.pretrain_epochs,
                limit=config.limit // 20,
                **shared,
            ),
        ),
        (
            finetune,
            finetune.Config(
                out=str(out / "finetune"),
                from_=str(out / "pretrain"),
                data=config.data,
                epochs=config.finetune_epochs,
                limit=config.limit,
                **shared,
            ),
        ),
        (
            export_model,
            export_model.Config(
                out=str(out / "export"),
                from_=str(out / "finetune"),
                to=config.to or f"saved_models/{config.name}",
                formats=FORMATS,
                **shared,
            ),
        ),
    ]


def _check_bar(metrics: dict) -> None:
    accuracy, bar = metrics["test_accuracy"], metrics["baseline_accuracy"]
    if accuracy < bar:
        raise GateError(
            f"The model's test accuracy {accuracy:.4f} is below the "
            f"baseline's {bar:.4f}."
        )
