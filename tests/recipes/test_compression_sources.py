"""Prune, shrink and factorize on the runs of every recipe, end to end."""

import csv
import json

import keras
import numpy as np
import pytest

from kbig.runs import Run
from recipes import cli

pytestmark = pytest.mark.slow

ANIMALS = ("cat", "dog", "cow", "hen")
PLANTS = ("oak", "elm", "ivy", "fern")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Trains a run of a kind, or finds it trained: folder and numbers."""
    made = {}

    def trained(source, *options):
        if (source, options) not in made:
            folder = tmp_path_factory.mktemp(source.__name__)
            arguments = source(np.random.default_rng(0), folder, *options)
            out = folder / "run"
            made[source, options] = out, recipe(*arguments, out=out)
        return made[source, options]

    return trained


def recipe(*arguments, out):
    assert cli.main([*map(str, arguments), "--out", str(out)]) == 0
    return json.loads((out / "metrics.json").read_text())


def images(generator, folder, *arguments):
    labels = np.arange(300) % 2
    x = generator.integers(0, 80, (300, 12, 12, 1), np.uint8)
    x[labels == 0, :, :6] += 150
    x[labels == 1, :, 6:] += 150
    return [
        *("train-image", "--data", _archive(folder, x, labels)),
        *("--epochs", 8, "--batch-size", 16, *arguments),
    ]


def sequences(generator, folder, *arguments):
    labels = np.arange(300) % 2
    rising = np.linspace(-1, 1, 10) * np.where(labels, 1, -1)[:, None]
    x = generator.normal(0, 0.3, (300, 10, 2)).astype("float32")
    x[..., 0] += rising
    return [
        *("train-sequence", "--data", _archive(folder, x, labels)),
        *("--epochs", 8, "--batch-size", 16, "--learning-rate", 0.01),
        *arguments,
    ]


def _archive(folder, x, labels):
    path = folder / "data.npz"
    np.savez(
        path, x_train=x[:220], y_train=labels[:220], x_test=x[220:],
        y_test=labels[220:],
    )  # fmt: skip
    return path


def series(generator, folder, *arguments):
    steps = np.arange(1000)
    waves = 10 + np.sin(steps / 4) + 0.3 * np.sin(steps / 1.7)
    path = _table(folder, ("height",), waves[:, None])
    return [
        *("train-sequence", "--data", path, "--value-column", "height"),
        *("--past", 24, "--every", 1, "--horizon", 4, "--period", 60),
        *("--epochs", 8, "--learning-rate", 0.01, *arguments),
    ]


def _topics(generator, folder):
    rows = []
    for number in range(300):
        words = generator.choice((ANIMALS, PLANTS)[number % 2], 3)
        label = ("animal", "plant")[number % 2]
        rows.append((f"{' '.join(words)} {number}", label))
    return _table(folder, ("text", "label"), rows)


def texts(generator, folder, *arguments):
    return [
        *("train-sequence", "--data", _topics(generator, folder)),
        *("--epochs", 6, "--learning-rate", 0.01, *arguments),
    ]


def classes(generator, folder, *arguments):
    return _finetune(_topics(generator, folder), *arguments)


def values(generator, folder, *arguments):
    rows = []
    for number in range(300):
        words = generator.choice(ANIMALS + PLANTS, 5)
        share = sum(word in ANIMALS for word in words) / 5
        rows.append((f"{' '.join(words)} {number}", 100 * share))
    path = _table(folder, ("text", "label"), rows)
    return _finetune(path, "--task", "regression", *arguments)


def tags(generator, folder, *arguments):
    lines = []
    for _ in range(300):
        for word in generator.choice(("the", "saw", *ANIMALS, *PLANTS), 6):
            kind = "A" if word in ANIMALS else "P" if word in PLANTS else ""
            lines.append(f"{word} {f'B-{kind}' if kind else 'O'}")
        lines.append("")
    path = folder / "ner.conll"
    path.write_text("\n".join(lines), encoding="utf-8")
    return _finetune(path, *arguments)


def _table(folder, header, rows):
    path = folder / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def _finetune(path, *arguments):
    return [
        *("finetune", "--data", path, "--epochs", 6, "--batch-size", 16),
        *("--learning-rate", 3e-3, "--vocabulary-size", 120, "--xla", "off"),
        *arguments,
    ]


PRUNE = ("prune", "--sparsity", 0.5)
SHRINK = ("shrink", "--keep", 0.5)
THIN = ("factorize", "--parameters", 0.6)
CASES = {
    "residual-prune": (images, ("--filters", "8,8"), PRUNE),
    "residual-shrink": (
        images,
        ("--filters", "8,8"),
        ("shrink", "--flops", 0.5, "--importance", "taylor"),
    ),
    "plain-shrink": (images, ("--block", "plain", "--filters", "8,8"), SHRINK),
    "depthwise-prune": (
        images,
        ("--block", "depthwise", "--filters", "8,8"),
        ("prune", "--pattern", "2:4"),
    ),
    "mlp-factorize": (images, ("--model", "mlp"), THIN),
    "lstm-shrink": (sequences, ("--cell", "lstm"), SHRINK),
    "simple-prune": (sequences, ("--cell", "simple"), PRUNE),
    "gru-prune": (
        texts,
        ("--cell", "gru"),
        ("prune", "--pattern", "4x4", "--sparsity", 0.5),
    ),
    "gru-factorize": (texts, ("--cell", "gru", "--bidirectional"), THIN),
    "forecast-shrink": (series, (), SHRINK),
    "forecast-prune": (series, (), PRUNE),
    "classes-prune": (
        classes,
        (),
        ("prune", "--sparsity", 0.7, "--method", "movement"),
    ),
    "classes-shrink": (
        classes,
        ("--method", "lora"),
        ("shrink", "--encoder-layers", 1, "--keep", 0.5),
    ),
    "classes-factorize": (classes, (), THIN),
    "values-factorize": (values, (), THIN),
    "tags-shrink": (
        tags,
        (),
        ("shrink", "--parameters", 0.8, "--importance", "taylor"),
    ),
    "tags-prune": (tags, (), ("prune", "--scope", "global", "--embeddings")),
}
METRICS = {series: "mean_absolute_error", values: "pearson", tags: "f1"}


@pytest.mark.parametrize("case", CASES)
def test_a_run_of_every_kind(case, start, tmp_path, capsys):
    source, options, command = CASES[case]
    origin, trained = start(source, *options)
    out = tmp_path / "run"
    # Compiling takes longer than training here.
    metrics = recipe(*command, "--from", origin, "--xla", "off", out=out)
    metric = f"test_{METRICS.get(source, 'accuracy')}"
    assert metrics[f"original_{metric}"] == pytest.approx(
        trained[metric], rel=1e-5
    )
    _check_quality(metrics, metric)
    model = Run.open(out).load_model()
    weights = model.get_weights()
    assert metrics["nonzeros"] == sum(map(np.count_nonzero, weights))
    assert metrics["parameters"] == model.count_params()
    # Of a run with LoRA `parameters` has its updates, too.
    original = Run.open(origin).load_model()
    assert metrics["original_parameters"] == original.count_params()
    _check_smaller(metrics, command[0])
    table = capsys.readouterr().out.rpartition("Before and after\n")[2]
    assert [line.split()[0] for line in table.splitlines()[2:4]] == [
        "original",
        "control",
    ]
    assert f"{metrics['parameters']:,}" in table.splitlines()[4]


def _check_quality(metrics, metric):
    """Little is lost on what is easily learnt."""
    found, control = metrics[metric], metrics[f"control_{metric}"]
    if metric == "test_mean_absolute_error":
        assert found < 0.7 * metrics["persistence_mean_absolute_error"]
        assert control < 0.7 * metrics["persistence_mean_absolute_error"]
    else:
        assert found > 0.8 and control > 0.8


def _check_smaller(metrics, technique):
    before, after = (
        {
            key: metrics[f"{start}{key}"]
            for key in (
                "nonzeros",
                "parameters",
                "litert_bytes",
                "litert_gzip_bytes",
                "flops",
            )
        }
        for start in ("original_", "")
    )
    assert after["nonzeros"] < before["nonzeros"]
    assert after["litert_gzip_bytes"] < before["litert_gzip_bytes"]
    if technique == "prune":
        for key in ("parameters", "flops"):
            assert after[key] == before[key]
    else:
        assert after["parameters"] < before["parameters"]
        assert after["litert_bytes"] < before["litert_bytes"]
    if technique == "shrink":
        assert after["flops"] < before["flops"]
    assert 0 < metrics["latency_ratio"] < 3


def test_what_follows_a_compression(start, tmp_path):
    origin, _ = start(classes)
    pruned, both = tmp_path / "pruned", tmp_path / "both"
    fast = ("--xla", "off", "--no-control")
    formats = ("--formats", "litert-float32")
    first = recipe(*PRUNE, "--from", origin, *fast, *formats, out=pruned)
    # But for the names, classes and vocabulary in it.
    whole = first["table-float32.tflite"]["bytes"]
    assert 0 < whole - first["litert_bytes"] < 1200
    exported = recipe(
        *("export-model", "--from", pruned, "--formats", "savedmodel"),
        out=tmp_path / "export",
    )
    assert exported["saved_model"]["metric"] == first["test_accuracy"]
    again = recipe(*THIN, "--from", pruned, *fast, out=both)
    assert again["original_nonzeros"] == first["nonzeros"]
    assert again["test_accuracy"] > 0.8
    data = ("--data", origin.parent / "table.csv", "--xla", "off")
    student = tmp_path / "student"
    distilled = recipe(
        *("distill", "--from", both, *data, "--augment", 0, "--epochs", 4),
        *("--embeddings", "random"),
        out=student,
    )
    assert distilled["teacher_accuracy"] == again["test_accuracy"]
    tuned = recipe(
        *("finetune", "--from", pruned, *data, "--epochs", 2),
        out=tmp_path / "tuned",
    )
    assert tuned["test_accuracy"] > 0.8
    small = recipe(*PRUNE, "--from", student, *fast, out=tmp_path / "small")
    assert small["original_test_accuracy"] == distilled["test_accuracy"]


def test_two_replicas_in_mixed_precision(start, tmp_path):
    policy = ("--strategy", "mirrored", "--precision", "mixed_bfloat16")
    origin, _ = start(images, "--model", "mlp", *policy)
    out = tmp_path / "run"
    metrics = recipe(
        *(*PRUNE, "--from", origin, "--strategy", "mirrored"), out=out
    )
    assert metrics["test_accuracy"] > 0.8
    kernels = [
        layer.get_weights()[0]
        for layer in Run.open(out).load_model().layers
        if isinstance(layer, keras.layers.Dense)
    ]
    for kernel in kernels:
        assert np.count_nonzero(kernel) == kernel.size // 2
    assert len(kernels) == 2
