"""The command line, without training: parsing, statuses, messages."""

import dataclasses
import errno
import importlib
import json
import pathlib
import re

import numpy as np
import pytest

from kbig import models
from kbig.errors import GateError
from kbig.errors import ServingError
from recipes import cli
from recipes import predict
from recipes.config import field_key
from tests.contracts import check_printed


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    # Tests capture stderr themselves, and TensorFlow is loaded already.
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


def test_list_names_every_recipe_and_every_recipe_exists(capsys):
    assert cli.main(["list"]) == 0
    printed = capsys.readouterr().out
    for command, (module, _) in cli.RECIPES.items():
        assert command in printed
        recipe = importlib.import_module(module)
        assert f"kbig {command}" in recipe.__doc__
        recipe.Config()  # Defaults run.
        recipe.Config(**recipe.Config.quick_values)


def test_the_readme_has_every_recipe_and_who_lacks_common_options():
    readme = pathlib.Path(__file__).parents[2] / "README.md"
    text = " ".join(readme.read_text("utf-8").split())
    for command in cli.RECIPES:
        assert f"| `{command}` | " in text
    (others,) = re.findall("all but ([^.]*?) take `--dry-run` ", text)
    for option in ("dry_run", "quick"):
        lack = {
            command
            for command, (module, _) in cli.RECIPES.items()
            if not hasattr(importlib.import_module(module).Config, option)
        }
        assert lack == {*re.findall("`(.*?)`", others)}


@pytest.mark.parametrize("command", cli.RECIPES)
def test_help_has_every_option(command, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    printed = capsys.readouterr().out
    module = importlib.import_module(cli.RECIPES[command][0])
    fields = dataclasses.fields(module.Config)
    assert fields
    flags = {f"--{field_key(f).replace('_', '-')}" for f in fields}
    described = {
        line.split()[0].rstrip(",")
        for line in printed.splitlines()
        if line.startswith("  --")
    }
    assert flags | {"--config"} == described


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["finetun"], "Did you mean finetune"),
        (["finetune", "--epoch", "3"], "Did you mean epochs"),
        (["finetune", "--epochs", "x"], "takes an integer"),
        (["finetune", "--epochs"], "expected one argument"),
        (["finetune", "--size", "huge"], "one of tiny"),
        (["finetune", "--config", "missing.yaml"], "missing.yaml"),
        (["finetune", "--data", "nowhere.csv"], "nowhere.csv"),
        (["finetune", "--data", "fashion-mnist-small"], "kind image"),
        (["finetune", "--from", "nowhere"], "Received: 'nowhere'"),
        (["export-model"], "--from DIR"),
        (["finetune", "--from", "d", "--out", "d"], "Received: 'd'"),
        (["finetune", "--epochs", "0"], "at least 1. Received: 0"),
        (["finetune", "--control"], "--control without --from"),
        (["finetune", "--formats", "savedmodel,savedmodel"], "twice"),
        (["finetune", "--limit", "3"], "classes. Received: --limit 3"),
        (["finetune", "--task", "tags"], "those of the task classification"),
        (["demo", "--pretrain-epochs", "0"], "at least 1. Received: 0"),
        (["demo", "--finetune-epochs", "0"], "at least 1. Received: 0"),
        (["pretrain-mlm", "--rate", "2"], "--rate must be above 0"),
        (["pretrain-mlm", "--sequence-length", "1024"], "from 5 to 512"),
        (["train-image", "--augment", "spin"], "spin"),
        (["inspect"], "kbig inspect FILE_OR_DIR"),
        (["inspect", "nowhere.tflite"], "Received: 'nowhere.tflite'"),
        (["inspect", "m.tflite", "--quick"], "Unknown option 'quick'"),
        (["inspect", "m.tflite", "n.tflite"], "Unknown option 'n.tflite'"),
        (["prune", "runs/a"], "Unknown option 'runs/a'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, message, capsys):
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_a_failed_gate_is_status_1(monkeypatch, capsys):
    def run(config):
        raise GateError("accuracy 0.1 is below 0.9")

    monkeypatch.setattr("recipes.export_model.run", run)
    assert cli.main(["export-model", "--from", "x"]) == 1
    assert capsys.readouterr().err == "kbig: accuracy 0.1 is below 0.9\n"


@pytest.mark.parametrize(
    "name, said",
    [
        (None, "a file that the system does not name: No space left"),
        ("/run/logs", "Cannot write into /run/logs: No space left"),
    ],
)
def test_a_full_disk_is_one_line_and_status_2(name, said, monkeypatch, capsys):
    def run(config):
        raise OSError(errno.ENOSPC, "No space left on device", name)

    monkeypatch.setattr("recipes.export_model.run", run)
    assert cli.main(["export-model", "--from", "x"]) == 2
    captured = capsys.readouterr().err
    assert said in captured
    assert captured.count("\n") == 1


@pytest.mark.parametrize("debug", [(), ("--debug",)])
def test_what_a_server_says_does_not_command_the_terminal(
    debug, monkeypatch, capsys
):
    def run(config):
        raise ServingError("It failed:\n\x1b]0;mine\x07 \x9b2J gone")

    monkeypatch.setattr("recipes.predict.run", run)
    assert cli.main(["predict", *debug]) == 1
    printed = capsys.readouterr().err
    check_printed(printed)
    assert printed.endswith("kbig: It failed: ]0;mine 2J gone\n")


def test_answers_as_json_are_printable(capsys):
    labels = ["\x1b[2J", "\x9b2J\x7f", "樹"]
    config = predict.Config(output="json")
    predict._show(config, {"label": np.array(labels)})
    printed = capsys.readouterr().out
    check_printed(printed)
    assert json.loads(printed) == {"outputs": {"label": labels}}
    assert "樹" in printed


def test_debug_shows_the_traceback(capsys):
    assert cli.main(["export-model", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_dry_run_prints_everything_in_force_and_writes_nothing(
    capsys, tmp_path
):
    out = tmp_path / "run"
    arguments = ["train-image", "--filters", "4,8", "--out", str(out)]
    assert cli.main([*arguments, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    config, _ = json.JSONDecoder().raw_decode(printed)
    assert config["filters"] == [4, 8]
    assert config["batch_size"] == 64
    assert "Total params" in printed
    assert not out.exists()


def test_inspect_prints_and_saves_without_tensorflow(
    monkeypatch, capsys, tmp_path
):
    monkeypatch.setattr(cli, "_load_quietly", None)  # It would be called.
    path = tmp_path / "m.keras"
    models.mlp((4,), 3, (8,)).save(path)
    assert cli.main(["inspect", "--json", f"{path}.json", str(path)]) == 0
    assert "Keras" in capsys.readouterr().out
    report = json.loads((tmp_path / "m.keras.json").read_text())
    assert sum(x["bytes"] for x in report["stored"]) == 4 * (5 * 8 + 9 * 3)
