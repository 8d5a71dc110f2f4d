"""`kbig finetune` on each task, and by each kind of method, end to end."""

import csv
import json

import keras
import numpy as np
import pytest

from kbig import data
from kbig.runs import Run
from recipes import cli
from recipes import text_training

ANIMALS = ("cat", "dog", "cow", "hen")
PLANTS = ("oak", "elm", "ivy", "fern")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def table(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def finetune(data, out, *arguments):
    arguments = [
        *("--data", data, "--epochs", 6, "--batch-size", 16),
        *("--learning-rate", 3e-3, "--vocabulary-size", 120),
        *("--formats", "savedmodel", "--out", out),
        *arguments,
    ]
    assert cli.main(["finetune", *map(str, arguments)]) == 0
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.slow
def test_pairs(generator, tmp_path):
    rows = []
    for _ in range(400):
        first, second = (generator.choice(ANIMALS + PLANTS) for _ in range(2))
        alike = (first in ANIMALS) == (second in ANIMALS)
        rows.append((f"the {first}", f"a {second}", "same" if alike else "no"))
    data = table(tmp_path / "pairs.csv", ("text", "other", "label"), rows)
    metrics = finetune(
        data, tmp_path / "run", "--pair-column", "other", "--epochs", 12
    )
    assert metrics["test_accuracy"] > 0.9
    low, high = metrics["test_interval"]
    assert low <= metrics["test_accuracy"] <= high
    assert metrics["saved_model"]["metric"] == metrics["test_accuracy"]


@pytest.mark.slow
def test_several_labels(generator, tmp_path):
    rows = []
    for number in range(400):
        words = generator.choice(ANIMALS + PLANTS, generator.integers(1, 4))
        labels = {"animal" for word in words if word in ANIMALS}
        labels |= {"plant" for word in words if word in PLANTS}
        rows.append((f"{' '.join(words)} {number}", "|".join(sorted(labels))))
    data = table(tmp_path / "labels.csv", ("text", "label"), rows)
    metrics = finetune(data, tmp_path / "run", "--task", "multilabel")
    assert metrics["test_micro_f1"] > 0.9
    assert metrics["saved_model"]["metric"] == pytest.approx(
        metrics["test_micro_f1"]
    )


@pytest.mark.slow
def test_a_regression(generator, tmp_path):
    rows = []
    for number in range(500):
        words = generator.choice(ANIMALS + PLANTS, 5)
        share = sum(word in ANIMALS for word in words) / 5
        rows.append((f"{' '.join(words)} {number}", share))
    data = table(tmp_path / "shares.csv", ("text", "label"), rows)
    metrics = finetune(data, tmp_path / "run", "--task", "regression")
    assert metrics["test_pearson"] > 0.9
    assert metrics["saved_model"]["metric"] == pytest.approx(
        metrics["test_mae"], rel=1e-4
    )


@pytest.mark.slow
def test_tags(generator, tmp_path):
    lines = []
    for _ in range(300):
        for word in generator.choice(("the", "saw", *ANIMALS, *PLANTS), 6):
            kind = "A" if word in ANIMALS else "P" if word in PLANTS else ""
            lines.append(f"{word} {f'B-{kind}' if kind else 'O'}")
        lines.append("")
    data = tmp_path / "ner.conll"
    data.write_text("\n".join(lines), encoding="utf-8")
    metrics = finetune(data, tmp_path / "run", "--patience", 2)
    assert metrics["test_f1"] > 0.95
    assert metrics["baseline_f1"] > 0.95
    names = json.loads((tmp_path / "run/class_names.json").read_text())
    assert names == ["O", "B-A", "B-P"]


@pytest.fixture
def topics(generator, tmp_path):
    rows = []
    for number in range(400):
        topic = number % 2
        words = generator.choice((ANIMALS, PLANTS)[topic], 3)
        label = ("animal", "plant")[topic]
        rows.append((f"{' '.join(words)} {number}", label))
    return table(tmp_path / "topics.csv", ("text", "label"), rows)


@pytest.mark.slow
def test_seeds_a_control_and_a_part(topics, tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    finetune(topics, start, "--class-weights", "balanced")
    metrics = finetune(
        topics,
        run,
        *("--from", start, "--method", "lora", "--rank", 2),
        *("--seeds", 2, "--control"),
    )
    assert {p.name for p in (run / "seeds").iterdir()} == {
        "lora-1",
        "control-0",
        "control-1",
    }
    assert metrics["test_accuracy_mean"] > 0.9
    assert metrics["control_accuracy_mean"] > 0.9
    assert 0 < metrics["trained_parameters"] < 0.1 * metrics["parameters"]
    assert (run / "part.safetensors").stat().st_size < 60_000
    model = keras.models.load_model(run / "model.keras")
    assert not any("lora" in variable.path for variable in model.variables)
    # What stands in the run is what starts another one.
    again = finetune(
        topics, tmp_path / "again", "--from", run, "--method", "frozen"
    )
    assert again["test_accuracy"] > 0.9


@pytest.mark.slow
def test_gradual_unfreezing_and_adapters(topics, tmp_path):
    start = tmp_path / "start"
    finetune(topics, start, "--method", "gradual")
    for method in ("pfeiffer", "bitfit"):
        out = tmp_path / method
        metrics = finetune(topics, out, "--from", start, "--method", method)
        assert metrics["test_accuracy"] > 0.9


@pytest.fixture
def few(tmp_path):
    """A table that is learnt in seconds, if not well."""
    rows = [
        (f"{words[n % 4]} {words[(n + 1) % 4]} {n}", topic, "a second")
        for n in range(60)
        for topic, words in (("animal", ANIMALS), ("plant", PLANTS))
    ]
    return table(tmp_path / "few.csv", ("text", "label", "second"), rows)


def command(data, out, *arguments):
    given = ("--vocabulary-size", 100, "--xla", "off", *arguments)
    given = ("finetune", "--data", data, "--out", out, *given)
    return cli.main(list(map(str, given)))


def test_what_cannot_be_fused_on_request_is_refused(few, tmp_path, capsys):
    out = tmp_path / "run"
    assert command(few, out, "--method", "houlsby", "--fused", "on") == 2
    assert 'Pass fused="auto"' in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.ci
def test_a_small_run_leaves_what_others_start_from(few, tmp_path, capsys):
    out = tmp_path / "run"
    assert command(few, out, "--epochs", 1, "--patience", 1) == 0
    assert {path.name for path in out.iterdir()} == {
        "class_names.json",
        "config.json",
        "history.csv",
        "logs",
        "metrics.json",
        "model.keras",
        "report.html",
        "samples.npz",
        "vocabulary.txt",
    }
    run = Run.open(out)
    assert run.recipe == "finetune"
    # The peak of "full" for a BERT 128 wide.
    assert run.config["learning_rate"] == 1e-3
    assert run.config["task"] == "classification"
    assert run.class_names == ("animal", "plant")
    assert run.config["vocabulary_size"] == len(run.vocabulary) <= 100
    metrics = json.loads((out / "metrics.json").read_text())
    texts, labels = run.load_samples()
    inputs = data.encode(texts, run.tokenizer(), run.config["sequence_length"])
    model = run.load_model()
    predicted = model.predict(inputs, verbose=0).argmax(-1)
    assert metrics["test_accuracy"] == (predicted == labels).mean()
    assert metrics["parameters"] == model.count_params()
    assert metrics["baseline_accuracy"] > 0.9
    assert metrics["fused_encoders"] == 2
    assert len((out / "history.csv").read_text().splitlines()) == 2
    # Its configuration asks for the same again.
    capsys.readouterr()
    again = ["--config", str(out / "config.json"), "--dry-run"]
    assert cli.main(["finetune", *again]) == 0
    printed = capsys.readouterr().out
    config, _ = json.JSONDecoder().raw_decode(printed)
    unlike = {"kbig": run.config["kbig"], "dry_run": False}
    assert config | unlike == run.config


@pytest.mark.ci
def test_the_model_is_saved_before_other_seeds(few, tmp_path, monkeypatch):
    train, out = text_training.train, tmp_path / "run"
    seeds = []

    def until_the_second(material, start, method, directory):
        seeds.append(material.config.seed)
        if len(seeds) > 1:
            assert (out / "model.keras").is_file()
            raise KeyboardInterrupt
        return train(material, start, method, directory)

    monkeypatch.setattr(text_training, "train", until_the_second)
    arguments = ("--epochs", 1, "--no-baseline", "--method", "frozen")
    with pytest.raises(KeyboardInterrupt):
        command(few, out, *arguments, "--seeds", 3)
    assert seeds == [0, 1]
    assert Run.open(out).class_names == ("animal", "plant")
    # And it is not lost by starting again.
    assert command(few, out, *arguments) == 2
    assert (out / "model.keras").is_file()


def test_a_dry_run_shows_what_is_trained(few, tmp_path, capsys):
    arguments = ("--method", "lora", "--rank", 2, "--dry-run")
    assert command(few, tmp_path / "run", *arguments) == 0
    printed = capsys.readouterr().out
    config, _ = json.JSONDecoder().raw_decode(printed)
    assert config["learning_rate"] == 3e-3
    # Of 2 layers query and value, 128 wide; and a head of 2 classes.
    assert f"{2 * 2 * 2 * 128 * 2 + 128 * 2 + 2:,}" in printed
    assert "trainable parameters" in printed
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        (("--method", "gradual", "--epochs", 1), "an epoch for the head"),
        (("--sequence-length", 600), "512 positions"),
        (("--sequence-length", 2), "from 3, the least for texts"),
        (("--pair-column", "second", "--sequence-length", 4), "from 5"),
        (("--from", "nothing"), "no such pretrained"),
        (("--task", "regression"), "finite number"),
        (("--strategy", "multiworker"), "several workers"),
        (("--seed", -1), "seed=-1"),
        (("--dropout", 1), "dropout"),
        (("--method", "lora", "--rank", 999), "rank=999"),
        (("--method", "lora", "--projections", "none"), "projections"),
        (("--method", "layerwise", "--layer-decay", 2), "decay"),
        (("--name", ".hidden"), "--name .hidden"),
    ],
)
def test_a_mistake_leaves_an_old_run_as_it_was(
    arguments, fragment, few, tmp_path, capsys
):
    assert command(few, tmp_path / "new", *arguments) == 2
    assert fragment in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
    old = Run.create(tmp_path / "old", "finetune", {})
    for name in ("metrics.json", "model.keras", "history.csv"):
        (old.directory / name).write_text("kept")
    before = {p.name: p.read_text() for p in old.directory.iterdir()}
    assert command(few, old.directory, "--overwrite", *arguments) == 2
    after = {p.name: p.read_text() for p in old.directory.iterdir()}
    assert after == before


@pytest.mark.parametrize("name", ["ner.txt", "ner.tsv", "ner.csv", "folder"])
def test_tags_of_column_files_by_any_name(name, tmp_path, capsys):
    sentence = "Jane\tB-PER\nwalks\tO\n\nA\tO\nfern\tB-X\n\n"
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
        for split in ("train", "valid", "test"):
            (path / f"{split}.txt").write_text(sentence * 9)
    else:
        many = [sentence.replace("walks", f"walks{n}") for n in range(60)]
        path.write_text("".join(many))
    arguments = ("--task", "tags", "--dry-run")
    assert command(path, tmp_path / "run", *arguments) == 0
    printed = capsys.readouterr().out
    assert "O, B-PER, B-X" in printed
    config, _ = json.JSONDecoder().raw_decode(printed)
    assert config["task"] == "tags"
