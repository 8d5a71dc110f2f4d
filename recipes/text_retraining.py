"""A text model of an earlier run, trained on as a whole and tested."""

import kbig
from recipes import text_batches
from recipes import text_results
from recipes.text_training import Material
from recipes.text_training import fit


def fit_whole(
    material: Material, model, runtime, directory, callbacks=()
) -> tuple[dict, dict]:
    """Trains all weights of a model.

    Args:
        material: what to train on, and how; the method is "full".
        model: any that takes these texts.
        runtime: where.
        directory: where the curves are recorded.
        callbacks: further ones.

    Returns:
        What each epoch came to, and the speed.
    """
    count = model.count_params()
    tuning = kbig.tuning.Tuning(model, "full", count, count, {}, ((),), {})
    return fit(material, tuning, runtime, directory, callbacks)


def training_batches(material: Material, runtime):
    """Batches to train on, shuffled."""
    train, _ = text_batches.batches(material, runtime)
    return train


def evaluate(material: Material, model) -> tuple[dict, list]:
    """What a model comes to on the test rows: numbers and sections."""
    judge = material.judge
    texts, labels = material.dataset.arrays("test")
    outputs = judge.predict(
        model, texts, material.tokenizer, material.config.sequence_length
    )
    report = judge.evaluate(outputs, labels, material.dataset.info.class_names)
    metrics = {f"test_{name}": getattr(report, name) for name in judge.metrics}
    metrics["test_interval"] = report.interval
    sections = [
        material.task.section(report),
        *text_results.examples(material, outputs),
    ]
    return metrics, sections
