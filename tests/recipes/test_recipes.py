"""Whole recipes on files of every kind, as a user would run them."""

import csv
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from recipes import cli

RUN_FILES = {
    "config.json",
    "metrics.json",
    "history.csv",
    "model.keras",
    "report.html",
    "logs",
}
COLUMNS = ("--text-column", "gloss", "--label-column", "topic")
TOPICS = {"animal": "a small furry beast", "plant": "a tall green tree"}


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


def recipe(*arguments, out):
    assert cli.main([*map(str, arguments), "--out", str(out)]) == 0
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "topics.tsv"
    generator = np.random.default_rng(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["gloss", "topic"])
        for number in range(400):
            topic = list(TOPICS)[number % 2]
            words = generator.permutation(TOPICS[topic].split())
            writer.writerow([f"{' '.join(words)} {number}", topic])
    return path


@pytest.fixture
def images(tmp_path):
    """Bright or dark at the left: a folder of class folders."""
    generator = np.random.default_rng(0)
    for name, offset in {"left": 0, "right": 6}.items():
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(60):
            pixels = generator.integers(0, 80, (12, 12, 3), np.uint8)
            pixels[:, offset : offset + 6] += 150
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


@pytest.mark.ci
def test_images_of_a_folder(images, tmp_path):
    out = tmp_path / "run"
    metrics = recipe(
        "train-image",
        *("--data", images, "--filters", "8,8", "--epochs", 4),
        *("--batch-size", 16, "--formats", "litert-float32"),
        out=out,
    )
    assert metrics["test_accuracy"] > 0.9
    assert {path.name for path in out.iterdir()} == RUN_FILES | {
        "artefacts",
        "class_names.json",
        "samples.npz",
    }
    assert [p.name for p in (out / "artefacts").iterdir()] == [
        "images-float32.tflite"
    ]
    artefact = metrics["images-float32.tflite"]
    assert artefact["metric"] == metrics["test_accuracy"]
    model = keras.models.load_model(out / "model.keras")
    assert model.count_params() == metrics["parameters"]
    page = (out / "report.html").read_text()
    assert "images-float32.tflite" in page
    config = json.loads((out / "config.json").read_text())
    assert config["filters"] == [8, 8]
    assert config["name"] == "images"
    # Exporting a run into itself would empty it first.
    itself = ["export-model", "--from", str(out), "--out", str(out)]
    assert cli.main([*itself, "--overwrite"]) == 2
    assert (out / "model.keras").is_file()


@pytest.mark.slow
def test_an_mlp_on_two_mixed_precision_replicas(images, tmp_path):
    metrics = recipe(
        "train-image",
        *("--data", images, "--model", "mlp", "--epochs", 6),
        *("--strategy", "mirrored", "--precision", "mixed_bfloat16"),
        *("--batch-size", 16, "--formats", "savedmodel,litert-float32"),
        out=tmp_path / "run",
    )
    assert metrics["test_accuracy"] > 0.9


@pytest.mark.slow
def test_text_from_pretraining_to_a_phone(texts, tmp_path):
    corpus = tmp_path / "corpus.txt"
    lines = [
        f"{text} number {i}" for i in range(300) for text in TOPICS.values()
    ]
    corpus.write_text("\n\n".join(lines), encoding="utf-8")
    size = ("--vocabulary-size", 200)
    pretrained = recipe(
        "pretrain-mlm",
        *("--corpus", f"{corpus},{texts}", *size, "--text-column", "gloss"),
        *("--epochs", 8, "--sequence-length", 32),
        out=tmp_path / "pretrain",
    )
    assert pretrained["test_loss"] < pretrained["unigram_entropy"]
    tuned = recipe(
        "finetune",
        *("--data", texts, "--text-column", "gloss", "--label-column", "topic"),
        *("--from", tmp_path / "pretrain", "--epochs", 4),
        out=tmp_path / "finetune",
    )
    assert tuned["test_accuracy"] > 0.9
    assert tuned["baseline_accuracy"] > 0.9
    for name in ("vocabulary.txt", "class_names.json"):
        assert (tmp_path / "finetune" / name).is_file()
    pretrain_vocabulary = (tmp_path / "pretrain/vocabulary.txt").read_text()
    vocabulary = (tmp_path / "finetune/vocabulary.txt").read_text()
    assert vocabulary == pretrain_vocabulary
    exported = recipe(
        "export-model",
        *("--from", tmp_path / "finetune", "--name", "topics"),
        *("--formats", "savedmodel,litert-dynamic", "--free", "length"),
        out=tmp_path / "export",
    )
    assert exported["saved_model"]["metric"] == tuned["test_accuracy"]
    assert cli.main(["export-model", "--from", str(tmp_path / "pretrain")]) == 2
    artefacts = tmp_path / "export" / "artefacts"
    assert (artefacts / "1" / "saved_model.pb").is_file()
    assert (artefacts / "topics-dynamic.tflite").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "gru", "simple"])
