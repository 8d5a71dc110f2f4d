"""Broken artefacts and odd samples for verify: one sentence, no crash."""

import random
import shutil

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from kbig import export
from kbig import models
from kbig.errors import GateError
from kbig.errors import UsageError
from kbig.export.convert_litert import convert
from kbig.export.formats import FORMATS
from kbig.export.formats import Job
from kbig.export.litert import fixed
from kbig.export.runtime import artefact_process
from kbig.export.samples import named_samples
from kbig.export.saved_model import write_saved_model
from kbig.export.signatures import model_signatures
from tests.export.onnx_files import onnx_file

SIZE = 20  # Of the vocabulary.
ROWS = np.arange(24, dtype="int32").reshape(4, 6) % SIZE
SUFFIXES = (".tflite", ".onnx")
FILES_A_FORMAT = 12


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = models.transformer(
        3, SIZE, num_layers=1, hidden_dim=8, max_length=6
    )
    # A bias that can be found in any file.
    model.get_layer("logits").bias.assign([0.125, -0.75, 2.5])
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The model in each format, converted in this process."""
    folder = tmp_path_factory.mktemp("m")
    job = Job(model, "m", {"token_ids": ROWS}, None, None, (), None)
    FORMATS["savedmodel"].write(job, folder).rename(folder / "m.saved_model")
    (signature,) = model_signatures(model)
    signature = fixed(signature, {"token_ids": ROWS})
    write_saved_model([signature], folder / "plain")
    content = convert(str(folder / "plain"), "float32")
    (folder / "m.tflite").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        file = onnx_file(model, ROWS, folder, patch)
    file.rename(folder / "m.onnx")
    return folder


def flipped(content, draw):
    for _ in range(draw.choice((1, 1, 4, 64))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def cut(content, draw):
    del content[draw.randrange(len(content)) :]


def shifted(content, draw):
    start = draw.randrange(len(content))
    del content[start : start + draw.randrange(1, 9)]


def said(call):
    """What a GateError says: one sentence, which names the file."""
    with pytest.raises(GateError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and "m." in message
    return message


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_spoiled_file_is_refused_or_judged(suffix, folder, model, tmp_path):
    draw = random.Random(suffix)
    whole = (folder / f"m{suffix}").read_bytes()
    path = tmp_path / f"m{suffix}"
    expected = model.predict(ROWS, verbose=0)
    refused = 0
    for _ in range(FILES_A_FORMAT):
        content = bytearray(whole)
        draw.choice((flipped, cut, shifted))(content, draw)
        path.write_bytes(content)
        try:
            (artefact,) = export.verify(model, [path], ROWS).artefacts
            # What was hit is a name that nobody asks for, or a weight.
            with artefact_process(path, 1, ["token_ids"]) as process:
                (outputs,) = process.run({"token_ids": ROWS}).values()
            error = np.abs(outputs["logits"] - expected).max()
            allowed = 1.1e-5 * np.ptp(expected)
            assert artefact.passed == (error <= allowed)
        except GateError as error:
            assert "\n" not in str(error) and path.name in str(error)
            refused += 1
    assert refused > FILES_A_FORMAT / 3


@pytest.mark.ci
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "old, new, message",
    [
        (b"logits", b"logitz", "lacks the outputs logits. Received: logitz"),
        (b"token_ids", b"token_idz", "the samples lack the inputs"),
    ],
)
def test_other_names_are_told(
    suffix, old, new, message, folder, model, tmp_path
):
    content = (folder / f"m{suffix}").read_bytes()
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content.replace(old, new))
    assert message in said(lambda: export.verify(model, [path], ROWS))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_weights_do_not_pass(suffix, folder, model, tmp_path):
    content = (folder / f"m{suffix}").read_bytes()
    bias = model.get_layer("logits").bias.numpy()
    assert content.count(bias.tobytes()) == 1
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content.replace(bias.tobytes(), (bias * 1.001).tobytes()))
    (artefact,) = export.verify(model, [path], ROWS).artefacts
    assert not artefact.passed and "outputs differ" in artefact.faults[0]


def test_a_file_without_signatures_is_told(model, tmp_path):
    function = tf.function(lambda x: 2 * x).get_concrete_function(
        tf.TensorSpec((1, 6), tf.float32)
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    path = tmp_path / "m.tflite"
    path.write_bytes(converter.convert())
    message = said(lambda: export.verify(model, [path], ROWS))
    assert message == "m.tflite has no signature to call."


def damage(name, change):
    def done(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    "spoil",
    [
        damage("saved_model.pb", lambda x: x[: len(x) // 2]),
        damage("variables/variables.data-00000-of-00001", lambda x: x[:99]),
        damage(
            "variables/variables.data-00000-of-00001",
            lambda x: x[:40] + bytes([x[40] ^ 64]) + x[41:],
        ),
    ],
    ids=["half a graph", "few weights", "a flipped weight"],
)
def test_a_spoiled_saved_model_is_refused(spoil, folder, model, tmp_path):
    path = shutil.copytree(folder / "m.saved_model", tmp_path / "m.saved_model")
    spoil(path)
    assert "status 1" in said(lambda: export.verify(model, [path], ROWS))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "ids",
    [
        np.full((1, 6), SIZE, "int32"),
        np.full((1, 6), 2**31 - 1, "int32"),
        np.full((1, 6), -(2**31), "int32"),
        np.full((1, 6), 0.5, "float32"),
        np.ones((1, 6), "int64"),
        np.ones((1, 7), "int32"),
        np.ones(6, "int32"),
        np.array(["a"] * 6, object),
    ],
    ids=lambda x: f"{x.dtype}{list(x.shape)}",
)
def test_a_runtime_refuses_what_verify_would_not_send(suffix, ids, folder):
    path = folder / f"m{suffix}"
    with artefact_process(path, 1, ["token_ids"]) as process:
        said(lambda: process.run({"token_ids": ids}))


# Samples


@pytest.fixture(scope="module")
def numbers():
    return models.mlp((4,), 3, hidden_dims=(8,))


@pytest.mark.parametrize(
    "rows",
    [
        None,
        1,
        "ids",
        [],
        [[]],
        [1, 2],
        [[1, 2], [3]],
        [["1", "2"]],
        [[b"1", None]],
        [[1j, 2]],
        np.ones((1, 2), "datetime64[s]"),
        [[[1], [2]]],
        [[0.5, 1]],
        [[np.nan, 1]],
        [[np.inf, 1]],
        [[2**31, 1]],
        [[2**32 + 1, 1]],
        [[-1, 1]],
        [[SIZE, 1]],
        [[0] * 7],  # There are 6 positions.
        {},
        {"ids": [[1]]},
        {"token_ids": [[1]], "other": [1, 2]},
    ],
    ids=repr,
)
def test_odd_ids_are_the_callers_mistake(model, rows, tmp_path):
    path = tmp_path / "m.onnx"
    path.touch()
    with pytest.raises(UsageError, match=r"^Samples .*Received: ") as caught:
        export.verify(model, [path], rows)
    assert "\n" not in str(caught.value)


@hypothesis.settings(
    max_examples=60, derandomize=True, deadline=None, database=None
)
@hypothesis.given(
    npst.arrays(
        st.sampled_from(["int8", "uint8", "int64", "float16", "float64", "?"]),
        npst.array_shapes(min_dims=2, max_dims=2, max_side=6),
    )
)
def test_samples_stay_what_they_are_or_are_refused(model, rows):
    fits = np.isin(rows, np.arange(SIZE)).all()
    try:
        ids = named_samples(model, rows)["token_ids"]
    except UsageError:
        assert not fits
        return
    assert fits and ids.dtype == "int32"
    np.testing.assert_array_equal(ids, rows)


def test_nan_is_for_models_that_answer_it(numbers):
    rows = np.array([[1, 2, 3, 4], [1, np.nan, 3, 4]], "float32")
    with pytest.raises(UsageError, match="model gives NaN"):
        named_samples(numbers, rows)
    inputs = keras.Input((4,), name="x")
    known = keras.ops.where(keras.ops.isnan(inputs), 0.0, inputs)
    filled = keras.Model(inputs, keras.layers.Dense(2, name="y")(known))
    (array,) = named_samples(filled, rows).values()
    np.testing.assert_array_equal(array, rows)
