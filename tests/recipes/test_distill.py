"""A teacher of two topics, and students of it."""

import csv
import json
import types

import keras
import numpy as np
import pytest

from kbig import data
from kbig import models
from kbig import tuning
from kbig.runs import Run
from recipes import cli
from recipes import distill
from recipes import distill_models

TOPICS = {"animal": "a small furry beast", "plant": "a tall green tree"}
# The teacher is narrower than the smallest student.
RANDOM = ("--embeddings", "random")
LARGE = {
    "num_layers": 2,
    "hidden_dim": 32,
    "num_heads": 2,
    "max_sequence_length": 24,
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`topics.tsv`, and the run of a teacher that knows them."""
    folder = tmp_path_factory.mktemp("distill")
    generator = np.random.default_rng(0)
    rows = []
    for number in range(240):
        topic = list(TOPICS)[number % 2]
        words = generator.permutation(TOPICS[topic].split())
        rows.append((f"{' '.join(words)} {number}", topic))
    with (folder / "topics.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([("text", "label"), *rows])
    texts, topics = zip(*rows)
    labels = np.array([list(TOPICS).index(topic) for topic in topics])
    vocabulary = data.train_vocabulary(texts, 120)
    keras.utils.set_random_seed(0)
    backbone = models.bert(LARGE, len(vocabulary))
    teacher = models.bert_classifier(backbone, 2, pooling="mean")
    inputs = data.encode(texts, data.tokenizer(vocabulary), 16)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher.compile(keras.optimizers.Adam(3e-3), loss)
    teacher.fit(inputs, labels, epochs=4, verbose=0)
    config = {"lowercase": True, "strip_accents": True, "sequence_length": 16}
    run = Run.create(folder / "teacher", "finetune", config)
    run.save_model(teacher, vocabulary=vocabulary, class_names=tuple(TOPICS))
    return folder


def distil(folder, *arguments, out):
    given = ["distill", "--data", folder / "topics.tsv", "--out", out]
    given += ["--from", folder / "teacher", "--xla", "off", *arguments]
    return cli.main([*map(str, given)])


@pytest.mark.ci
def test_a_student_that_reads_its_own_tokens(folder, tmp_path):
    (tmp_path / "more.txt").write_text("a furry tree\n\na green beast\n" * 9)
    out = tmp_path / "run"
    status = distil(
        folder,
        *("--vocabulary", "own", "--vocabulary-size", 90, "--augment", 1),
        *("--unlabelled", tmp_path / "more.txt", "--epochs", 3),
        out=out,
    )
    assert status == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["teacher_accuracy"] > 0.9
    assert metrics["test_accuracy"] > 0.9
    assert metrics["agreement"] > 0.9
    run = Run.open(out)
    assert run.class_names == tuple(TOPICS)
    assert len(run.vocabulary) == run.config["vocabulary_size"] <= 90
    # The peak of a student 128 wide.
    assert run.config["learning_rate"] == 1e-3
    model = run.load_model()
    assert model.count_params() == metrics["parameters"]
    assert model.get_layer("token_embedding").input_dim == len(run.vocabulary)
    texts, labels = run.load_samples()
    length = run.config["sequence_length"]
    inputs = data.encode(texts, run.tokenizer(), length)
    predicted = model.predict(inputs, verbose=0).argmax(-1)
    assert (predicted == labels).mean() == metrics["test_accuracy"]
    size = (folder / "teacher" / "model.keras").stat().st_size
    assert metrics["teacher_bytes"] == size
    teacher = Run.open(folder / "teacher").load_model()
    assert metrics["teacher_parameters"] == teacher.count_params()
    page = (out / "report.html").read_text()
    for part in ("Student and teacher", "Agreement with teacher", "Confusion"):
        assert part in page


@pytest.mark.slow
@pytest.mark.parametrize("method", ["hidden", "attention", "all"])
def test_a_student_that_learns_the_insides(method, folder, tmp_path):
    out = tmp_path / "run"
    status = distil(
        folder,
        *("--method", method, "--augment", 0, "--epochs", 3, *RANDOM),
        *("--strategy", "mirrored", "--batch-size", 16),
        *("--formats", "litert-float32"),
        out=out,
    )
    assert status == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.9
    assert metrics["topics-float32.tflite"]["metric"] > 0.9
    run = Run.open(out)
    assert run.vocabulary == Run.open(folder / "teacher").vocabulary
    history = (out / "history.csv").read_text()
    assert "nan" not in history
    header = history.splitlines()[0]
    for term in ("hidden", "attention"):
        assert (f"{term}_loss" in header) == (method in (term, "all"))
    # And on from there.
    again = ("--student", out, "--augment", 0, "--epochs", 1)
    assert distil(folder, *again, out=tmp_path / "second") == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--from", "nowhere"), "No run directory: nowhere"),
        (("--temperature", 0), "above 0. Received: temperature=0.0"),
        (("--alpha", 1.5), "Received: alpha=1.5"),
        (("--student", "nothing"), "nothing"),
        (("--unlabelled", "nothing", *RANDOM), "nothing"),
        (
            ("--method", "hidden", "--size", "mini", *RANDOM),
            "4 layers, taught by 2",
        ),
        (("--size", "tiny"), "128 wide. Pass --embeddings random"),
        (
            ("--method", "all", "--vocabulary", "own"),
            "must share vocabulary and casing",
        ),
        (("--sequence-length", 600, *RANDOM), "512 positions of the student"),
        (
            ("--sequence-length", 25, "--method", "attention", *RANDOM),
            "24 positions of the teacher",
        ),
    ],
)
def test_mistakes_are_named(arguments, message, folder, tmp_path, capsys):
    assert distil(folder, *arguments, out=tmp_path / "run") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_teacher_is_needed(capsys):
    assert cli.main(["distill"]) == 2
    assert "no --from" in capsys.readouterr().err


@pytest.mark.parametrize(
    "classes, message",
    [
        (("plant", "animal"), "plant, animal of"),
        (("animal", "plant", "stone"), "animal, plant, stone of"),
        ((), "A teacher is a classifier"),
    ],
)
def test_other_classes_are_refused(classes, message, folder, tmp_path, capsys):
    good = Run.open(folder / "teacher")
    other = Run.create(tmp_path / "other", "finetune", good.config)
    other.save_model(
        good.load_model(), vocabulary=good.vocabulary, class_names=classes
    )
    arguments = ("--from", tmp_path / "other")
    assert distil(folder, *arguments, out=tmp_path / "run") == 2
    assert message in capsys.readouterr().err


def test_neither_teacher_nor_student_is_overwritten(folder, tmp_path, capsys):
    for option, out in (("--student", tmp_path), ("--from", folder)):
        arguments = (option, out / "teacher", "--overwrite")
        assert distil(folder, *arguments, out=out / "teacher") == 2
        assert f"is also {option}" in capsys.readouterr().err
    assert (folder / "teacher" / "model.keras").is_file()


def test_a_narrower_student_starts_with_the_teacher_s_words():
    wide = LARGE | {"num_layers": 1, "hidden_dim": 160}
    teacher = models.bert_classifier(models.bert(wide, 30), 2)
    config = types.SimpleNamespace(size="tiny", embeddings="teacher", seed=3)
    found = distill_models._like_teacher(config, teacher)
    table = teacher.get_layer("token_embedding").embeddings
    np.testing.assert_array_equal(
        found.token_embedding.embeddings, tuning.narrowed(table, 128, seed=3)
    )


@pytest.fixture
def pairs(folder, tmp_path):
    single = Run.open(folder / "teacher")
    teacher = Run.create(
        tmp_path / "teacher", "finetune", single.config | {"pair_column": "b"}
    )
    teacher.save_model(
        single.load_model(),
        vocabulary=single.vocabulary,
        class_names=single.class_names,
    )
    rows = [
        f"{text}\t{text} {number}\t{topic}"
        for number in range(40)
        for topic, text in TOPICS.items()
    ]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(["text\tsecond\tlabel", *rows]))
    options = ("--pair-column", "second", "--from", teacher.directory)
    return ("--data", path, *options, *RANDOM)


@pytest.mark.parametrize("teacher_reads_pairs", [True, False])
def test_a_teacher_of_pairs_teaches_pairs(
    teacher_reads_pairs, pairs, folder, tmp_path, capsys
):
    data_only = ("--data", folder / "topics.tsv")
    arguments = (*pairs[4:6], *data_only)
    if not teacher_reads_pairs:
        arguments = (*pairs[:4], "--from", folder / "teacher")
    assert distil(folder, *arguments, out=tmp_path / "run") == 2
    message = capsys.readouterr().err
    assert "pairs of texts" in message and "single texts" in message


def test_rows_too_short_for_pairs_are_refused(pairs, folder, tmp_path, capsys):
    arguments = (*pairs, "--sequence-length", 4)
    assert distil(folder, *arguments, out=tmp_path / "run") == 2
    assert "from 5, the least for pairs" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_single_texts_do_not_join_pairs(pairs, folder, tmp_path, capsys):
    arguments = (*pairs, "--unlabelled", folder / "topics.tsv")
    assert distil(folder, *arguments, out=tmp_path / "run") == 2
    assert "the data are pairs" in capsys.readouterr().err


def test_unlabelled_texts_are_of_every_split_but_not_tested_on(
    folder, tmp_path
):
    dataset = data.load(folder / "topics.tsv")
    tested = dataset.arrays("test")[0][0]
    table = tmp_path / "more.jsonl"
    rows = [
        {"body": "a\n\nb", "split": "train"},
        {"body": "c", "split": "val"},
        {"body": "d", "split": "test"},
        {"body": tested, "split": "train"},
    ]
    table.write_text("\n".join(map(json.dumps, rows)))
    corpus = tmp_path / "more.txt"
    documents = [f"e {number}\nf {number}" for number in range(30)]
    corpus.write_text("\n\n".join(documents))
    config = distill.Config(
        unlabelled=(str(table), str(corpus)), text_column="body"
    )
    found = distill._unlabelled(config, dataset)
    assert found[:4] == ["a", "b", "c", "d"]
    assert sorted(found[4:]) == sorted("\n".join(documents).split("\n"))
