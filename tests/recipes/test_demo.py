"""`kbig demo`: what it refuses, and the whole way in small."""

import json

import numpy as np
import pytest

from kbig.runs import Run
from recipes import cli


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--data", "austen"), "kind corpus"),
        (("--data", "missing.csv"), "missing.csv"),
        (("--data", "{values}"), "fine-tunes a classifier"),
        (("--name", ".topics"), "--name .topics"),
        (("--sparsity", "1.5"), "sparsity=1.5"),
        (("--out", "{taken}"), "holds a run, with model.keras"),
    ],
)
def test_the_demo_finds_mistakes_before_it_pretrains(
    arguments, message, tmp_path, capsys, monkeypatch
):
    def run(config):
        raise AssertionError("it pretrains")

    monkeypatch.setattr("recipes.pretrain_mlm.run", run)
    values = tmp_path / "values.conll"
    values.write_text("".join(f"a{n}\tO\nb\tB-X\n\n" for n in range(60)))
    taken = Run.create(tmp_path / "taken", "finetune", {})
    (taken.directory / "model.keras").write_text("kept")
    places = {"values": values, "taken": taken.directory}
    arguments = [x.format(**places) for x in arguments]
    if "--out" not in arguments:
        arguments += ["--out", str(tmp_path / "run")]
    assert cli.main(["demo", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert (taken.directory / "model.keras").read_text() == "kept"


@pytest.mark.slow
def test_the_demo_in_small(tmp_path):
    out = tmp_path / "demo"
    arguments = ("--quick", "--to", tmp_path / "topics", "--out", out)
    assert cli.main(["demo", *map(str, arguments)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert (tmp_path / "topics/1/saved_model.pb").is_file()
    assert (tmp_path / "topics/topics-dynamic.tflite").is_file()
    artefact = metrics["topics-float32.tflite"]
    assert artefact["metric"] == metrics["test_accuracy"]
    page = (tmp_path / "demo/report.html").read_text()
    for part in (
        "Pretraining",
        "Confusion",
        "Before and after",
        "Float and integers",
        "topics-float16.tflite",
    ):
        assert part in page
    file = tmp_path / "demo-int8/artefacts/topics-int8.tflite"
    assert file.stat().st_size < 0.5 * artefact["bytes"]
    assert metrics["quantized_int8_accuracy"] > 0.5 * metrics["test_accuracy"]
    # A fifth of the kernels is left.
    report = json.loads((tmp_path / "demo-pruned/metrics.json").read_text())
    assert report["nonzeros"] == metrics["pruned_nonzeros"]
    assert report["nonzeros"] < report["original_nonzeros"]
    model = Run.open(tmp_path / "demo-pruned").load_model()
    kernel = model.get_layer("logits").get_weights()[0]
    assert np.count_nonzero(kernel) == round(kernel.size / 5)
