"""SavedModels in a C program: TensorFlow's C API, and no Python.

The test compiles `saved_model.c` against the headers and libraries of the
installed wheel. It loads a SavedModel by the same code as TF Serving.
"""

import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from tensorflow.python.saved_model import loader_impl

from kbig import data
from kbig import export
from kbig import models
from kbig.data.core_tokens import CoreTokens
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures
from kbig.export.worker import _tokenizer_libraries
from tests.text_models import CLASSES
from tests.text_models import TEXTS
from tests.text_models import text_classifier

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="There is no C compiler `cc`."
)
LENGTH = 12
# Every kind of character that the tokenizer tells from others.
SENTENCES = [*TEXTS, "", "A naïve TREE,  walking\ton 東京!", "running " * 40]
ROWS = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype("float32")
STEPS = np.random.default_rng(1).normal(size=(6, 5, 3)).astype("float32")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    source = pathlib.Path(__file__).with_name("saved_model.c")
    binary = tmp_path_factory.mktemp("c") / "saved_model"
    headers = ["-isystem", tf.sysconfig.get_include()]
    folder = pathlib.Path(tf.sysconfig.get_lib())
    libraries = [
        next(folder.glob(f"libtensorflow_{name}.*"))
        for name in ("cc", "framework")
    ]
    found = f"-Wl,-rpath,{folder}"
    subprocess.run(
        ["cc", "-std=c11", *headers, source, "-o", binary, *libraries, found],
        check=True,
    )
    return binary


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    """A classifier of texts, its tokenizer, and the SavedModel of both."""
    model, _, tokenizer = text_classifier()
    encoded = data.encode(tf.constant(SENTENCES), tokenizer, LENGTH)
    report = export.saved_model(
        apart(model, encoded),
        tmp_path_factory.mktemp("topics"),
        samples=SENTENCES,
        tokenizer=tokenizer,
        sequence_length=LENGTH,
        class_names=CLASSES,
    )
    return model, tokenizer, report.path


def apart(model, x):
    """With logits around zero, and of several labels: at the start no row
    is far from another.
    """
    generator = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * generator.normal(size=weight.shape))
    logits = model.predict(x, verbose=0)
    model.layers[-1].bias.assign_sub(logits.mean(0))
    return model


def answers(program, folder, rows, libraries=(), environment=None):
    """What `serving_default` gives, by name, and the process."""
    (graph,) = loader_impl.parse_saved_model(str(folder)).meta_graphs
    signature = graph.signature_def["serving_default"]
    (taken,) = signature.inputs.values()
    given = {k: v.name for k, v in sorted(signature.outputs.items())}
    options = [x for library in libraries for x in ("-l", library)]
    process = subprocess.run(
        [program, *options, folder, taken.name, *given.values()],
        input="".join(f"{row}\n" for row in rows),
        env=environment or {},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [x.split("\t") for x in process.stdout.splitlines()]
    return dict(zip(given, lines)), process


def check(found, logits, class_names):
    """Texts of numbers and names, beside the logits of Keras."""
    (name,) = set(found) - {"probabilities", "label"}
    got = np.array(found[name], float).reshape(logits.shape)
    np.testing.assert_allclose(got, logits, rtol=0, atol=1e-5 * np.ptp(logits))
    shares = np.array(found["probabilities"], float).reshape(logits.shape)
    np.testing.assert_allclose(shares, softmax(got, axis=-1), atol=1e-6)
    names = [class_names[i] for i in logits.argmax(-1)]
    assert found["label"] == names
    assert len(set(names)) > 1


@pytest.mark.ci
def test_texts_go_in_and_names_come_out(program, topics):
    model, tokenizer, folder = topics
    found, process = answers(program, folder, SENTENCES, _tokenizer_libraries())
    assert process.returncode == 0, process.stderr
    encoded = data.encode(tf.constant(SENTENCES), tokenizer, LENGTH)
    check(found, model.predict(encoded, verbose=0), CLASSES)


@pytest.mark.parametrize(
    "build, rows",
    [
        (lambda: models.cnn((8, 8, 1), 3, (4, 8), block="residual"), ROWS),
        (lambda: models.rnn((5, 3), 3, units=(8,)), STEPS),
    ],
    ids=["images", "sequences"],
)
def test_numbers_go_in(build, rows, program, tmp_path):
    keras.utils.set_random_seed(0)
    model = apart(build(), rows)
    folder = tmp_path / "saved_model"
    signatures = model_signatures(model, class_names=CLASSES)
    write_saved_model(signatures, folder)
    found, process = answers(program, folder, rows.ravel().tolist())
    assert process.returncode == 0, process.stderr
    check(found, model.predict(rows, verbose=0), CLASSES)


@pytest.mark.ci
def test_a_tokenizer_of_core_ops_needs_no_library(program, topics, tmp_path):
    model, tokenizer, _ = topics
    core_tokens = CoreTokens(tokenizer)
    signatures = model_signatures(
        model,
        tokenizer=core_tokens,
        sequence_length=LENGTH,
        class_names=CLASSES,
    )
    folder = tmp_path / "saved_model"
    write_saved_model(signatures, folder, [core_tokens])
    found, process = answers(program, folder, SENTENCES)
    assert process.returncode == 0, process.stderr
    encoded = data.encode(tf.constant(SENTENCES), tokenizer, LENGTH)
    check(found, model.predict(encoded, verbose=0), CLASSES)


def test_a_tokenizer_needs_its_library(program, topics):
    *_, folder = topics
    found, process = answers(program, folder, SENTENCES)
    assert process.returncode == 1 and not found
    assert "Op type not registered" in process.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="It asks Linux's loader.")
def test_no_python_is_loaded(program, topics):
    *_, folder = topics
    _, process = answers(
        program,
        folder,
        SENTENCES,
        _tokenizer_libraries(),
        environment={"LD_DEBUG": "files"},
    )
    assert process.returncode == 0, process.stderr
    libraries = {
        pathlib.Path(line.split("calling init: ")[1]).name
        for line in process.stderr.splitlines()
        if "calling init: " in line
    }
    assert "_fast_wordpiece_tokenizer.so" in libraries
    assert not {x for x in libraries if "libpython" in x or "pywrap" in x}
