"""LiteRT files that take rows of any number and length."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from kbig import export
from kbig.errors import GateError
from kbig.errors import UsageError
from tests.export.matrix import BERT
from tests.export.matrix import BUILDERS
from tests.export.matrix import trained
from tests.text_models import TEXTS
from tests.text_models import text_classifier


@pytest.fixture(scope="module")
def bert():
    model, _ = trained("BERT classifier")
    return model


@pytest.fixture(scope="module")
def file(bert, tmp_path_factory):
    file = tmp_path_factory.mktemp("free") / "bert.tflite"
    free = ("batch", "length")
    report = export.litert(bert, file, samples=BERT, free=free)
    assert report.passed
    return file


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 3), (32, 4)])
def test_any_shape_gives_what_the_model_gives(bert, file, shape):
    rows, steps = shape
    given = {name: x[:rows, :steps] for name, x in BERT.items()}
    runner = Interpreter(str(file), num_threads=1).get_signature_runner()
    got = runner(**given)["logits"]
    expected = bert.predict(given, verbose=0)
    assert got.shape == (rows, 3)
    np.testing.assert_allclose(got, expected, atol=1e-5, rtol=0)


def test_every_input_says_that_it_is_free(file):
    details = Interpreter(str(file)).get_input_details()
    assert {tuple(x["shape_signature"]) for x in details} == {(-1, -1)}


def test_without_it_the_shape_of_the_samples_is_fixed(bert, tmp_path):
    file = tmp_path / "bert.tflite"
    export.litert(bert, file, samples=BERT)
    details = Interpreter(str(file)).get_input_details()
    assert {tuple(x["shape_signature"]) for x in details} == {(1, 6)}


@pytest.mark.ci
def test_of_several_formats_the_litert_files_are_free(bert, tmp_path):
    report = export.artefacts(
        bert,
        tmp_path,
        ["litert-dynamic", "onnx-float32"],
        samples=BERT,
        free=("length",),
    )
    file = report.artefacts[0].path
    details = Interpreter(file).get_input_details()
    assert {tuple(x["shape_signature"]) for x in details} == {(1, -1)}


@pytest.mark.ci
def test_a_server_beside_it_is_asked_whole_texts(tmp_path):
    model, _, tokenizer = text_classifier()
    texts = np.array(["a cat sat " * 20, "", TEXTS[0]])
    report = export.artefacts(
        model,
        tmp_path,
        ["savedmodel", "litert-float32"],
        samples=texts,
        tokenizer=tokenizer,
        sequence_length=12,
        free=("length",),
    )
    assert report.passed


@pytest.mark.ci
def test_a_file_that_is_wrong_at_another_length_is_not_published(
    bert, tmp_path, monkeypatch
):
    from kbig.export import runtime

    def only_whole_rows(self, samples):
        outputs = run(self, samples)
        if samples["token_ids"].shape[1] < 6:
            outputs["serving_default"]["logits"] += 1
        return outputs

    run = runtime.ArtefactProcess.run
    monkeypatch.setattr(runtime.ArtefactProcess, "run", only_whole_rows)
    with pytest.raises(GateError, match="differ"):
        export.litert(
            bert, tmp_path / "b.tflite", samples=BERT, free=("length",)
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "mode", "free", "message"),
    [
        ("BERT classifier", "float32", ("rows",), "among batch, length"),
        ("BERT classifier", "float32", "batch", "as a tuple"),
        ("BERT classifier", "int16", ("length",), "take mode dynamic"),
        ("MLP", "float32", ("length",), "free where it is in the model"),
    ],
)
def test_what_cannot_be_free_is_said_first(name, mode, free, message, tmp_path):
    build, x = BUILDERS[name]
    with pytest.raises(UsageError, match=message):
        export.litert(
            build(), tmp_path / "m.tflite", mode, samples=x, free=free
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.ci
def test_a_convolution_takes_any_number_of_images(tmp_path):
    model, x = trained("CNN, residual")
    quantized_file = tmp_path / "cnn.tflite"
    export.litert(
        model,
        quantized_file,
        "int8",
        samples=x,
        representative=x,
        free=("batch",),
    )
    runner = Interpreter(str(quantized_file)).get_signature_runner()
    (name,) = runner.get_input_details()
    together = next(iter(runner(**{name: x[:7]}).values()))
    alone = [
        next(iter(runner(**{name: x[i : i + 1]}).values())) for i in (0, 6)
    ]
    np.testing.assert_array_equal(together[[0, 6]], np.concatenate(alone))
