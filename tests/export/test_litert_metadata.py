"""What a .tflite file says of itself, read by the numbers of the schema."""

import time
import zipfile

import keras
import keras_hub
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import Builder

import kbig
from kbig import data
from kbig.export.formats import FORMATS
from kbig.export.litert_metadata import add_metadata
from kbig.export.litert_root import with_metadata
from kbig.export.publish import job_of
from kbig.inspection import litert
from kbig.inspection.description import BrokenFileError
from tests.export import tflite_metadata as fbs
from tests.export.tflite_metadata import child
from tests.export.tflite_metadata import children
from tests.export.tflite_metadata import files
from tests.export.tflite_metadata import floats
from tests.export.tflite_metadata import metadata
from tests.export.tflite_metadata import names
from tests.export.tflite_metadata import parsed
from tests.export.tflite_metadata import place
from tests.export.tflite_metadata import small
from tests.export.tflite_metadata import text
from tests.text_models import CLASSES
from tests.text_models import TEXTS
from tests.text_models import text_classifier

LENGTH = 12


def write(model, folder, **options):
    job = job_of(model, "topics", **options)
    return FORMATS["litert-float32"].write(job, folder)


def write_text(folder, make_tokenizer=data.tokenizer, **options):
    model, _, tokenizer = text_classifier()
    return write(
        model,
        folder,
        samples=TEXTS,
        tokenizer=make_tokenizer(tokenizer.get_vocabulary(), **options),
        sequence_length=LENGTH,
        class_names=("ani\nmal", *CLASSES[1:]),
    )


@pytest.fixture(scope="module")
def text_file(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def image_file(tmp_path_factory):
    """Two outputs of an image; the three classes are those of the second."""
    images = keras.Input((4, 4, 3), name="images")
    x = keras.layers.Flatten()(images)
    outputs = {
        "classes": keras.layers.Dense(3, name="classes")(x),
        "box": keras.layers.Dense(4, name="box")(x),
    }
    model = keras.Model(images, outputs)
    return write(model, tmp_path_factory.mktemp("image"), samples=None)


@pytest.mark.ci
def test_the_model_is_named(text_file):
    root, _ = metadata(text_file)
    assert text(root, fbs.NAME) == "topics"
    assert kbig.__version__ in text(root, fbs.DESCRIPTION)
    assert text(root, fbs.MIN_VERSION) == "1.1.0"  # It knows tokenizers.


def test_inputs_stand_in_the_order_of_the_graph(text_file):
    _, graph = metadata(text_file)
    interpreter = Interpreter(model_path=str(text_file))
    called = {
        "serving_default_token_ids:0": "ids",
        "serving_default_padding_mask:0": "mask",
        "serving_default_segment_ids:0": "segment_ids",
    }
    details = interpreter.get_input_details()
    expected = [called[x["name"]] for x in details]
    inputs = children(graph, fbs.INPUTS)
    assert names(inputs) == expected
    assert [small(child(x, fbs.CONTENT), 0) for x in inputs] == [
        fbs.FEATURE
    ] * 3
    described = dict(zip(expected, (text(x, fbs.DESCRIPTION) for x in inputs)))
    assert described["mask"].startswith("padding_mask: ")


def test_texts_are_cut_by_the_vocabulary(text_file):
    root, graph = metadata(text_file)
    (unit,) = children(graph, fbs.INPUT_UNITS)
    assert small(unit, 0) == fbs.BERT_TOKENIZER
    assert files(children(child(unit, 1), 0)) == [("vocab.txt", fbs.VOCABULARY)]
    (output,) = children(graph, fbs.OUTPUTS)
    assert text(output, fbs.NAME) == "logits"
    assert files(children(output, fbs.TENSOR_FILES)) == [
        ("labels.txt", fbs.AXIS_LABELS)
    ]
    assert not children(root, fbs.FILES)


def test_the_files_lie_in_the_file_as_they_are(text_file):
    content = text_file.read_bytes()
    with zipfile.ZipFile(text_file) as archive:
        labels, vocabulary = archive.infolist()
        assert archive.read("labels.txt") == b"ani mal\nplant\nact\n"
        lines = archive.read("vocab.txt").decode().split("\n")
    assert lines == [*text_classifier()[2].get_vocabulary(), ""]
    assert labels.compress_type == zipfile.ZIP_STORED
    assert vocabulary.compress_type == zipfile.ZIP_STORED
    assert b"ani mal\nplant\nact\n" in content
    assert labels.date_time == (1980, 1, 1, 0, 0, 0)
    assert labels.external_attr >> 16 == 0o644  # To be read once unpacked.


def test_the_same_is_added_at_another_time(image_file, tmp_path, monkeypatch):
    made = []
    for now in (1.0e9, 1.7e9):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        path = tmp_path / f"{now}.tflite"
        path.write_bytes(bare(image_file))
        add_metadata(path, "m", {"images": BYTES}, {"labels.txt": "a"})
        made.append(path.read_bytes())
    assert made[0] == made[1]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "make_tokenizer", [data.tokenizer, keras_hub.models.BertTokenizer]
)
def test_mediapipe_folds_the_case_so_a_cased_model_tells_it_no_tokenizer(
    make_tokenizer, tmp_path
):
    path = write_text(tmp_path, make_tokenizer, lowercase=False)
    root, graph = metadata(path)
    assert not children(graph, fbs.INPUT_UNITS)
    assert files(children(root, fbs.FILES)) == [("vocab.txt", fbs.VOCABULARY)]
    assert text(root, fbs.MIN_VERSION) == "1.0.1"
    assert "token_ids" in names(children(graph, fbs.INPUTS))


