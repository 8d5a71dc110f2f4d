import errno
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from kbig import models
from kbig import training
from kbig.errors import UsageError
from kbig.runs import Run
from tests import disks


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", "finetune", {"lowercase": True})


def finished(run):
    run.save_model(models.mlp((4,), 2))
    run.write_json("metrics.json", {"test_accuracy": 0.5})
    return run


def test_what_was_saved_is_there_again(run):
    model = models.mlp((4,), 2)
    vocabulary = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b")
    run.save_model(model, vocabulary=vocabulary, class_names=("x", "y"))
    opened = Run.open(run.directory)
    assert opened.recipe == "finetune"
    assert opened.config["lowercase"] is True
    assert opened.vocabulary == vocabulary
    assert opened.class_names == ("x", "y")
    x = np.ones((3, 4), "float32")
    np.testing.assert_array_equal(opened.load_model()(x), model(x))
    assert opened.tokenizer().get_vocabulary() == list(vocabulary)


@pytest.mark.ci
def test_a_trained_model_loads_where_kbig_is_not(run):
    model = models.mlp((4,), 2)
    model.compile(training.adamw(training.WarmupLinear(0.1, 1, 5)), "mse")
    x = np.ones((3, 4), "float32")
    model.fit(x, np.zeros((3, 2)), verbose=0)
    run.save_model(model)
    code = (
        "import keras, sys, numpy as np;"
        "model = keras.models.load_model('model.keras');"
        "assert 'kbig' not in sys.modules;"
        "print(model(np.ones((3, 4), 'float32'))[0, 0].numpy())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=run.directory,
    )
    printed = float(done.stdout.split()[-1])
    assert printed == pytest.approx(float(model(x)[0, 0]), rel=1e-5)


def test_a_masked_language_model_keeps_its_tied_weights(run):
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    model = models.bert_masked_lm(models.bert(size, 20))
    run.save_model(model)
    loaded = Run.open(run.directory).load_model()
    assert loaded.count_params() == model.count_params()
    backbone = models.find_bert(loaded)
    np.testing.assert_array_equal(
        backbone.token_embedding.embeddings,
        model.get_layer("token_embedding").embeddings,
    )


def test_text_samples_come_back_as_they_were(run):
    texts = np.array(["naïve 東京", "", "line\nbreak\x00"], dtype=object)
    run.save_samples(texts, np.array([1, 0, 1]))
    x, labels = run.load_samples()
    assert x.tolist() == texts.tolist()
    assert labels.tolist() == [1, 0, 1]


def test_samples_are_bounded_in_rows_and_bytes(run):
    run.save_samples(np.zeros((2500, 2)), np.arange(2500))
    x, labels = run.load_samples()
    assert len(x) == len(labels) == 2000
    assert labels[0] == 0
    assert labels[-1] == 2499
    assert np.diff(labels).max() == 2
    run.save_samples(np.zeros((20, 1000, 1000), "float32"), np.arange(20))
    x, labels = run.load_samples()
    assert len(x) == len(labels) == 16  # 64 MB of 4 MB rows.


def test_a_finished_run_is_not_replaced_by_accident(run):
    finished(run)
    with pytest.raises(UsageError, match="--overwrite"):
        Run.create(run.directory, "finetune", {})
    again = Run.create(run.directory, "prune", {}, overwrite=True)
    assert [p.name for p in again.directory.iterdir()] == ["config.json"]
    assert json.loads((run.directory / "config.json").read_text())[
        "recipe"
    ] == ("prune")


def test_an_interrupted_run_may_be_started_again(run):
    (run.directory / "history.csv").write_text("epoch,loss\n0,1.0\n")
    Run.create(run.directory, "finetune", {})
    assert not (run.directory / "history.csv").exists()


def test_a_model_is_not_replaced_although_its_run_was_interrupted(run):
    run.save_model(models.mlp((4,), 2))
    with pytest.raises(UsageError, match=r"with model\.keras\. Pass --overw"):
        Run.create(run.directory, "finetune", {})
    assert run.load_model().count_params() == models.mlp((4,), 2).count_params()
    Run.create(run.directory, "finetune", {}, overwrite=True)
    assert not (run.directory / "model.keras").exists()


def published(run):
    file = run.directory / "artefacts" / "1" / "saved_model.pb"
    file.parent.mkdir(parents=True)
    file.write_text("the only copy")
    return file


def test_what_was_exported_counts_as_a_result(run):
    published(run)
    with pytest.raises(UsageError, match=r"with artefacts\. Pass --overw"):
        Run.create(run.directory, "export-model", {})


def test_what_a_killed_export_began_is_in_nobodys_way(run):
    (run.directory / "artefacts" / ".part-a").mkdir(parents=True)
    Run.create(run.directory, "export-model", {})


