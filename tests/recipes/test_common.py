"""The beginning and the end of a run, without a training."""

import errno
import json
import pathlib
import types

import pytest

from kbig import sections
from kbig.errors import GateError
from kbig.errors import UsageError
from recipes import common
from recipes.config import RecipeConfig


@pytest.mark.parametrize("name", [".hidden", "a/b", ".."])
def test_a_name_that_no_file_can_begin_with_makes_nothing(name, tmp_path):
    config = RecipeConfig(out=str(tmp_path / "run"), name=name)
    with pytest.raises(UsageError, match="Received: --name"):
        common.start(config, "finetune")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "error", [GateError("a gate failed"), UsageError("no such folder")]
)
def test_an_export_that_fails_leaves_report_and_numbers(error, tmp_path):
    config = RecipeConfig(out=str(tmp_path / "run"), name="m")
    run = common.start(config, "finetune")

    def export(metrics):
        assert metrics["test_accuracy"] == 0.5
        raise error

    part = sections.details({"Configuration": "all of it"})
    with pytest.raises(type(error)) as caught:
        common.finish(run, "Title", {"test_accuracy": 0.5}, [part], export)
    assert caught.value is error
    metrics = json.loads((run.directory / "metrics.json").read_text())
    assert metrics == {"test_accuracy": 0.5}
    assert "all of it" in (run.directory / "report.html").read_text()


def full_disk(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full)


def test_results_without_room_are_said_with_what_was_exported(
    tmp_path, monkeypatch
):
    config = RecipeConfig(out=str(tmp_path / "run"), name="m")
    run = common.start(config, "finetune")
    one = types.SimpleNamespace(
        name="m", path="models/1", to_dict=lambda: {"bytes": 1}
    )
    report = types.SimpleNamespace(artefacts=[one], tables=list)
    part = sections.details({"Configuration": "all of it"})
    monkeypatch.setattr(sections, "artefacts", lambda _: part)
    full_disk(monkeypatch)
    with pytest.raises(UsageError) as caught:
        common.finish(run, "Title", {}, [part], lambda _: report)
    said = str(caught.value)
    assert "report.html: No space left on device." in said
    assert "What was exported is whole: models/1." in said


def test_a_failed_gate_is_said_also_where_there_is_no_room(
    tmp_path, monkeypatch
):
    config = RecipeConfig(out=str(tmp_path / "run"), name="m")
    run = common.start(config, "finetune")
    full_disk(monkeypatch)

    def export(_):
        raise GateError("a gate failed")

    part = sections.details({"Configuration": "all of it"})
    with pytest.raises(GateError, match="a gate failed"):
        common.finish(run, "Title", {}, [part], export)
