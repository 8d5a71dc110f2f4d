"""Quality of tags: of words, and of the spans that they mark."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kbig.errors import UsageError
from kbig.evaluation.bootstrap import bootstrap_interval
from kbig.evaluation.checks import check_rows
from kbig.evaluation.classification import check_classes
from kbig.evaluation.classification import class_table
from kbig.evaluation.classification import interval_rows
from kbig.evaluation.counts import f1
from kbig.evaluation.counts import scores
from kbig.reporting import Percent
from kbig.reporting import Report
from kbig.reporting import Table

_OUTSIDE = -1


@dataclasses.dataclass(frozen=True)
class TaggingReport(Report):
    """Quality of a tagger.

    Args:
        f1: of all spans together; a span is right if its first word, its
            last word and its type are.
        precision: likewise.
        recall: likewise.
        token_accuracy: share of words whose tag is right.
        interval: 95 % confidence interval of `f1`, by bootstrap over
            sentences.
        types: of the spans, sorted.
        per_type: precision, recall, F1 and number of spans of each type.
        sentences: their number.
        words: their number.
    """

    f1: float
    precision: float
    recall: float
    token_accuracy: float
    interval: tuple[float, float]
    types: tuple[str, ...]
    per_type: tuple[tuple[float, float, float, int], ...]
    sentences: int
    words: int

    def tables(self) -> list[Table]:
        """The metrics, then precision, recall and F1, a row a type."""
        metrics = [
            ("span F1", Percent(self.f1)),
            *interval_rows("span F1", self.interval),
            ("span precision", Percent(self.precision)),
            ("span recall", Percent(self.recall)),
            ("words right", Percent(self.token_accuracy)),
        ]
        note = f"{self.sentences:,} sentences of {self.words:,} words."
        return [
            Table("Metrics", ("metric", "value"), metrics, note),
            class_table("Spans", self.types, self.per_type, "type", "spans"),
        ]


def tagging(
    predicted: Sequence[np.ndarray],
    tags: Sequence[np.ndarray],
    class_names: Sequence[str],
) -> TaggingReport:
    """Compares predicted tags of words with the true ones.

    Spans are found by the rules of conlleval: `B-X` begins one, and so does
    an `I-X` that no word of type X goes before. Where no tag is `O`, `B-...`
    or `I-...`, as with parts of speech, every word is a span of its own.

    Args:
        predicted: int `(words,)` for each sentence.
        tags: likewise.
        class_names: one a tag.

    Returns:
        A report.

    Raises:
        UsageError: sentences that do not fit each other, naming the first;
            tags out of range; or no sentences.

    Example:
    ```python
    names = ("O", "B-PER", "I-PER")
    tagging([[1, 2, 0]], [[1, 2, 2]], names).token_accuracy  # 2 / 3
    ```

    Reference:
        Tjong Kim Sang and Buchholz, 2000, [Introduction to the CoNLL-2000
        Shared Task: Chunking](https://aclanthology.org/W00-0726/).
    """
    _check_sentences(predicted, tags)
    sizes = np.array([len(sentence) for sentence in tags])
    guessed, true = map(np.concatenate, (predicted, tags))
    for flat in (guessed, true):
        check_classes(flat, len(class_names))
    types, counts = _span_counts(guessed, true, sizes, class_names)
    ((precision, recall, whole_f1, _),) = scores(counts.sum((0, 1))[None])
    return TaggingReport(
        f1=whole_f1,
        precision=precision,
        recall=recall,
        token_accuracy=float((guessed == true).mean()),
        interval=bootstrap_interval(counts.sum(1), f1),
        types=types,
        per_type=tuple(scores(counts.sum(0))),
        sentences=len(sizes),
        words=int(sizes.sum()),
    )


def span_f1(
    predicted: Sequence[np.ndarray],
    tags: Sequence[np.ndarray],
    class_names: Sequence[str],
) -> float:
    """F1 of all spans together.

    Args:
        predicted: as of `tagging`.
        tags: likewise.
        class_names: likewise.

    Returns:
        From 0 to 1.
    """
    return tagging(predicted, tags, class_names).f1


def spans(
    tags: np.ndarray, sizes: np.ndarray, class_names: Sequence[str]
) -> np.ndarray:
    """Finds the spans of sentences by the rules of conlleval.

    Args:
        tags: int `(words,)`, of all sentences, one after the other.
        sizes: int `(sentences,)`, the words of each.
        class_names: one a tag.

    Returns:
        Int `(spans, 3)`: first word, behind the last word, and type, an
        index into the sorted types of `class_names`.

    Example:
    ```python
    names = ("O", "B-LOC", "I-LOC")
    spans(np.array([0, 1, 2, 2, 1]), np.array([3, 2]), names)
    # [[1, 3, 0], [3, 4, 0], [4, 5, 0]]
    ```
    """
    _, type_of_tag, begins = _scheme(class_names)
    kinds = type_of_tag[tags]
    first_words = np.cumsum(sizes) - sizes
    previous = np.roll(kinds, 1)
    previous[first_words] = _OUTSIDE
    starts = (kinds != _OUTSIDE) & (begins[tags] | (kinds != previous))
    borders = starts | (kinds == _OUTSIDE)
    borders[first_words] = True
    borders = np.append(np.flatnonzero(borders), len(tags))
    first = np.flatnonzero(starts)
    behind = borders[np.searchsorted(borders, first, side="right")]
    return np.stack([first, behind, kinds[first]], axis=-1)


def _scheme(class_names):
    """The types, the type of each tag, and which tags begin a span."""
    divided = [name.partition("-") for name in class_names]
    of_spans = any(
        name == "O" or name.startswith(("B-", "I-")) for name in class_names
    )
    if not of_spans:
        divided = [("B", "-", name) for name in class_names]
    kinds = [None if name == "O" else kind for name, _, kind in divided]
    types = tuple(sorted({kind for kind in kinds if kind is not None}))
    numbers = {kind: index for index, kind in enumerate(types)}
    return (
        types,
        np.array([numbers.get(kind, _OUTSIDE) for kind in kinds]),
        np.array([prefix == "B" for prefix, _, _ in divided]),
    )


def _span_counts(guessed, true, sizes, class_names):
    """Types, and right, found and true spans `(sentences, types, 3)`."""
    types = _scheme(class_names)[0]
    found, there = (spans(x, sizes, class_names) for x in (guessed, true))
    known = set(map(tuple, there.tolist()))
    right = np.array([tuple(span) in known for span in found.tolist()], bool)
    sentence = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.zeros((len(sizes), len(types), 3), np.int64)
    for column, chosen in enumerate((found[right], found, there)):
        place = sentence[chosen[:, 0]], chosen[:, 2], column
        np.add.at(counts, place, 1)
    return types, counts


def _check_sentences(predicted, tags):
    check_rows(len(tags))
    if len(predicted) != len(tags):
        raise UsageError(
            "There must be predictions for every sentence. Received: "
            f"{len(predicted)} for {len(tags)} sentences"
        )
    for index, (guessed, true) in enumerate(zip(predicted, tags)):
        shapes = np.shape(guessed), np.shape(true)
        if shapes[0] != shapes[1] or len(shapes[1]) != 1 or not len(true):
            raise UsageError(
                "There must be words, and a predicted tag for each. Received: "
                f"shapes {shapes[0]} and {shapes[1]} in sentence {index}"
            )
