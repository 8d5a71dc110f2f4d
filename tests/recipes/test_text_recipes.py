"""`kbig finetune` on each task, and by each kind of method, end to end."""

import csv
import json

import keras
import numpy as np
import pytest

from recipes import cli

pytestmark = pytest.mark.slow

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


def test_seeds_a_control_and_a_part(topics, tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    finetune(topics, start, "--class-weights", "balanced")
    metrics = finetune(
        topics,
        run,
        *("--from", start, "--method", "lora", "--rank", 2),
        *("--seeds", 2, "--control"),
    )
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


def test_gradual_unfreezing_and_adapters(topics, tmp_path):
    start = tmp_path / "start"
    finetune(topics, start, "--method", "gradual")
    for method in ("pfeiffer", "bitfit"):
        out = tmp_path / method
        metrics = finetune(topics, out, "--from", start, "--method", method)
        assert metrics["test_accuracy"] > 0.9


def test_mistakes_are_found_before_anything_is_written(topics, tmp_path):
    for arguments, fragment in (
        (("--method", "gradual", "--epochs", 1), "an epoch for the head"),
        (("--sequence-length", 600), "positions"),
        (("--from", tmp_path / "none"), "no such pretrained"),
        (("--task", "regression"), "finite number"),
    ):
        out = tmp_path / "run"
        command = ["finetune", "--data", topics, "--out", out, *arguments]
        assert cli.main(list(map(str, command))) == 2, fragment
        assert not out.exists()
