"""kbig serve and kbig predict, against a server of a real SavedModel."""

import json
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
import yaml
from tensorflow.python.saved_model.loader_impl import parse_saved_model

from kbig import data
from kbig import models
from kbig.export.deployment import IMAGE
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures
from kbig.serving import answer_rows
from recipes import cli
from recipes.predict import Config
from tests.serving.tf_serving import Model
from tests.serving.tf_serving import grpc_server
from tests.serving.tf_serving import rest_server

TEXTS = ["the cat sat, on the mat", "a tree has leaves"]
CLASSES = ("animal", "plant", "act")
LENGTH = 12


@pytest.fixture(autouse=True)
def loaded(monkeypatch):
    # Tests capture stderr themselves, and TensorFlow is loaded already.
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    """Logits of the texts, and the addresses of servers of their model."""
    keras.utils.set_random_seed(0)
    vocabulary = data.train_vocabulary(TEXTS * 5, 80)
    size = {"num_layers": 1, "hidden_dim": 16, "num_heads": 2}
    model = models.bert_classifier(models.bert(size, len(vocabulary)), 3)
    tokenizer = data.tokenizer(vocabulary)
    inputs = data.encode(tf.constant(TEXTS), tokenizer, LENGTH)
    logits = model.predict(inputs, verbose=0)
    signatures = model_signatures(
        model,
        tokenizer=tokenizer,
        sequence_length=LENGTH,
        class_names=CLASSES,
    )
    folder = tmp_path_factory.mktemp("topics") / "1"
    write_saved_model(signatures, folder, [tokenizer])
    served = Model("topics", str(folder))
    with rest_server(served) as rest, grpc_server(served) as remote:
        yield logits, {"rest": rest, "grpc": remote}, folder


def asked(capsys, *arguments):
    status = cli.main(["predict", *arguments])
    captured = capsys.readouterr()
    assert captured.err.count("\n") == (status != 0)
    return status, captured.out if status == 0 else captured.err


@pytest.mark.ci
@pytest.mark.parametrize("way", ["rest", "grpc"])
def test_texts_are_answered_as_json(way, topics, capsys):
    logits, urls, _ = topics
    texts = [part for text in TEXTS for part in ("--text", text)]
    status, printed = asked(
        capsys,
        *("--url", urls[way], "--model", "topics", "--label", "stable"),
        *(*texts, "--output", "json"),
    )
    assert status == 0
    outputs = json.loads(printed)["outputs"]
    np.testing.assert_allclose(outputs["logits"], logits, atol=1e-5)
    assert outputs["label"] == [CLASSES[i] for i in logits.argmax(-1)]


@pytest.mark.parametrize("signature", ["serving_default", "classify"])
def test_the_table_has_labels_and_their_probabilities(
    signature, topics, capsys
):
    logits, urls, _ = topics
    status, printed = asked(
        capsys,
        *("--url", urls["rest"], "--model", "topics", "--text", TEXTS[0]),
        *("--signature", signature),
    )
    assert status == 0
    *_, row = printed.strip().splitlines()
    probability = float(tf.nn.softmax(logits)[0].numpy().max())
    assert row.startswith(TEXTS[0])
    label, shown = row.removeprefix(TEXTS[0]).split()
    assert label == CLASSES[logits[0].argmax()]
    assert float(shown) == pytest.approx(probability, abs=1e-3)


def test_rows_come_from_a_file(topics, capsys, tmp_path):
    _, urls, _ = topics
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"text": TEXTS}), encoding="utf-8")
    status, printed = asked(
        capsys,
        *("--url", urls["rest"], "--model", "topics", "--json", str(file)),
        *("--signature", "embed", "--output", "json"),
    )
    assert status == 0
    assert np.shape(json.loads(printed)["outputs"]["embedding"]) == (2, 16)


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["--model", "topic"], 2, "Servable not found for request: Latest"),
        (["--version", "7"], 2, "Specific(topics, 7)"),
        (["--signature", "clasify"], 2, "classify, embed, ids"),
        (["--timeout", "0"], 2, "timeout=0.0"),
        (["--url", "localhost:8501"], 2, "url='localhost:8501'"),
        (["--url", "http://127.0.0.1:9", "--retries", "0"], 1, "refused"),
        (["--image", "x.png"], 2, "one of them"),
        (["--output", "xml"], 2, "one of table, json"),
        (["--model", ""], 2, "Pass --model NAME"),
    ],
)
def test_mistakes_and_failures_are_one_line(
    arguments, status, message, topics, capsys
):
    _, urls, _ = topics
    given = {"--url": urls["rest"], "--model": "topics", "--text": "a tree"}
    given |= dict(zip(arguments[::2], arguments[1::2]))
    flat = [part for pair in given.items() for part in pair]
    got, printed = asked(capsys, *flat)
    assert (got, message in printed) == (status, True), printed


@pytest.mark.parametrize("content", ["{", '"text"', None])
def test_a_file_without_rows_is_named(content, topics, capsys, tmp_path):
    _, urls, _ = topics
    file = tmp_path / "rows.json"
    if content is not None:
        file.write_text(content)
    status, printed = asked(
        capsys,
        *("--url", urls["rest"], "--model", "topics", "--json", str(file)),
    )
    assert (status, "rows.json" in printed) == (2, True)