def test_a_series_of_a_table(cell, tmp_path):
    path = tmp_path / "waves.csv"
    steps = np.arange(1200)
    waves = 10 + np.sin(steps / 4) + 0.3 * np.sin(steps / 1.7)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["hour", "height", "twice"])
        writer.writerows(zip(steps, waves, 2 * waves))
    metrics = recipe(
        "train-sequence",
        *("--data", path, "--value-column", "height,twice"),
        *("--time-column", "hour", "--past", 24, "--every", 1),
        *("--horizon", 4, "--period", 60, "--cell", cell, "--epochs", 12),
        *("--formats", "savedmodel,litert-float32,litert-dynamic"),
        out=tmp_path / "run",
    )
    error = metrics["test_mean_absolute_error"]
    assert error < 0.5 * metrics["persistence_mean_absolute_error"]
    assert metrics["waves-float32.tflite"]["metric"] == pytest.approx(
        error, rel=1e-3
    )


@pytest.mark.slow
def test_sequences_of_an_archive(tmp_path):
    generator = np.random.default_rng(0)
    path = tmp_path / "moves.npz"
    labels = np.arange(240) % 2
    rising = np.linspace(-1, 1, 10) * np.where(labels, 1, -1)[:, None]
    x = generator.normal(0, 0.3, (240, 10, 2))
    x[..., 0] += rising
    x = x.astype("float32")
    np.savez(
        path, x_train=x[:200], y_train=labels[:200], x_test=x[200:],
        y_test=labels[200:],
    )  # fmt: skip
    metrics = recipe(
        "train-sequence",
        *("--data", path, "--bidirectional", "--epochs", 8),
        *("--learning-rate", 0.01, "--batch-size", 16),
        *("--formats", "savedmodel,litert-float16"),
        out=tmp_path / "run",
    )
    assert metrics["test_accuracy"] > 0.9


@pytest.mark.slow
def test_texts_through_an_rnn(texts, tmp_path):
    metrics = recipe(
        "train-sequence",
        *("--data", texts, "--text-column", "gloss", "--label-column", "topic"),
        *("--cell", "gru", "--epochs", 6, "--learning-rate", 0.01),
        *("--formats", "savedmodel,litert-dynamic"),
        out=tmp_path / "run",
    )
    assert metrics["test_accuracy"] > 0.9
    assert "serving_default" in metrics["saved_model"]["signatures"]


@pytest.mark.parametrize("recipe_name", ["train-image", "train-sequence"])
def test_fit_runs_where_the_precision_is_in_force(
    recipe_name, images, texts, tmp_path, monkeypatch
):
    seen = []

    def fit(self, *args, **options):
        rewrites = tf.config.optimizer.get_experimental_options()
        seen.append(rewrites.get("auto_mixed_precision_onednn_bfloat16"))
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", fit)
    arguments = {
        "train-image": ("--data", images),
        "train-sequence": ("--data", texts, *COLUMNS),
    }[recipe_name]
    with pytest.raises(KeyboardInterrupt):
        recipe(
            *(recipe_name, "--precision", "onednn_bfloat16", *arguments),
            out=tmp_path / "run",
        )
    assert seen == [True]
    left = tf.config.optimizer.get_experimental_options()
    assert not left.get("auto_mixed_precision_onednn_bfloat16")


def test_texts_that_the_baseline_refuses_are_not_trained_on(
    texts, tmp_path, capsys
):
    lines = texts.read_text().splitlines()
    # Words of one letter.
    rows = [f"{chr(97 + n % 26)} {n % 10}\t{n % 2}" for n in range(300)]
    texts.write_text("\n".join([lines[0], *rows]))
    arguments = ["train-sequence", "--data", str(texts), *COLUMNS]
    assert cli.main([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert "words of two letters" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    short = [*arguments, "--sequence-length", "2"]
    assert cli.main([*short, "--out", str(tmp_path / "run")]) == 2
    assert "`sequence_length` must be 3" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_second_run_does_not_replace_the_first(tmp_path, capsys):
    out = tmp_path / "run"
    out.mkdir()
    for name in ("config.json", "metrics.json"):
        pathlib.Path(out / name).write_text('{"recipe": "r", "kbig": "0"}')
    arguments = ["train-image", "--quick", "--out", str(out)]
    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
