"""`kbig pretrain-mlm`: each objective, on from another model, in Chinese."""

import csv
import json

import numpy as np
import pytest

from recipes import cli

SUBJECTS = ("the cat", "a dog", "the old cow", "my hen")
VERBS = ("sleeps in", "runs through", "looks at", "remembers")
PLACES = ("the garden", "a quiet house", "the long road", "our field")
CHINESE = {
    "动物": (
        "猫在花园里睡觉",
        "狗跑过长长的路",
        "母鸡在田里吃米",
        "老牛喝河水",
    ),
    "植物": ("橡树长在山上", "常春藤爬满墙", "蕨类喜欢阴凉", "竹子长得很快"),
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


def sentences(count, generator):
    return [
        f"{generator.choice(SUBJECTS)} {generator.choice(VERBS)} "
        f"{generator.choice(PLACES)} {number}"
        for number in range(count)
    ]


@pytest.fixture
def corpus(tmp_path):
    generator = np.random.default_rng(0)
    documents = ["\n".join(sentences(4, generator)) for _ in range(200)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def pretrain(corpus, out, *arguments):
    arguments = [
        *("--corpus", corpus, "--vocabulary-size", 150, "--steps", 24),
        *("--batch-size", 8, "--sequence-length", 32, "--out", out),
        *arguments,
    ]
    assert cli.main(["pretrain-mlm", *map(str, arguments)]) == 0
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.slow
def test_objectives_maskings_and_going_on(corpus, tmp_path):
    first = pretrain(
        corpus, tmp_path / "first", "--masking", "span", "--stream"
    )
    page = (tmp_path / "first/report.html").read_text()
    assert "Fill-ins" in page and "[MASK]" in page
    second = pretrain(
        corpus,
        tmp_path / "second",
        *("--from", tmp_path / "first", "--objective", "mlm+sop"),
        *("--masking", "whole-word", "--rate", 0.3, "--steps", 96),
    )
    assert second["test_loss"] < first["test_loss"]
    assert second["test_loss"] < second["unigram_entropy"]
    assert 0.2 <= second["next_sentence_accuracy"] <= 1
    third = pretrain(
        corpus, tmp_path / "third", "--from", tmp_path / "second", "--pack"
    )
    # It goes on from where the second ended, its head included.
    assert third["test_loss"] < first["test_loss"]
    assert third["fill"] > 0.9
    vocabularies = {
        (tmp_path / name / "vocabulary.txt").read_text()
        for name in ("first", "second", "third")
    }
    assert len(vocabularies) == 1


@pytest.mark.slow
def test_shards_are_written_once_and_checked(corpus, tmp_path, capsys):
    shards = tmp_path / "shards"
    pretrain(corpus, tmp_path / "first", "--shards", shards, "--steps", 4)
    written = (shards / "train" / "shard-00000.tfrecord").stat().st_mtime_ns
    pretrain(corpus, tmp_path / "second", "--shards", shards, "--steps", 4)
    kept = (shards / "train" / "shard-00000.tfrecord").stat().st_mtime_ns
    assert kept == written
    corpus.write_text(corpus.read_text() + "\n\nAnother one.\nAnd more.")
    arguments = [
        "--corpus",
        corpus,
        "--shards",
        shards,
        "--out",
        tmp_path / "x",
    ]
    vocabulary = tmp_path / "first" / "vocabulary.txt"
    arguments += ["--vocabulary", vocabulary, "--sequence-length", 32]
    assert cli.main(["pretrain-mlm", *map(str, arguments)]) == 2
    assert "shard" in capsys.readouterr().err


@pytest.mark.slow
def test_chinese_from_a_corpus_to_a_server(tmp_path):
    generator = np.random.default_rng(0)
    rows = [
        (f"{generator.choice(CHINESE[topic])}，第{number}次。", topic)
        for number in range(300)
        for topic in CHINESE
    ]
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n\n".join(text for text, _ in rows), encoding="utf-8")
    pretrain(corpus, tmp_path / "pretrain")
    vocabulary = (tmp_path / "pretrain/vocabulary.txt").read_text().split()
    assert {"猫", "橡", "竹", "牛"} <= set(vocabulary)
    data = tmp_path / "topics.csv"
    with data.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    out = tmp_path / "topics"
    arguments = [
        *("finetune", "--data", data, "--from", tmp_path / "pretrain"),
        *("--epochs", 4, "--formats", "savedmodel,litert-dynamic"),
        *("--out", out),
    ]
    assert cli.main(list(map(str, arguments))) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test_accuracy"] > 0.95
    assert metrics["saved_model"]["metric"] == metrics["test_accuracy"]
    assert "动物" in (out / "report.html").read_text(encoding="utf-8")


def test_mistakes_are_found_before_training(corpus, tmp_path, capsys):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    few = tmp_path / "few.txt"
    few.write_text("A single document.\n")
    lacking = tmp_path / "vocabulary.txt"
    lacking.write_text("[PAD]\n[UNK]\na\nb\n")
    for arguments, fragment in (
        (("--corpus", empty), "empty"),
        (("--batch-size", 100_000), "less than one batch"),
        (("--vocabulary", lacking), "[CLS]"),
        (("--sequence-length", 600), "512"),
        (("--rate", 1.5), "between 0 and 1"),
        (("--pack", "--objective", "mlm+nsp"), "--pack"),
        (("--corpus", "austen", "--stream"), "no file"),
        (("--corpus", few, "--stream"), "one in fifty"),
    ):
        command = [
            *("pretrain-mlm", "--corpus", corpus, "--vocabulary-size", 150),
            *("--out", tmp_path / "run", "--overwrite", *arguments),
        ]
        assert cli.main(list(map(str, command))) == 2, arguments
        assert fragment in capsys.readouterr().err
        assert not (tmp_path / "run" / "model.keras").exists()
