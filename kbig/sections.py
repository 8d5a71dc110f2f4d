"""Reports as sections of a page: what a person looks at after a run."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np

from kbig.evaluation import ClassificationReport
from kbig.evaluation import ForecastReport
from kbig.evaluation import MultilabelReport
from kbig.evaluation import RegressionReport
from kbig.evaluation import TaggingReport
from kbig.evaluation import probabilities
from kbig.export.report import VerifyReport
from kbig.reporting import Details
from kbig.reporting import Figure
from kbig.reporting import Prediction
from kbig.reporting import Predictions
from kbig.reporting import Preformatted
from kbig.reporting import Section
from kbig.reporting import Table
from kbig.reporting import plots

_WIDE_CLASSES = 12


def training(
    history: Mapping[str, Sequence[float]],
    curves: Mapping[str, str],
    title: str = "Training",
    lead: str = "",
) -> Section:
    """Curves of one `fit`.

    Args:
        history: what `fit` returned, `History.history`.
        curves: the title of a plot by the metric that it shows; the
            validation curve joins where there is one. A curve with values
            that are not finite is left out.
        title: of the section.
        lead: a sentence below it; by default the number of epochs.
    """
    figures = []
    for metric, name in curves.items():
        series = {
            key: history[key]
            for key in (metric, f"val_{metric}")
            if key in history and np.isfinite(history[key]).all()
        }
        if series:
            figures.append(Figure(plots.curves(series, name), name))
    epochs = len(next(iter(history.values())))
    lead = lead or f"{epochs} epochs; dashed: validation."
    return Section(title, figures, lead)


def classification(report: ClassificationReport) -> Section:
    """The confusion matrix and the classes' scores."""
    matrix = plots.confusion(
        report.confusion, report.class_names, "Confusion on the test rows"
    )
    wide = len(report.class_names) >= _WIDE_CLASSES
    rows = sum(map(sum, report.confusion))
    return Section(
        "Test",
        [
            Figure(matrix, "Rows are labels, columns predictions.", wide),
            *report.tables(),
        ],
        f"{rows:,} rows that were never trained on.",
    )


def multilabel(report: MultilabelReport) -> Section:
    """The metrics and the classes' scores."""
    lead = f"{report.rows:,} rows that were never trained on."
    return Section("Test", report.tables(), lead)


def regression(report: RegressionReport) -> Section:
    """Correlations and errors."""
    lead = f"{report.rows:,} rows that were never trained on."
    return Section("Test", report.tables(), lead)


def tagging(report: TaggingReport) -> Section:
    """The metrics and the scores of the types of spans."""
    lead = f"{report.sentences:,} sentences that were never trained on."
    return Section("Test", report.tables(), lead)


def forecasts(
    report: ForecastReport,
    past: np.ndarray,
    target: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    unit: str,
    every: int = 1,
) -> Section:
    """Errors beside the baselines', and one forecast drawn.

    Args:
        report: the errors over all windows.
        past: float `(steps,)`, what one forecast saw.
        target: float `(horizon,)`, what came.
        predictions: float `(horizon,)` by the name of the forecaster.
        unit: of the values.
        every: steps of the series from one value of `past` to the next.
    """
    if every > 1:
        steps = np.arange(len(past))
        inner = np.linspace(0, steps[-1], steps[-1] * every + 1)
        past = np.interp(inner, steps, past)
    drawn = plots.forecast(past, target, predictions, unit, "One forecast")
    return Section(
        "Test", [*report.tables(), Figure(drawn, "A test window.", wide=True)]
    )


