"""int16 between operations, and files that travel with a model."""

import zipfile

import numpy as np
import pytest

from kbig import compression
from kbig import export
from kbig import models
from kbig.errors import UsageError

ROWS = np.random.default_rng(0).normal(size=(32, 6, 2)).astype("float32")


@pytest.mark.ci
def test_an_lstm_in_int16_is_close_to_it(tmp_path):
    model = models.rnn((6, 2), 3, units=(8,))
    path = tmp_path / "m.tflite"
    report = export.litert(
        model, path, "int16", samples=ROWS, representative=ROWS,
        files={"labels.txt": "up\ndown\nlevel\n"},
    )  # fmt: skip
    assert report.weights == "int16"
    assert report.largest_difference < report.tolerance < 0.021
    assert report.integers is None
    found = export.inspect(path)
    products = [x for x in found.operations if x.name == "FULLY_CONNECTED"]
    assert products
    # Activations, weights and, where there is one, the bias.
    assert all(x.dtypes.startswith("int16, int8") for x in products)
    assert all(x.dtypes.endswith("→ int16") for x in products)
    assert [x.name for x in found.files] == ["labels.txt"]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"up\ndown\nlevel\n"


def quantized():
    return compression.quantize_aware(models.mlp((4,), 3), np.eye(4))


def plain():
    return models.mlp((4,), 3)


def of_ids():
    return models.rnn(num_outputs=3, vocabulary_size=9)


@pytest.mark.parametrize(
    "make, options, message",
    [
        (plain, {"mode": "int16"}, "without representative rows"),
        (
            quantized,
            {"mode": "int16", "representative": np.eye(4)},
            "a quantized model and representative",
        ),
        (
            plain,
            {
                "mode": "int16",
                "representative": np.eye(4),
                "integer_io": True,
            },
            "integer_io=True, mode='int16'",
        ),
        (
            of_ids,
            {
                "mode": "int16",
                "samples": np.ones((4, 5)),
                "representative": np.ones((4, 5)),
            },
            "only of models that take floats",
        ),
        (plain, {"files": {"../labels.txt": ""}}, "'../labels.txt': str"),
        (plain, {"files": {"labels.txt": ("a", "b")}}, "'labels.txt': tuple"),
    ],
)
def test_mistakes_are_named(make, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        export.litert(make(), tmp_path / "m.tflite", **options)
    assert [*tmp_path.iterdir()] == []
