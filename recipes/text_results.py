"""What trainings of a text model came to: numbers, a table, examples."""

import numpy as np

import kbig


def numbers(material, kept, reports, controls) -> dict:
    """For metrics.json: of the model that is kept, and over the seeds.

    Args:
        material: what every training shared.
        kept: the training whose model is kept.
        reports: of every training, that one first.
        controls: of those from nothing.
    """
    judge = material.judge
    metrics = {
        f"test_{name}": getattr(kept.report, name) for name in judge.metrics
    }
    metrics |= {
        "test_interval": kept.report.interval,
        "parameters": kept.tuning.total,
        # Now that all stages of gradual unfreezing are over.
        "trained_parameters": sum(
            int(np.prod(weight.shape))
            for weight in kept.tuning.model.trainable_weights
        ),
        **kept.speed,
    }
    for name, group in (("test", reports), ("control", controls)):
        scores = _scores(material, group)
        if len(scores) > 1:
            metrics[f"{name}_{judge.metric}_mean"] = float(np.mean(scores))
            metrics[f"{name}_{judge.metric}_std"] = _spread(scores)
        elif name == "control" and scores:
            metrics[f"control_{judge.metric}"] = scores[0]
    return metrics


def baseline(material) -> dict[str, float]:
    """The main metric of what needs no BERT, fitted to the same rows."""
    if not material.config.baseline:
        return {}
    texts, labels = material.dataset.arrays("train")
    test_texts, test_labels = material.dataset.arrays("test")
    predicted = material.task.baseline(texts, labels, test_texts)
    score = material.judge.score(
        predicted, test_labels, material.dataset.info.class_names
    )
    return {f"baseline_{material.judge.metric}": float(score)}


def comparison(material, reports, controls, metrics) -> list:
    """Every training's main metric, beside the control and the baseline."""
    if len(reports) + len(controls) < 2:
        return []
    metric, config = material.judge.metric, material.config
    groups = {
        f"{config.method} from {config.from_ or 'nothing'}": reports,
        "the same BERT from nothing": controls,
    }
    rows = []
    for name, group in groups.items():
        scores = _scores(material, group)
        if scores:
            each = ", ".join(f"{score:.4f}" for score in scores)
            mean = float(np.mean(scores))
            rows.append((name, mean, _spread(scores), each))
    if config.baseline:
        score = metrics[f"baseline_{metric}"]
        rows.append((material.task.baseline_name, score, None, f"{score:.4f}"))
    table = kbig.reporting.Table(
        f"Test {metric.replace('_', ' ')} over {config.seeds} seeds",
        ("start", "mean", "spread", "each"),
        rows,
        "The spread is the standard deviation. The model of the first seed is "
        "kept.",
    )
    kbig.reporting.show(table)
    return [kbig.reporting.Section("Seeds", [table])]


def examples(material, outputs) -> list:
    """What the model said about the first test texts."""
    columns = *material.dataset.arrays("test"), outputs
    texts, labels, outputs = (column[:3] for column in columns)
    return [
        material.task.examples(
            texts, outputs, labels, material.dataset.info.class_names
        )
    ]


def samples(material) -> tuple:
    """Test texts and their labels, as `kbig.runs.Run.save_samples` takes them.

    Of tags there are no labels: those of words are none of tokens.
    """
    texts, labels = material.dataset.arrays("test")
    is_tagging = material.dataset.info.kind == "tags"
    return material.task.texts(texts), None if is_tagging else labels


def _scores(material, reports) -> list[float]:
    return [getattr(report, material.judge.metric) for report in reports]


def _spread(scores) -> float | None:
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else None
