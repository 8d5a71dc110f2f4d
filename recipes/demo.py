"""The whole way: text in; a BERT trained, exported, verified and reported.

kbig demo --out runs/demo

Pretrains a tiny BERT on six novels by Jane Austen and the training glosses
of WordNet, fine-tunes it to tell the topic of a gloss, prunes a copy, trains
another one for int8, exports the fine-tuned one for servers and phones to
saved_models/topics, runs every artefact on the 2,000 test rows, and writes
one page. About 12 minutes on 2 CPU cores. It fails when the model is not at
least as accurate as TF-IDF with logistic regression.

What is left in --out is a run of `kbig finetune`, with the pretraining in
<out>-pretrain, the pruning in <out>-pruned and int8 in <out>-int8: `kbig
finetune --config runs/demo/config.json --out DIR` repeats the fine-tuning,
and `kbig export-model --from runs/demo-pruned` exports what was pruned.
"""

import dataclasses
import pathlib
import time
from typing import ClassVar

from kbig.errors import GateError
from kbig.errors import UsageError
from recipes import common
from recipes import finetune
from recipes import pretrain_mlm
from recipes import prune
from recipes import quantize
from recipes.config import RecipeConfig
from recipes.config import option

# For servers and phones.
_FORMATS = ("savedmodel", "litert-float32", "litert-float16", "litert-dynamic")
# What the demo's own metrics.json has of the pruned copy.
_OF_PRUNED = ("test_accuracy", "nonzeros", "litert_gzip_bytes")
# Likewise of the int8 copy.
_OF_INT8 = ("quantized_int8_accuracy", "quantized_int8_bytes")


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
    pretrain_epochs: int = option(1, "passes over the corpus", minimum=1)
    finetune_epochs: int = option(
        3, "passes over the labelled texts", minimum=1
    )
    limit: int = option(0, "training rows to use; 0 is all", minimum=0)
    sparsity: float = option(0.8, "of the pruned copy")
    int8_limit: int = option(
        8000, "training rows of the int8 copy; 0 is all", minimum=0
    )


def run(config: Config) -> common.Outcome | None:
    """Pretrains, fine-tunes, compresses, exports, writes the page."""
    started = time.perf_counter()
    plans = _plans(config, common.out_directory(config, "demo"))
    if config.dry_run:
        pretrain_mlm.run(plans[0])
        for plan in plans[1:]:
            print(common.config_text(plan))
        return None
    _check(*plans)
    recipes = pretrain_mlm, finetune, prune, quantize
    pretrained, tuned, pruned, integers = (
        recipe.run(plan) for recipe, plan in zip(recipes, plans)
    )
    metrics = {
        **tuned.metrics,
        "pretrain_loss": pretrained.metrics["test_loss"],
        **{
            f"pruned_{key}": pruned.metrics[key]
            for key in _OF_PRUNED
            if key in pruned.metrics
        },
        **{
            key: integers.metrics[key]
            for key in _OF_INT8
            if key in integers.metrics
        },
        "seconds": time.perf_counter() - started,
    }
    if not config.quick:
        _check_bar(metrics)
    details = tuned.sections[-1]
    sections = [
        *pretrained.sections[1:-1],
        *tuned.sections[1:-1],
        *pruned.sections[1:3],
        *integers.sections[1:2],
        details,
    ]
    directory = config.to or f"saved_models/{config.name}"
    return common.finish(
        tuned.run,
        f"kbig demo: {config.name}",
        metrics,
        sections,
        lambda metrics: tuned.run.export(
            _FORMATS, directory, config.name, metrics
        ),
    )


def _plans(config: Config, out: pathlib.Path) -> tuple:
    """How the recipes are called; what is fine-tuned is the run."""
    shared = {
        "seed": config.seed,
        "overwrite": config.overwrite,
        "dry_run": config.dry_run,
        "name": config.name,
    }
    pretrain = pretrain_mlm.Config(
        out=f"{out}-pretrain",
        corpus=config.corpus,
        epochs=config.pretrain_epochs,
        limit=-(-config.limit // 20),
        **shared,
    )
    tune = finetune.Config(
        out=str(out),
        from_=pretrain.out,
        data=config.data,
        epochs=config.finetune_epochs,
        limit=config.limit,
        **shared,
    )
    pruning = prune.Config(
        out=f"{out}-pruned",
        from_=tune.out,
        sparsity=config.sparsity,
        epochs=1,
        **shared,
    )
    integers = quantize.Config(
        out=f"{out}-int8",
        from_=tune.out,
        epochs=1,
        limit=config.limit or config.int8_limit,
        **shared,
    )
    return pretrain, tune, pruning, integers


def _check(pretrain, tune, pruning, integers) -> None:
    """Raises before a pretraining that the rest could not use."""
    task = finetune.load(tune).info.task
    if task != "classification":
        raise UsageError(
            "The demo fine-tunes a classifier. Received: --data "
            f"{tune.data}, for the task {task}. Pass texts with one class "
            "each, or use `kbig pretrain-mlm` and `kbig finetune`."
        )
    common.check_start(pretrain, "pretrain-mlm")
    common.check_start(tune, "finetune")
    prune.check(pruning)
    common.check_start(pruning, "prune")
    common.check_start(integers, "quantize")


def _check_bar(metrics: dict) -> None:
    accuracy, bar = metrics["test_accuracy"], metrics["baseline_accuracy"]
    if accuracy < bar:
        raise GateError(
            f"The model's test accuracy {accuracy:.4f} is below the "
            f"baseline's {bar:.4f}. Nothing was exported."
        )