GENERATOR = np.random.default_rng(0)
BYTES = GENERATOR.integers(0, 256, (9, 4, 4, 3)).astype("float32")


@pytest.mark.parametrize(
    "rows, std",
    [(BYTES, 1), (BYTES / 255, 255), (BYTES - 128, None), (BYTES / 7, None)],
    ids=["bytes", "shares", "signed", "other"],
)
def test_pixels_are_divided_by_what_the_samples_show(
    rows, std, image_file, tmp_path
):
    path = tmp_path / "m.tflite"
    path.write_bytes(image_file.read_bytes())
    add_metadata(path, "m", {"images": rows}, {})
    model = schema.Model.GetRootAsModel(path.read_bytes(), 0)
    last = model.Buffers(model.BuffersLength() - 1).DataAsNumpy().tobytes()
    root, graph = parsed(last)
    assert text(root, fbs.MIN_VERSION) == "1.0.0"
    (image,) = children(graph, fbs.INPUTS)
    what = child(image, fbs.CONTENT)
    assert small(what, 0) == fbs.IMAGE
    assert small(child(what, 1), 0) == 1  # RGB
    if std is None:
        assert not children(image, fbs.UNITS)
        return
    (unit,) = children(image, fbs.UNITS)
    assert small(unit, 0) == fbs.NORMALIZATION
    assert floats(child(unit, 1), 0) == [0]
    assert floats(child(unit, 1), 1) == [std]
    stats = child(image, fbs.STATS)
    assert (floats(stats, 0), floats(stats, 1)) == ([255 / std], [0])


@pytest.mark.parametrize(
    "labels, expected",
    [("a\nb\nc\n", "classes"), ("a\nb\nc\nd", "box"), ("a\n", None)],
)
def test_labels_belong_to_the_output_of_their_number(
    labels, expected, image_file, tmp_path
):
    path = tmp_path / "m.tflite"
    path.write_bytes(bare(image_file))
    rows = {"images": BYTES}
    texts = {"labels.txt": labels, "vocab.txt": "a", "notes.txt": ""}
    add_metadata(path, "m", rows, texts)
    root, graph = metadata(path)
    outputs = children(graph, fbs.OUTPUTS)
    shapes = [
        tuple(x["shape"])
        for x in Interpreter(model_path=str(path)).get_output_details()
    ]
    sizes = {"classes": (1, 3), "box": (1, 4)}
    assert [sizes[x] for x in names(outputs)] == shapes
    labelled = [x for x in outputs if children(x, fbs.TENSOR_FILES)]
    assert names(labelled) == ([expected] if expected else [])
    others = [("vocab.txt", fbs.VOCABULARY), ("notes.txt", 0)]
    if not expected:
        others.insert(0, ("labels.txt", fbs.AXIS_LABELS))
    assert files(children(root, fbs.FILES)) == others


def bare(path):
    """A model as it was converted, which stands behind the new root."""
    content = path.read_bytes()
    old = content.index(b"TFL3", 8) - 4
    return content[old:]


def test_the_model_behind_the_new_root_is_untouched(image_file):
    content = bare(image_file)
    added = with_metadata(content, b"said")
    start = len(added) - len(content) - -len(content) % 64
    assert added[start:].rstrip(b"\0") == content.rstrip(b"\0")
    assert start % 64 == 0
    before, after = (
        schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(x, 0))
        for x in (content, added)
    )
    *old, new = after.metadata
    assert [x.name for x in old] == [x.name for x in before.metadata]
    assert bytes(after.buffers[new.buffer].data) == b"said"
    assert len(after.buffers) == len(before.buffers) + 1
    assert after.version == before.version == 3
    assert after.description == before.description
    rows = BYTES[:1]
    for one, other in zip(answers(content, rows), answers(added, rows)):
        np.testing.assert_array_equal(one, other)


def answers(content, images):
    runner = Interpreter(model_content=content).get_signature_runner()
    return runner(images=images).values()


def test_a_file_whose_weights_lie_behind_the_flatbuffer_stays(image_file):
    root = schema.Model.GetRootAsModel(bare(image_file), 0)
    model = schema.ModelT.InitFromObj(root)
    model.buffers[1].offset = 4096  # From the beginning of the file.
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    content = bytes(builder.Output())
    assert with_metadata(content, b"said") == content


def test_inspect_shows_it(text_file):
    found = litert.read(text_file).metadata
    version = kbig.__version__
    assert found["TFLITE_METADATA"] == f"topics: Written by kbig {version}."
    inputs = found["metadata of inputs"].split(", ")
    assert sorted(inputs) == ["ids", "mask", "segment_ids"]
    assert found["metadata of outputs"] == "logits (labels.txt)"


def test_a_count_without_an_end_is_refused(text_file, tmp_path):
    root, _ = metadata(text_file)
    said, at = bytes(root.Bytes), root.Vector(place(root, fbs.GRAPHS)) - 4
    start = text_file.read_bytes().index(said) + at
    content = bytearray(text_file.read_bytes())
    content[start : start + 4] = b"\xff\xff\xff\x0f"
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(BrokenFileError, match="metadata count more"):
        litert.read(path)
