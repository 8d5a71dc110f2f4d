"""SavedModels that tokenize with TensorFlow's own ops."""

import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.saved_model import loader_impl

from kbig import data
from kbig import export
from kbig.data import core_tokens
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export.runtime import artefact_process
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures
from kbig.runs import Run
from recipes import cli
from tests.text_models import CLASSES
from tests.text_models import TEXTS
from tests.text_models import text_classifier

LENGTH = 12
SENTENCES = [*TEXTS, "", "A naïve TREE,  walking\ton 東京!", "running " * 40]


@pytest.fixture(scope="module")
def topics():
    """A classifier of texts, with logits that differ, and its tokenizer."""
    model, _, tokenizer = text_classifier(hidden_dim=16)
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.7, weight.shape))
    return model, tokenizer


def exported(topics, directory, **options):
    model, tokenizer = topics
    return export.saved_model(
        model,
        directory,
        samples=SENTENCES,
        tokenizer=tokenizer,
        sequence_length=LENGTH,
        class_names=CLASSES,
        **options,
    )


@pytest.fixture(scope="module")
def core(topics, tmp_path_factory):
    """The report of an export; it was verified before it was there."""
    folder = tmp_path_factory.mktemp("core")
    return exported(topics, folder, tokenizer_ops="core")


@pytest.fixture(scope="module")
def text(topics, tmp_path_factory):
    """The same model with ops of tensorflow-text, unverified."""
    model, tokenizer = topics
    signatures = model_signatures(
        model,
        tokenizer=tokenizer,
        sequence_length=LENGTH,
        class_names=CLASSES,
    )
    folder = tmp_path_factory.mktemp("text") / "1"
    write_saved_model(signatures, folder, [tokenizer])
    return folder


def graph_of(path):
    (graph,) = loader_impl.parse_saved_model(str(path)).meta_graphs
    return graph


def other_ops(graph):
    """The ops of a SavedModel that TensorFlow itself does not have."""
    functions = (x.node_def for x in graph.graph_def.library.function)
    parts = (graph.graph_def.node, *functions)
    used = {node.op for nodes in parts for node in nodes}
    return {op for op in used if not hasattr(tf.raw_ops, op)}


@pytest.mark.ci
def test_only_the_ops_of_the_tokenizer_differ(core, text):
    one, other = graph_of(core.path), graph_of(text)
    assert one.signature_def.keys() == other.signature_def.keys()
    assert {*core.signatures} == {"serving_default", "ids", "embed", "classify"}
    assert "NormalizeUTF8" in other_ops(other)
    assert not other_ops(one)


@pytest.mark.ci
def test_every_signature_answers_as_the_model(topics, core):
    model, tokenizer = topics
    served = tf.saved_model.load(core.path).signatures
    encoded = data.encode(tf.constant(SENTENCES), tokenizer, LENGTH)
    logits = model.predict(encoded, verbose=0)
    assert np.ptp(logits, axis=0).min() > 0.1
    for signature, given in [
        ("serving_default", {"text": tf.constant(SENTENCES)}),
        ("ids", encoded),
    ]:
        got = served[signature](**given)
        np.testing.assert_allclose(got["logits"], logits, atol=1e-4)
        names = [CLASSES[i].encode() for i in logits.argmax(-1)]
        assert got["label"].numpy().tolist() == names
    assert served["serving_default"](text=tf.constant([], tf.string))[
        "logits"
    ].shape == (0, 3)


@pytest.mark.ci
@pytest.mark.skipif(sys.platform != "linux", reason="It reads Linux's /proc.")
def test_verification_loads_the_library_where_it_is_needed(core, text):
    loaded = []
    for path in (core.path, text):
        with artefact_process(pathlib.Path(path), 1, ["token_ids"]) as process:
            maps = pathlib.Path("/proc", str(process._process.pid), "maps")
            libraries = maps.read_text()
        assert "libtensorflow" in libraries
        loaded.append("_fast_wordpiece_tokenizer.so" in libraries)
    assert loaded == [False, True]


@pytest.mark.ci
def test_other_ids_are_found_and_nothing_is_written(
    topics, tmp_path, monkeypatch
):
    # So that every word is too long.
    monkeypatch.setattr(core_tokens, "_MOST_BYTES", 0)
    with pytest.raises(GateError, match="outputs differ from the model's"):
        exported(topics, tmp_path / "topics", tokenizer_ops="core")
    assert not list(tmp_path.glob("topics/*"))


def test_unknown_ops_and_those_of_no_tokenizer_are_refused(topics, tmp_path):
    model, _ = topics
    with pytest.raises(UsageError, match="text, core. Received: .*='onnx'"):
        exported(topics, tmp_path, tokenizer_ops="onnx")
    with pytest.raises(UsageError, match="='core' and no tokenizer"):
        export.saved_model(model, tmp_path, tokenizer_ops="core")
    assert not list(tmp_path.iterdir())


def test_the_command_line_passes_the_choice_on(topics, tmp_path, monkeypatch):
    model, tokenizer = topics
    config = {"lowercase": True, "sequence_length": LENGTH, "name": "topics"}
    run = Run.create(tmp_path / "run", "finetune", config)
    run.save_model(model, vocabulary=tokenizer.get_vocabulary())
    run.save_samples(np.array(SENTENCES, dtype=object))
    passed = []

    def artefacts(*arguments, **options):
        passed.append(options["tokenizer_ops"])
        raise GateError("Seen.")

    monkeypatch.setattr(cli, "_load_quietly", lambda: None)
    monkeypatch.setattr(export, "artefacts", artefacts)
    for name, choice in [("a", ()), ("b", ("--tokenizer-ops", "core"))]:
        command = ["export-model", "--from", run.directory, *choice]
        command += ["--out", tmp_path / name]
        assert cli.main([str(x) for x in command]) == 1
    assert passed == ["text", "core"]
    assert cli.main([*map(str, command), "--tokenizer-ops", "onnx"]) == 2
