"""What `kbig export-model` leaves of earlier exports, whatever happens."""

import numpy as np
import pytest

import kbig
from kbig.errors import GateError
from kbig.runs import Run
from recipes import cli
from tests import disks
from tests.disks import contents


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    config = {"name": "m", "task": "classification"}
    folder = tmp_path_factory.mktemp("source") / "run"
    run = Run.create(folder, "train-image", config)
    run.save_model(kbig.models.mlp((4,), 3, (4,)))
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    run.save_samples(x)
    return run.directory


def export(source, *arguments):
    given = ["export-model", "--from", source, "--formats", "savedmodel"]
    return cli.main([*map(str, given), *map(str, arguments)])


@pytest.mark.ci
def test_a_published_version_stays_until_the_next_is_proved(
    source, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    assert export(source, "--out", out) == 0
    version = out / "artefacts" / "1"
    before = contents(version)
    assert "saved_model.pb" in before
    # As of a process that was killed once it had published.
    (out / "metrics.json").unlink()
    assert export(source, "--out", out) == 2
    assert "with artefacts. Pass --overwrite" in capsys.readouterr().err
    with monkeypatch.context() as patched:

        def failing(*_, **__):
            raise GateError("a gate failed")

        patched.setattr("kbig.export.artefacts", failing)
        assert export(source, "--out", out, "--overwrite") == 1
    assert contents(version) == before
    assert export(source, "--out", out, "--overwrite") == 0
    assert contents(version) == before
    names = {path.name for path in (out / "artefacts").iterdir()}
    assert names == {"1", "2"}


def test_a_target_that_is_read_only_is_one_line(source, tmp_path, capsys):
    models = tmp_path / "models"
    (models / "1").mkdir(parents=True)
    (models / "1" / "saved_model.pb").write_text("an older version")
    before = contents(models)
    with disks.read_only(models):
        out = tmp_path / "out"
        assert export(source, "--to", models, "--out", out) == 2
    said = capsys.readouterr().err
    assert f"Cannot write into {models}: " in said
    assert said.count("\n") == 1
    assert contents(models) == before


@pytest.mark.ci
def test_a_full_disk_for_the_report_says_that_the_export_is_whole(
    source, tmp_path, capsys
):
    out, models = tmp_path / "out", tmp_path / "models"
    out.mkdir()
    # Room for config.json, and none for the page.
    with disks.small_disk(out, "8k"):
        assert export(source, "--to", models, "--out", out) == 2
    said = capsys.readouterr().err
    assert f"Cannot write into {out}/report.html: No space left" in said
    assert f"What was exported is whole: {models / '1'}." in said
    assert (models / "1" / "saved_model.pb").is_file()
