"""`kbig quantize`: what it leaves, prints and refuses."""

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import kbig
from kbig.runs import Run
from recipes import cli


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


def command(*arguments) -> int:
    return cli.main([*map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The run of a small CNN on noise, brighter in the rows of its class."""
    folder = tmp_path_factory.mktemp("quantize")
    generator = np.random.default_rng(0)
    labels = np.arange(480) % 3
    x = generator.integers(0, 150, (480, 6, 6, 1), np.uint8)
    for label in range(3):
        x[labels == label, 2 * label] += 80
    np.savez(
        folder / "images.npz", x_train=x[:320], y_train=labels[:320],
        x_test=x[320:], y_test=labels[320:],
    )  # fmt: skip
    arguments = (
        "train-image", "--data", folder / "images.npz", "--model", "cnn",
        "--filters", "8", "--epochs", 4, "--batch-size", 16, "--xla", "off",
        "--augment", "", "--out", folder / "run", "--name", "bright",
    )  # fmt: skip
    assert cli.main([*map(str, arguments)]) == 0
    return folder


def numbers(out):
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.ci
def test_the_file_is_as_good_as_the_table_says(folder, tmp_path, capsys):
    out = tmp_path / "int8"
    made = command(
        "quantize", "--from", folder / "run", "--xla", "off", "--out", out
    )
    assert made == 0
    metrics = numbers(out)
    with np.load(folder / "images.npz") as arrays:
        x, y = arrays["x_test"].astype("float32"), arrays["y_test"]
    file = out / "artefacts/bright-int8.tflite"
    runner = Interpreter(str(file)).get_signature_runner()
    (name,) = runner.get_input_details()
    logits = [next(iter(runner(**{name: r[None]}).values()))[0] for r in x]
    accuracy = float((np.argmax(logits, 1) == y).mean())
    assert accuracy == pytest.approx(metrics["quantized_int8_accuracy"])
    assert accuracy > 0.6
    model = Run.open(out).load_model()
    assert kbig.compression.is_quantized(model)
    own = (model.predict(x, verbose=0).argmax(1) == y).mean()
    assert own == pytest.approx(metrics["test_accuracy"])
    printed = capsys.readouterr().out
    for row in (
        "original, float32",
        "control, float32",
        "original, post-training int8",
        "control, post-training int8",
        "original, dynamic int8",
        "quantized, Keras",
        "quantized, int8",
    ):
        assert row in printed
        key = row.replace(", ", "_").replace(" ", "_")
        assert 0 <= metrics[f"{key}_accuracy"] <= 1
    assert metrics["quantized_int8_bytes"] == file.stat().st_size
    found = metrics["quantized_int8_report"]
    assert found["compared"] > 0 and len(found["latencies"]) == 2
    page = (out / "report.html").read_text()
    for title in ("Largest errors by layer", "Outputs in steps"):
        assert title in printed and title in page


@pytest.mark.slow
def test_zeros_of_a_pruned_run_are_in_the_file(folder, tmp_path):
    pruned, out = tmp_path / "pruned", tmp_path / "int8"
    shared = ("--xla", "off", "--no-control")
    assert command(
        "prune", "--from", folder / "run", "--sparsity", 0.7, "--out", pruned,
        *shared,
    ) == 0  # fmt: skip
    assert command("quantize", "--from", pruned, "--out", out, *shared) == 0
    model = Run.open(out).load_model()
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    shares = [float((w.numpy() == 0).mean()) for w in kernels]
    assert np.mean(shares) > 0.6


@pytest.mark.slow
def test_two_seeds_have_a_spread(folder, tmp_path):
    out = tmp_path / "int8"
    assert command(
        "quantize", "--from", folder / "run", "--xla", "off", "--out", out,
        "--seeds", 2, "--no-control", "--formats", "",
    ) == 0  # fmt: skip
    assert "control_float32_accuracy" not in numbers(out)
    assert "quantized_int8_accuracy" in numbers(out)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (("--bits", "3"), "bits=3"),
        (("--skip", "nothing_*"), "'nothing_*'"),
        (("--formats", "litert-dynamic"), "litert-dynamic"),
    ],
)
def test_refused_before_anything_is_written(
    folder, tmp_path, capsys, arguments, fragment
):
    out = tmp_path / "int8"
    given = ("quantize", "--from", folder / "run", "--out", out)
    assert command(*given, *arguments) == 2
    assert fragment in capsys.readouterr().err
    assert not out.exists()


def test_a_quantized_run_is_no_start_for_other_techniques(
    folder, tmp_path, capsys
):
    model = Run.open(folder / "run").load_model()
    x = np.random.default_rng(0).normal(size=(32, 6, 6, 1)).astype("float32")
    run = Run.create(
        tmp_path / "run", "train-image", Run.open(folder / "run").config
    )
    run.save_model(
        kbig.compression.quantize_aware(model, 50 * x),
        class_names=Run.open(folder / "run").class_names,
    )
    out = tmp_path / "again"
    assert command("quantize", "--from", tmp_path / "run", "--out", out) == 2
    assert "quantized already" in capsys.readouterr().err
