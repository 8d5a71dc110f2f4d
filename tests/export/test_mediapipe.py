"""LiteRT files under MediaPipe: its schema reads them, its tasks run them.

MediaPipe is none of kbig's dependencies: `pip install mediapipe`, or these
tests are skipped.
"""

import importlib.util
import pathlib

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from kbig import data
from kbig import export
from kbig import models
from tests import text_models
from tests.text_models import CLASSES
from tests.text_models import LENGTH
from tests.text_models import TEXTS
from tests.text_models import text_classifier

pytestmark = pytest.mark.slow
FOUND = importlib.util.find_spec("mediapipe")
if FOUND is None:
    pytest.skip("needs mediapipe", allow_module_level=True)

BYTES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), "uint8")
IMAGE_NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def text_model():
    model, _, tokenizer = text_classifier()
    return model, tokenizer


@pytest.fixture(scope="module")
def text_file(text_model, tmp_path_factory):
    model, tokenizer = text_model
    folder = tmp_path_factory.mktemp("text")
    report = text_models.exported(model, tokenizer, folder, ["litert-float32"])
    return report.artefacts[0].path


@pytest.fixture(scope="module")
def said(text_file):
    """The metadata as MediaPipe's own schema has them."""
    # By its path: to import mediapipe takes more than its schema does.
    folder = pathlib.Path(FOUND.origin).parent / "tasks" / "metadata"
    spec = importlib.util.spec_from_file_location(
        "metadata_schema", folder / "metadata_schema_py_generated.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = pathlib.Path(text_file).read_bytes()
    model = schema.Model.GetRootAsModel(content, 0)
    entries = [model.Metadata(x) for x in range(model.MetadataLength())]
    (entry,) = [x for x in entries if x.Name() == b"TFLITE_METADATA"]
    buffer = bytes(model.Buffers(entry.Buffer()).DataAsNumpy())
    root = module.ModelMetadata
    assert root.ModelMetadataBufferHasIdentifier(buffer, 0)
    found = root.GetRootAsModelMetadata(buffer, 0)
    return module, module.ModelMetadataT.InitFromObj(found)


def test_its_schema_finds_the_same_fields(said):
    module, root = said
    assert root.name == b"topics"
    assert root.minParserVersion == b"1.1.0"
    assert root.associatedFiles is None
    (graph,) = root.subgraphMetadata
    names = sorted(x.name for x in graph.inputTensorMetadata)
    assert names == [b"ids", b"mask", b"segment_ids"]
    for tensor in graph.inputTensorMetadata:
        what = tensor.content.contentProperties
        assert isinstance(what, module.FeaturePropertiesT)
    (unit,) = graph.inputProcessUnits
    assert isinstance(unit.options, module.BertTokenizerOptionsT)
    (vocabulary,) = unit.options.vocabFile
    assert vocabulary.name == b"vocab.txt"
    assert vocabulary.type == module.AssociatedFileType.VOCABULARY
    (output,) = graph.outputTensorMetadata
    (labels,) = output.associatedFiles
    assert (output.name, labels.name) == (b"logits", b"labels.txt")
    assert labels.type == module.AssociatedFileType.TENSOR_AXIS_LABELS


def test_its_text_classifier_says_what_the_model_says(text_file, text_model):
    text = pytest.importorskip("mediapipe.tasks.python.text")
    model, tokenizer = text_model
    asked = ["The CAT sat on the mat", *TEXTS, ""]
    inputs = data.encode(asked, tokenizer, LENGTH)
    expected = model.predict(inputs, verbose=0)
    with text.TextClassifier.create_from_model_path(text_file) as classifier:
        for sentence, logits in zip(asked, expected):
            check(classifier.classify(sentence), CLASSES, logits)


def check(result, class_names, logits):
    (head,) = result.classifications
    assert head.head_name == "logits"
    found = {x.category_name: x.score for x in head.categories}
    assert set(found) == set(class_names)
    scores = [found[name] for name in class_names]
    np.testing.assert_allclose(scores, logits, atol=1e-5)


@pytest.mark.parametrize("scale, pixels", [(1, False), (1, True), (255, False)])
def test_its_image_classifier_says_what_the_model_says(scale, pixels, tmp_path):
    mediapipe = pytest.importorskip("mediapipe")
    vision = mediapipe.tasks.vision
    options = {"rescale": 1 / 255} if scale == 1 else {}
    model = models.cnn((16, 16, 3), 3, filters=(8,), **options)
    rows = BYTES.astype("float32") / scale
    report = export.artefacts(
        model,
        tmp_path,
        ["litert-float32"],
        samples=rows,
        class_names=IMAGE_NAMES,
        pixels=pixels,
    )
    path = report.artefacts[0].path
    expected = model.predict(rows, verbose=0)
    with vision.ImageClassifier.create_from_model_path(path) as classifier:
        for pixel_row, logits in zip(BYTES, expected):
            image = mediapipe.Image(
                image_format=mediapipe.ImageFormat.SRGB, data=pixel_row
            )
            check(classifier.classify(image), IMAGE_NAMES, logits)