def test_images_are_resized_to_what_the_model_takes(tmp_path, capsys):
    model = models.cnn((8, 8, 1), 3, filters=(4,))
    signatures = model_signatures(model, class_names=CLASSES)
    write_saved_model(signatures, tmp_path / "1")
    values = np.random.default_rng(0).integers(0, 256, (8, 8), "uint8")
    PIL.Image.fromarray(values).save(tmp_path / "same.png")
    large = np.full((20, 30, 3), 200, "uint8")
    PIL.Image.fromarray(large).save(tmp_path / "large.png")
    deep = values.astype("uint16") * 256 + 77
    PIL.Image.fromarray(deep).save(tmp_path / "deep.png")
    (tmp_path / "none.png").write_text("no image")
    given = np.stack([values, np.full((8, 8), 200, "uint8"), values])
    given = given[..., None]
    logits = model.predict(given, verbose=0)
    with rest_server(Model("fashion", str(tmp_path / "1"))) as url:
        server = ["--url", url, "--model", "fashion", "--output", "json"]
        files = [
            part
            for name in ("same.png", "large.png", "deep.png")
            for part in ("--image", str(tmp_path / name))
        ]
        status, printed = asked(capsys, *server, *files)
        assert status == 0
        got = json.loads(printed)["outputs"]
        np.testing.assert_allclose(got["logits"], logits, atol=1e-4)
        status, printed = asked(
            capsys, *server, *files, "--signature", "classify"
        )
        got = json.loads(printed)["outputs"]
        np.testing.assert_allclose(
            got["scores"], tf.nn.softmax(logits), atol=1e-4
        )
        status, printed = asked(
            capsys, *server, "--image", str(tmp_path / "none.png")
        )
        assert (status, "none.png" in printed) == (2, True)
        status, printed = asked(capsys, *server, "--text", "a tree")
        assert (status, "shape=(1,)" in printed) == (2, True)


def test_an_image_is_not_for_a_model_of_texts(topics, capsys):
    _, urls, _ = topics
    status, printed = asked(
        capsys,
        *("--url", urls["rest"], "--model", "topics", "--image", "x.png"),
    )
    assert (status, "only input" in printed) == (2, True)


def test_only_grpc_needs_tensorflow():
    assert not Config().needs_tensorflow
    assert Config(url="grpc://host").needs_tensorflow
    code = (
        "import sys; from recipes import cli; "
        "cli.main(['predict', '--url', 'http://127.0.0.1:9', '--model', 'm', "
        "'--text', 'x', '--retries', '0']); "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout == "False\n"


def test_vectors_are_shown_by_their_first_values():
    outputs = {
        "embedding": np.arange(16.0).reshape(2, 8),
        "label": np.array([["O", "B"], ["O", "O"]], object),
    }
    columns, rows = answer_rows(outputs, ["a", "b"])
    assert columns == ("input", "embedding", "label")
    assert rows[0] == ("a", "0 1 2 3 4 5 ... 2 more", "O B")


def test_serve_writes_a_deployment(topics, tmp_path, capsys):
    _, _, folder = topics
    out = tmp_path / "deploy"
    arguments = ["serve", "--from", str(folder.parent), "--out", str(out)]
    assert cli.main([*arguments, "--name", "topics", "--replicas", "3"]) == 0
    printed = capsys.readouterr().out
    assert "model: topics, versions: stable 1" in printed
    assert f"written: {out / 'models.config'}" in printed
    documents = yaml.safe_load_all((out / "kubernetes.yaml").read_text())
    scaling = list(documents)[-1]
    assert scaling["spec"]["minReplicas"] == 3


def test_serve_moves_labels_at_once_only_for_a_restart(tmp_path, capsys):
    for version in ("1", "2"):
        (tmp_path / "topics" / version).mkdir(parents=True)
        (tmp_path / "topics" / version / "saved_model.pb").write_bytes(b"")
    out = tmp_path / "deploy"
    again = ["serve", "--from", str(tmp_path / "topics"), "--out", str(out)]
    again += ["--address", "0.0.0.0", "--overwrite"]
    assert cli.main([*again, "--stable", "1"]) == 0
    assert "0.0.0.0:8501:8501" in (out / "docker-compose.yml").read_text()
    assert "Restart" not in capsys.readouterr().out
    assert cli.main(again) == 2
    assert "--stable 1 --canary 2, then --stable 2" in capsys.readouterr().err
    assert cli.main([*again, "--restart"]) == 0
    assert "stable 2" in (printed := capsys.readouterr().out)
    assert "Restart the servers" in printed


def test_the_image_reads_what_this_tensorflow_writes(topics):
    """By the version of graphs that TensorFlow 2.20 has."""
    assert IMAGE == "tensorflow/serving:2.20.0"
    (graph,) = parse_saved_model(str(topics[2])).meta_graphs
    assert graph.graph_def.versions.min_consumer <= 2288


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "--from DIR --out DIR"),
        (["--from", "nowhere", "--out", "d"], "saved_model.pb"),
        (["--from", "x", "--out", "d", "--stabel", "1"], "Did you mean stable"),
        (["--from", "x", "--out", "d", "--replicas", "0"], "at least 1"),
    ],
)
def test_serve_names_mistakes(arguments, message, capsys):
    assert cli.main(["serve", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