def artefacts(report: VerifyReport) -> Section:
    """The table of artefacts, and their sizes and latencies as bars."""
    names = [artefact.name for artefact in report.artefacts]
    sizes = [artefact.bytes / 1e6 for artefact in report.artefacts]
    ratios = [artefact.latency_ratio for artefact in report.artefacts]
    return Section(
        "Artefacts",
        [
            *report.tables(),
            Figure(plots.bars(names, sizes, "Size", "MB"), "Size"),
            Figure(
                plots.bars(names, ratios, "Latency", "×"),
                "Latency of one row; the Keras model is 1.",
            ),
        ],
        "Each one was loaded and run outside Keras before it was written.",
    )


def predictions(
    texts: Sequence[str],
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Section:
    """What a classifier said about single texts.

    Args:
        texts: a few texts, or `(texts, 2)` for pairs.
        logits: float `(texts, classes)`.
        labels: int `(texts,)`.
        class_names: in the order of the logits.
    """
    examples = [
        Prediction(
            _shown(text), dict(zip(class_names, row)), class_names[label]
        )
        for text, row, label in zip(texts, probabilities(logits), labels)
    ]
    return Section("Examples", [Predictions(examples)])


def multilabel_predictions(
    texts: Sequence[str],
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Section:
    """What a multi-label classifier said about single texts.

    Args:
        texts: a few texts, or `(texts, 2)` for pairs.
        logits: float `(texts, classes)`.
        labels: 0 or 1, `(texts, classes)`.
        class_names: in the order of the logits.
    """

    def names(chosen):
        return ", ".join(np.array(class_names)[np.asarray(chosen, bool)]) or "–"

    rows = [
        (_shown(text), names(row > 0), names(label))
        for text, row, label in zip(texts, logits, labels)
    ]
    return Section(
        "Examples", [Table("Texts", ("text", "predicted", "label"), rows)]
    )


def regression_predictions(
    texts: Sequence[str],
    outputs: np.ndarray,
    targets: np.ndarray,
    class_names: Sequence[str] = (),
) -> Section:
    """What a regression said about single texts.

    Args:
        texts: a few texts, or `(texts, 2)` for pairs.
        outputs: float `(texts,)` or `(texts, 1)`.
        targets: float `(texts,)`.
        class_names: empty; here so that all tasks are shown alike.
    """
    rows = [
        (_shown(text), float(output), float(target))
        for text, output, target in zip(texts, np.ravel(outputs), targets)
    ]
    return Section(
        "Examples", [Table("Texts", ("text", "predicted", "target"), rows)]
    )


def tag_predictions(
    words: Sequence[Sequence[str]],
    predicted: Sequence[np.ndarray],
    tags: Sequence[np.ndarray],
    class_names: Sequence[str],
) -> Section:
    """What a tagger said about the words of single sentences.

    Args:
        words: a few sentences.
        predicted: int `(words,)` for each.
        tags: likewise.
        class_names: one a tag.
    """
    tables = [
        Table(
            f"Sentence {number}",
            ("word", "predicted", "tag"),
            [
                (word, class_names[guess], class_names[tag])
                for word, guess, tag in zip(*sentence)
            ],
        )
        for number, sentence in enumerate(zip(words, predicted, tags), start=1)
    ]
    return Section("Examples", tables)


def image_predictions(
    images: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> Section:
    """Images with what a classifier said about them.

    Args:
        images: uint8 `(images, height, width, channels)`.
        logits: float `(images, classes)`.
        labels: int `(images,)`.
        class_names: in the order of the logits.
    """
    captions = [
        f"{class_names[row.argmax()]} {row.max():.0%}\n({class_names[label]})"
        for row, label in zip(probabilities(logits), labels)
    ]
    drawn = plots.images(images, captions, "Test images")
    caption = "What the model said, how sure it was, and the label."
    return Section("Examples", [Figure(drawn, caption, wide=True)])


def details(texts: Mapping[str, str], title: str = "This run") -> Section:
    """Folded texts, such as the configuration, by their summary line."""
    return Section(
        title,
        [Details(name, Preformatted(text)) for name, text in texts.items()],
    )


def _shown(text):
    return text if isinstance(text, str) else " ⟷ ".join(text)