def test_what_was_exported_stays_until_another_model_is_saved(run):
    finished(run)
    file = published(run)
    again = Run.create(run.directory, "finetune", {}, overwrite=True)
    assert file.read_text() == "the only copy"
    again.save_model(models.mlp((4,), 2))
    assert not (run.directory / "artefacts").exists()
    earlier = run.directory / "artefacts-earlier-1" / "1" / "saved_model.pb"
    assert earlier.read_text() == "the only copy"
    published(run)
    again.save_model(models.mlp((4,), 2))
    assert earlier.read_text() == "the only copy"
    assert (run.directory / "artefacts-earlier-2" / "1").is_dir()


def test_a_run_stays_one_where_it_cannot_be_replaced(run, monkeypatch):
    finished(run)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "write_text", full)
    with pytest.raises(UsageError, match=r"config\.json: No space left"):
        Run.create(run.directory, "finetune", {}, overwrite=True)
    monkeypatch.undo()
    Run.create(run.directory, "finetune", {})


def test_a_run_directory_that_is_read_only_is_said(run):
    finished(run)
    said = "Cannot write into .*(Read-only file system|Permission denied)"
    with disks.read_only(run.directory):
        with pytest.raises(UsageError, match=said):
            Run.create(run.directory, "finetune", {}, overwrite=True)
        with pytest.raises(UsageError, match=rf"{said}"):
            run.save_model(models.mlp((4,), 2))
        with pytest.raises(UsageError, match=r"samples\.npz: "):
            run.save_samples(np.ones((2, 4)))
        with pytest.raises(UsageError, match="below: "):
            Run.create(run.directory / "below", "finetune", {})
    assert run.load_model().count_params() == models.mlp((4,), 2).count_params()


def test_a_disk_that_fills_while_a_model_is_saved_is_said(tmp_path):
    with disks.small_disk(tmp_path, "64k"):
        run = Run.create(tmp_path / "run", "finetune", {})
        with pytest.raises(UsageError, match=r"model\.keras: No space left"):
            run.save_model(models.mlp((64,), 10, (256, 256)))
        left = [x.name for x in run.directory.iterdir()]
        assert left == ["config.json"]


def test_a_config_of_another_program_is_no_run(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="holds no run"):
        Run.create(tmp_path, "finetune", {}, overwrite=True)
    with pytest.raises(UsageError, match=r"config\.json of kbig"):
        Run.open(tmp_path)
    assert (tmp_path / "logs").is_dir()


def test_a_run_without_test_rows_says_so(run):
    with pytest.raises(UsageError, match="run of finetune"):
        run.load_samples()


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds no run"):
        Run.create(tmp_path, "finetune", {}, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_overwriting_touches_only_files_of_a_run(run):
    finished(run)
    (run.directory / "notes.txt").write_text("mine")
    Run.create(run.directory, "finetune", {}, overwrite=True)
    assert (run.directory / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("make", ["nothing", "no model"])
def test_what_is_no_run_is_refused(make, tmp_path, run):
    directory = tmp_path if make == "nothing" else run.directory
    with pytest.raises(UsageError, match=r"config\.json|model\.keras"):
        Run.open(directory)


def test_what_was_trained_stands_in_what_is_made_of_it(run, tmp_path):
    began = {"recipe": "finetune", "lowercase": False, "epochs": 3}
    values = {"epochs": 1, "training": began}
    made = Run.create(tmp_path / "made", "prune", values)
    finished(made)
    for found in (made, Run.open(made.directory)):
        assert found.recipe == "prune"
        assert found.training == began
        assert found.config["lowercase"] is False
        assert found.config["epochs"] == 1
    assert run.training == {"recipe": "finetune", "lowercase": True}


@pytest.mark.parametrize(
    "config, data, licence",
    [
        ({"data": "wordnet-topics"}, "wordnet-topics", "WordNet 3.0 licence"),
        ({"data": "my.csv"}, "my.csv", "unknown"),
        # Made of a run, on the data of that run.
        (
            {"data": "", "training": {"data": "austen"}},
            "austen",
            "public domain",
        ),
    ],
)
def test_an_export_records_the_run_that_it_comes_from(
    config, data, licence, tmp_path, monkeypatch
):
    monkeypatch.setattr("kbig.export.artefacts", lambda *_, **options: options)
    run = finished(Run.create(tmp_path / "run", "finetune", config))
    run.save_samples(np.ones((2, 4), "float32"))
    about = run.export(["savedmodel"], tmp_path, "m")["about"]
    assert (about["recipe"], about["data"]) == ("finetune", data)
    assert about["data_licence"].startswith(licence)
    assert about["metrics"] == {"test_accuracy": 0.5}
    assert about["configuration"]["data"] == config["data"]
    # While the recipe still runs, its numbers are not written.
    given = {"test_loss": 1.0}
    about = run.export(["savedmodel"], tmp_path, "m", given)["about"]
    assert about["metrics"] == given
