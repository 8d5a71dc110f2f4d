import json
import lzma

import numpy as np
import pytest

from kbig.data import catalog
from kbig.data.corpora import split_documents
from kbig.data.splits import content_position
from kbig.errors import DataError
from kbig.errors import UsageError


@pytest.mark.parametrize("name", catalog.EMBEDDED)
def test_every_embedded_set_keeps_the_contract(name):
    data = catalog.load(name)
    info = data.info
    assert info.name == name and info.licence != "unknown" and info.split
    assert set(info.sizes) == {"train", "validation", "test"}
    assert json.loads(json.dumps(info.to_dict()))["kind"] == info.kind
    assert str(info).startswith(f"name         {name}\n")
    x, y = data.arrays("validation")
    assert len(x) == info.sizes["validation"] > 0
    assert (y is None) == (info.kind == "corpus")
    if info.class_names:
        assert set(y) == set(range(len(info.class_names)))


def test_fashion_mnist_small():
    data = catalog.load("fashion-mnist-small")
    assert data.info.shapes == {"x": (28, 28, 1), "y": ()}
    assert data.info.sizes["train"] + data.info.sizes["validation"] == 5000
    _, labels = data.arrays("test")
    np.testing.assert_array_equal(np.bincount(labels), [100] * 10)


def test_wordnet_topics():
    info = catalog.load("wordnet-topics").info
    assert info.sizes == {"train": 46_922, "validation": 2000, "test": 2000}
    topics = "act animal artifact body food location person plant"
    assert info.class_names == tuple(topics.split())


def test_austen():
    data = catalog.load("austen")
    documents = [d for s in data.info.sizes for d in data.arrays(s)[0]]
    assert len(documents) == 293
    assert sum(d.count("\n") + 1 for d in documents) == 9986


def test_unknown_names_list_what_there_is_nearest_first():
    with pytest.raises(UsageError) as error:
        catalog.load("fashion_mnist")
    message = str(error.value)
    names = message.split("nearest first: ")[1].split(". ")[0].split(", ")
    assert names[0] == "fashion-mnist-small"
    assert set(names) == set(catalog.EMBEDDED)
    forms = "tfds:<name>", ".csv", ".conll", ".npz", ".txt", "folder of images"
    for form in forms:
        assert form in message


def test_unknown_options_list_the_accepted_ones(tmp_path):
    with pytest.raises(UsageError, match="past, every, horizon, period"):
        catalog.load("sea-surface-temperature", window=3)
    with pytest.raises(UsageError, match="'horizn'. Did you mean 'horizon'"):
        catalog.load("sea-surface-temperature", horizn=3)
    with pytest.raises(UsageError, match="Options of austen: none"):
        catalog.load("austen", past=3)
    (tmp_path / "t.csv").write_text("text,label\na,b\n")
    with pytest.raises(UsageError, match="text_column, label_column"):
        catalog.load(tmp_path / "t.csv", column="x")


def test_unknown_forms_and_kinds(tmp_path):
    (tmp_path / "t.pdf").write_text("x")
    with pytest.raises(UsageError, match="none of the forms"):
        catalog.load(tmp_path / "t.pdf")
    (tmp_path / "t.txt").write_text("x")
    with pytest.raises(UsageError, match="as corpus, tags. Received: kind"):
        catalog.load(tmp_path / "t.txt", kind="image")


def test_arrays_of_an_unknown_split():
    with pytest.raises(UsageError, match="split='dev'"):
        catalog.load("austen").arrays("dev")


def test_documents_end_at_empty_lines():
    text = "\n\none\r\n two \n \n\nthree\n"
    assert split_documents(text) == ["one\ntwo", "three"]


def test_folders_of_text_with_and_without_splits(tmp_path):
    for split, count in (("train", 5), ("validation", 1), ("test", 2)):
        (tmp_path / split).mkdir()
        for i in range(count):
            content = f"{split} {i}\nsecond\n\n{split} {i} more".encode()
            path = tmp_path / split / f"{i}.txt.xz"
            path.write_bytes(lzma.compress(content))
    data = catalog.load(tmp_path)
    assert data.info.kind == "corpus" and data.info.shapes == {"x": ()}
    assert data.info.sizes == {"train": 10, "validation": 2, "test": 4}
    documents, labels = data.arrays("validation")
    assert list(documents) == ["validation 0\nsecond", "validation 0 more"]
    assert labels is None
    sizes = catalog.load(tmp_path / "train").info.sizes
    assert sum(sizes.values()) == 10 and min(sizes.values()) >= 1


def test_few_documents_are_split_by_paragraphs(tmp_path):
    paragraphs = [f"paragraph {i}" for i in range(300)]
    for name, part in (("a", paragraphs[:200]), ("b", paragraphs[200:])):
        (tmp_path / f"{name}.txt").write_text("\n".join(part))
    expected = {"train": [], "validation": [], "test": []}
    for paragraph in paragraphs:
        tenth = int(content_position(paragraph.encode()) * 10)
        split = {0: "validation", 1: "test"}.get(tenth, "train")
        expected[split].append(paragraph)
    data = catalog.load(tmp_path)
    for split, documents in expected.items():
        assert list(data.arrays(split)[0]) == documents
    assert data.info.split.endswith("so each paragraph is a document.")
    sizes = catalog.load(tmp_path / "a.txt").info.sizes
    assert sum(sizes.values()) == 200 and min(sizes.values()) > 5


@pytest.mark.parametrize("count, size", [(9, 18), (10, 10)])
def test_ten_documents_are_enough_to_stay_whole(tmp_path, count, size):
    text = "\n\n".join(f"{i}\nmore of {i}" for i in range(count))
    (tmp_path / "t.txt").write_text(text)
    info = catalog.load(tmp_path / "t.txt").info
    assert sum(info.sizes.values()) == size
    assert ("paragraph" in info.split) == (count < 10)


def test_few_documents_whose_splits_are_given_stay_whole(tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "t.txt").write_text(f"{split}\nsecond\n")
    data = catalog.load(tmp_path)
    assert data.info.sizes == {"train": 1, "validation": 1, "test": 1}
    assert list(data.arrays("test")[0]) == ["test\nsecond"]


def test_corpora_of_two_paragraphs_cannot_be_split(tmp_path):
    (tmp_path / "t.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="t.txt: too few .* Received: 2 dist"):
        catalog.load(tmp_path / "t.txt")
