import numpy as np
import pytest

from kbig import evaluation
from kbig.errors import UsageError
from kbig.evaluation.tagging import spans

NAMES = ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")


def numbers(*sentences):
    return [
        np.array([NAMES.index(tag) for tag in sentence.split()])
        for sentence in sentences
    ]


def random_sentences(seed):
    generator = np.random.RandomState(seed)
    sizes = generator.randint(1, 12, 30)
    true = [generator.randint(0, 5, size) for size in sizes]
    predicted = [
        np.where(
            generator.random_sample(len(tags)) < 0.6,
            tags,
            generator.randint(0, 5, len(tags)),
        )
        for tags in true
    ]
    return predicted, true


# Precision, recall, F1, accuracy, then F1 and number of LOC and of PER, as
# seqeval 1.2.2, which follows conlleval, found them.
SEQEVAL = [
    (0.578125, 0.606557, 0.592000, 0.672043, 0.563380, 68, 0.629630, 54),
    (0.620968, 0.636364, 0.628571, 0.700000, 0.651163, 63, 0.603448, 58),
    (0.652482, 0.702290, 0.676471, 0.719388, 0.704225, 66, 0.646154, 65),
    (0.567164, 0.580153, 0.573585, 0.650718, 0.561983, 58, 0.583333, 73),
    (0.659722, 0.659722, 0.659722, 0.679245, 0.671141, 77, 0.647482, 67),
]


@pytest.mark.parametrize("seed", range(5))
def test_random_tags_score_as_by_seqeval(seed):
    report = evaluation.tagging(*random_sentences(seed), NAMES)
    assert report.types == ("LOC", "PER")
    (*_, loc_f1, locs), (*_, per_f1, pers) = report.per_type
    found = (
        report.precision,
        report.recall,
        report.f1,
        report.token_accuracy,
        *(loc_f1, locs, per_f1, pers),
    )
    assert found == pytest.approx(SEQEVAL[seed], abs=1e-6)
    assert report.interval[0] < report.f1 < report.interval[1]


@pytest.mark.parametrize(
    "tags, expected",
    [
        ("B-LOC I-LOC O B-LOC", [(0, 2, 0), (3, 4, 0)]),
        ("I-LOC I-LOC O", [(0, 2, 0)]),
        ("B-LOC B-LOC", [(0, 1, 0), (1, 2, 0)]),
        ("B-LOC I-PER I-PER", [(0, 1, 0), (1, 3, 1)]),
        ("O O", []),
        ("B-PER", [(0, 1, 1)]),
    ],
)
def test_spans_by_the_rules_of_conlleval(tags, expected):
    (row,) = numbers(tags)
    found = spans(row, np.array([len(row)]), NAMES)
    assert list(map(tuple, found.tolist())) == expected


def test_spans_end_with_their_sentence():
    flat = np.concatenate(numbers("O B-LOC", "I-LOC O", "I-LOC", "I-LOC"))
    found = spans(flat, np.array([2, 2, 1, 1]), NAMES)
    assert found.tolist() == [[1, 2, 0], [2, 3, 0], [4, 5, 0], [5, 6, 0]]


def test_a_span_is_right_with_its_borders_and_its_type():
    true = numbers("B-PER I-PER O B-LOC", "B-LOC O", "B-LOC O")
    predicted = numbers("B-PER I-PER O B-PER", "B-LOC I-LOC", "I-LOC O")
    report = evaluation.tagging(predicted, true, NAMES)
    # Right: the first PER, and the last LOC, begun by an I.
    assert report.precision == report.recall == report.f1 == 2 / 4
    assert report.per_type == (
        (1 / 2, 1 / 3, pytest.approx(2 / 5), 3),
        (1 / 2, 1.0, pytest.approx(2 / 3), 1),
    )
    assert report.token_accuracy == 5 / 8
    assert (report.sentences, report.words) == (3, 8)
    assert dict(report.tables()[0].rows)["span F1"] == 0.5


def test_parts_of_speech_are_spans_of_one_word():
    names = ("DT", "NN", "VB")
    report = evaluation.tagging([[0, 1, 2, 0, 2]], [[0, 1, 2, 0, 1]], names)
    assert report.f1 == report.precision == report.token_accuracy == 4 / 5
    assert report.types == names
    assert report.per_type[1] == (1.0, 0.5, pytest.approx(2 / 3), 2)


def test_nothing_found_scores_nothing():
    report = evaluation.tagging([[0, 0]], [[1, 3]], NAMES)
    assert (report.precision, report.recall, report.f1) == (0, 0, 0)
    report = evaluation.tagging([[0, 0]], [[0, 0]], NAMES)
    assert report.f1 == 0 and report.token_accuracy == 1


@pytest.mark.parametrize(
    "predicted, true, message",
    [
        ([[0]], [[0], [1]], "1 for 2 sentences"),
        ([[0], [0]], [[0], [0, 1]], r"\(1,\) and \(2,\) in sentence 1"),
        ([[]], [[]], r"\(0,\) and \(0,\) in sentence 0"),
        ([[5]], [[0]], r"labels\[0\]=5"),
        ([[0]], [[-1]], r"labels\[0\]=-1"),
        ([], [], "none"),
    ],
)
def test_what_does_not_fit(predicted, true, message):
    with pytest.raises(UsageError, match=f"Received: .*{message}"):
        evaluation.tagging(predicted, true, NAMES)
