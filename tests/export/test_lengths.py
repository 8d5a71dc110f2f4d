"""LiteRT files with a signature for each of several lengths."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import kbig
from kbig import export
from kbig.errors import UsageError
from kbig.export.lengths import length_of
from kbig.export.lengths import signature_of
from tests.export.matrix import BERT
from tests.export.matrix import trained


@pytest.fixture(scope="module")
def bert():
    model, _ = trained("BERT classifier")
    return model


def stored(file) -> int:
    """Bytes of all constants, each buffer once."""
    model = schema.Model.GetRootAsModel(file.read_bytes(), 0)
    sizes = (
        model.Buffers(i).DataLength() for i in range(model.BuffersLength())
    )
    return sum(size for size in sizes if size >= 64)


def test_names_of_signatures():
    assert length_of(signature_of(16)) == 16
    for other in ("serving_default", "steps_", "steps_-3", "steps_x", "16"):
        assert length_of(other) is None


@pytest.mark.ci
@pytest.mark.parametrize(
    "mode",
    [
        "dynamic",
        "int8",
        pytest.param("float16", marks=pytest.mark.slow),
        pytest.param("int8-weights", marks=pytest.mark.slow),
    ],
)
def test_every_length_gives_what_the_model_gives(bert, tmp_path, mode):
    file = tmp_path / "bert.tflite"
    model = bert
    if mode == "int8":
        model = kbig.compression.quantize_aware(bert, BERT)
    export.litert(model, file, mode, samples=BERT)
    alone = stored(file)
    report = export.litert(model, file, mode, samples=BERT, lengths=(2, 4))
    assert report.passed
    if mode == "int8":
        assert not report.integers.failure
        assert report.integers.outputs and report.integers.layers
    assert report.signatures[0] == "serving_default"
    assert set(report.signatures[1:]) == {"steps_2", "steps_4"}
    interpreter = Interpreter(str(file), num_threads=1)
    # What callers without signatures run.
    assert {x["shape"][1] for x in interpreter.get_input_details()} == {6}
    # A table of positions is cut for each length.
    assert stored(file) < 1.1 * alone
    for length in (2, 4, 6):
        name = "serving_default" if length == 6 else signature_of(length)
        runner = interpreter.get_signature_runner(name)
        rows = {k: x[:, :length] for k, x in BERT.items()}
        got = np.concatenate(
            [
                runner(**{k: x[i : i + 1] for k, x in rows.items()})["logits"]
                for i in range(len(BERT["token_ids"]))
            ]
        )
        expected = model.predict(rows, verbose=0)
        # What is allowed is in the report; here it must not be another row.
        error = np.abs(got - expected).max() / np.ptp(expected)
        assert error < 0.05


@pytest.mark.ci
def test_a_wrong_length_is_found(bert, tmp_path, monkeypatch):
    from kbig.export import runtime

    def forgets(self, samples):
        outputs = run(self, samples)
        outputs["steps_4"] = dict(outputs["steps_2"])
        return outputs

    run = runtime.ArtefactProcess.run
    monkeypatch.setattr(runtime.ArtefactProcess, "run", forgets)
    file = tmp_path / "bert.tflite"
    with pytest.raises(kbig.errors.GateError, match="outputs differ"):
        export.litert(bert, file, samples=BERT, lengths=(2, 4))
    assert not file.exists()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((6,), "below that of the samples, 6"),
        ((0,), "positive integers"),
        ((2, 2), "different"),
        ((2.5,), "positive integers"),
    ],
)
def test_lengths_that_are_none(bert, tmp_path, lengths, message):
    file = tmp_path / "bert.tflite"
    with pytest.raises(UsageError, match=message):
        export.litert(bert, file, samples=BERT, lengths=lengths)


def test_models_and_rows_without_lengths(bert, tmp_path):
    file = tmp_path / "model.tflite"
    with pytest.raises(UsageError, match="leave one length free"):
        export.litert(kbig.models.mlp((4,), 3), file, lengths=(2,))
    with pytest.raises(UsageError, match="needs no other signatures"):
        export.litert(bert, file, samples=BERT, lengths=(2,), free=("length",))
    with pytest.raises(UsageError, match="option of LiteRT files"):
        export.artefacts(
            bert, tmp_path, ["onnx-float32"], samples=BERT, lengths=(2,)
        )
    with pytest.raises(UsageError, match="representative"):
        export.litert(
            bert, file, "int8", samples=BERT, representative=BERT, lengths=(2,)
        )
