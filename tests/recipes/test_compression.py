"""Prune, shrink and factorize: what they leave, and what they refuse.

LiteRT is played by a few lines here: conversions take seconds. The other
module has real ones.
"""

import json
import types

import keras
import numpy as np
import pytest

from kbig import data
from kbig import export
from kbig import models
from kbig import tuning
from kbig.errors import GateError
from kbig.runs import Run
from recipes import cli
from recipes import compression
from recipes import prune
from recipes import train_image
from recipes.config import to_dict

SHAPE = (4, 4, 1)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.fixture(autouse=True)
def lite_rt(monkeypatch):
    """Files of as many bytes as parameters, twice as fast as the original."""

    def litert(model, path, samples):
        path.write_bytes(bytes(model.count_params()))
        size = path.stat().st_size
        return types.SimpleNamespace(bytes=size, gzip_bytes=size // 2)

    def latency_ratio(path, reference):
        assert (path.stem, reference.stem) == ("compressed", "original")
        return types.SimpleNamespace(
            ratio=0.5, seconds=1.0, reference_seconds=2.0, threads=1
        )

    monkeypatch.setattr(export, "litert", litert)
    monkeypatch.setattr(export, "litert_flops", lambda path: 1000)
    monkeypatch.setattr(export, "latency_ratio", latency_ratio)


def images(path, classes=2, shape=SHAPE):
    """Noise, brighter in the rows of its class."""
    generator = np.random.default_rng(0)
    labels = np.arange(240) % classes
    x = generator.integers(0, 150, (240, *shape), np.uint8)
    for label in range(classes):
        x[labels == label, label] += 100
    np.savez(
        path, x_train=x[:160], y_train=labels[:160], x_test=x[160:],
        y_test=labels[160:],
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`images.npz`, and the run of an MLP that has seen a little of it."""
    folder = tmp_path_factory.mktemp("compression")
    path = images(folder / "images.npz")
    config = train_image.Config(
        data=str(path),
        model="mlp",
        hidden_dims=(12,),
        name="bright",
        epochs=3,
        batch_size=16,
        augment=(),
        learning_rate=0.03,
    )
    dataset = train_image.load(config)
    keras.utils.set_random_seed(0)
    model = train_image.build_model(config, dataset.info)
    run = Run.create(folder / "run", "train-image", to_dict(config))
    run.save_model(model, class_names=dataset.info.class_names)
    return folder


def recipe(name, folder, out, *arguments):
    given = [name, "--from", folder / "run", "--xla", "off", "--out", out]
    return cli.main([*map(str, given), *map(str, arguments)])


def numbers(out):
    return json.loads((out / "metrics.json").read_text())


def accuracy(model, folder):
    with np.load(folder / "images.npz") as arrays:
        predicted = model.predict(arrays["x_test"], verbose=0).argmax(-1)
        return (predicted == arrays["y_test"]).mean()


def kernels(model):
    return [layer.get_weights()[0] for layer in model.layers if layer.weights]


@pytest.mark.ci
def test_a_pruned_run(folder, tmp_path, capsys):
    out = tmp_path / "pruned"
    assert recipe("prune", folder, out, "--sparsity", 0.75) == 0
    run, metrics = Run.open(out), numbers(out)
    model, original = run.load_model(), Run.open(folder / "run").load_model()
    # 16 x 12 and 12 x 2 weights, and 14 biases.
    assert [np.count_nonzero(x) for x in kernels(model)] == [48, 6]
    assert metrics["nonzeros"] == sum(
        np.count_nonzero(x) for x in model.get_weights()
    )
    assert metrics["parameters"] == metrics["original_parameters"] == 230
    assert metrics["test_accuracy"] == accuracy(model, folder)
    assert metrics["original_test_accuracy"] == accuracy(original, folder)
    assert metrics["control_test_accuracy"] > 0.9
    assert metrics["test_accuracy"] > metrics["original_test_accuracy"]
    assert metrics["litert_gzip_bytes"] == 115
    assert metrics["latency_ratio"] == 0.5
    # Half of three epochs, at the learning rate of the run.
    assert run.config["epochs"] == 2
    assert run.config["learning_rate"] == 0.03
    assert len((out / "history.csv").read_text().splitlines()) == 3
    assert len((out / "control/history.csv").read_text().splitlines()) == 3
    assert run.training["recipe"] == "train-image"
    assert run.training["learning_rate"] == 0.03
    samples, labels = run.load_samples()
    assert samples.shape == (80, *SHAPE) and labels.shape == (80,)
    printed = capsys.readouterr().out
    page = (out / "report.html").read_text()
    for part in ("Before and after", "control", "pruned", "hidden_0/kernel"):
        assert part in printed and part in page


@pytest.mark.ci
def test_one_recipe_after_the_other(folder, tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    fast = ("--epochs", 1, "--no-control", "--learning-rate", 0.02)
    assert recipe("prune", folder, first, "--sparsity", 0.5, *fast) == 0
    assert not (first / "control").exists()
    assert "control_test_accuracy" not in numbers(first)
    again = ("--from", first, "--sparsity", 0.75, *fast[:3])
    assert recipe("prune", folder, second, *again) == 0
    once, twice = (kernels(Run.open(x).load_model()) for x in (first, second))
    for before, after in zip(once, twice):
        assert np.count_nonzero(after) * 2 == np.count_nonzero(before)
        assert not after[before == 0].any()
    # The rate is that of the first training, not of the last one.
    assert Run.open(first).config["learning_rate"] == 0.02
    assert Run.open(second).config["learning_rate"] == 0.03
    assert numbers(second)["original_nonzeros"] == numbers(first)["nonzeros"]
    # Its configuration asks for the same again.
    capsys.readouterr()
    again = ["--config", str(second / "config.json"), "--dry-run"]
    assert cli.main(["prune", *again]) == 0
    config, _ = json.JSONDecoder().raw_decode(capsys.readouterr().out)
    recorded = json.loads((second / "config.json").read_text())
    del recorded["training"], recorded["recipe"], recorded["kbig"]
    assert config | {"dry_run": False} == recorded


@pytest.mark.ci
def test_zeros_of_a_pruned_run(folder, tmp_path, capsys):
    """Shrinking keeps what is left of them; a product of two has none."""
    pruned, small = tmp_path / "pruned", tmp_path / "small"
    fast = ("--epochs", 1, "--no-control")
    assert recipe("prune", folder, pruned, "--sparsity", 0.75, *fast) == 0
    again = ("--from", pruned, *fast)
    half = ("--keep", 0.5, "--multiple", 1)
    assert recipe("shrink", folder, small, *again, *half) == 0
    first, _ = kernels(Run.open(small).load_model())
    assert first.shape[1] == 6
    assert 0.4 < np.mean(first == 0) < 1
    capsys.readouterr()
    arguments = ("--rank", 1, "--dry-run", *again)
    assert recipe("factorize", folder, tmp_path / "thin", *arguments) == 0
    assert "those of hidden_0, logits are lost" in capsys.readouterr().out


@pytest.mark.ci
def test_the_control_is_trained_as_what_is_compressed(folder, tmp_path):
    def untouched(material):
        nothing = types.SimpleNamespace(tables=list)
        return compression.Compression(material.copy(), plan=nothing)

    config = prune.Config(
        from_=str(folder / "run"), out=str(tmp_path / "run"), xla="off", seed=3
    )
    outcome = compression.run(config, "prune", "pruned", untouched)
    metrics = outcome.metrics
    assert metrics["test_loss"] == metrics["control_test_loss"]
    assert metrics["test_loss"] != metrics["original_test_loss"]


def test_what_does_not_convert_is_still_reported(folder, tmp_path, monkeypatch):
    def litert(model, path, samples):
        raise GateError("it does not convert")

    monkeypatch.setattr(export, "litert", litert)
    arguments = ("--epochs", 1, "--no-control")
    assert recipe("prune", folder, tmp_path / "run", *arguments) == 0
    assert "latency_ratio" not in numbers(tmp_path / "run")
    page = (tmp_path / "run/report.html").read_text()
    assert "it does not convert" in page and "Before and after" in page


PRUNE = [
    (("--from", "nowhere"), "No run directory: nowhere"),
    (("--sparsity", 1), "below 1. Received: sparsity=1.0"),
    (("--sparsity", -0.1), "Received: sparsity=-0.1"),
    (("--sparsity", 0), "nothing to do. Received: --sparsity 0"),
    (("--pattern", "4"), "Received: pattern='4'"),
    (("--pattern", "16x16", "--layers", "logits"), "smaller than a block"),
    (("--layers", "conv_*"), "matches no layer"),
    (("--data", "{three}"), "Received: 0, 1, 2 of"),
    (("--data", "{large}"), "rows of the shape (4, 4, 1)"),
    (("--data", "wordnet-topics"), "kind text"),
    (("--from", "{pretrained}"), "a run of pretrain-mlm"),
    (("--from", "{adapted}"), "A model with adapters"),
    (("--out", "{run}", "--overwrite"), "is also --from"),
]
SHRINK = [
    ((), "Received: none of them"),
    (("--keep", 0.5, "--flops", 0.5), "Received: --keep, --flops"),
    (("--keep", 1), "nothing to do"),
    (("--keep", 0), "keep"),
    (("--parameters", 1.5), "parameters"),
    (("--keep", 0.5, "--layers", "conv_*"), "conv_*"),
    (("--encoder-layers", 1), "encoder"),
]
FACTORIZE = [
    ((), "Received: none of them"),
    (("--energy", 0.5, "--rank", 3), "Received: --energy, --rank"),
    (("--energy", 2), "energy=2"),
    (("--rank", 999), "nothing to do"),
    (("--rank", 1, "--layers", "conv"), "'conv'"),
]


@pytest.mark.parametrize(
    "command, arguments, message",
    [
        (command, *case)
        for command, cases in (
            ("prune", PRUNE),
            ("shrink", SHRINK),
            ("factorize", FACTORIZE),
        )
        for case in cases
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    command, arguments, message, folder, others, tmp_path, capsys
):
    kept = (folder / "run/model.keras").read_bytes()
    arguments = [str(x).format(**others) for x in arguments]
    assert recipe(command, folder, tmp_path / "new", *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "new").exists()
    assert (folder / "run/model.keras").read_bytes() == kept


@pytest.fixture(scope="module")
def others(folder):
    """Data and runs that do not fit."""
    three = images(folder / "three.npz", classes=3)
    large = images(folder / "large.npz", shape=(5, 5, 1))
    pretrained = Run.create(folder / "pretrained", "pretrain-mlm", {})
    pretrained.save_model(models.mlp((2,), 2))
    sizes = {"num_layers": 1, "hidden_dim": 8, "num_heads": 2}
    classifier = models.bert_classifier(models.bert(sizes, 30), 2)
    model = tuning.prepare(classifier, "houlsby", adapter_dim=2).model
    config = {"method": "houlsby", "precision": "auto", "lowercase": True}
    adapted = Run.create(folder / "adapted", "finetune", config)
    adapted.save_model(model, vocabulary=data.train_vocabulary(["a b"], 30))
    return {
        "three": three,
        "large": large,
        "run": folder / "run",
        "pretrained": pretrained.directory,
        "adapted": adapted.directory,
    }


@pytest.mark.parametrize("command", ["prune", "shrink", "factorize"])
def test_there_must_be_a_run(command, capsys):
    amount = {"shrink": ["--keep", "0.5"], "factorize": ["--rank", "2"]}
    assert cli.main([command, *amount.get(command, [])]) == 2
    assert "no --from. Pass the --out of train-image" in capsys.readouterr().err
