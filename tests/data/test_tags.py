import gzip

import numpy as np
import pytest

from kbig.data import catalog
from kbig.data.tags import to_bio
from kbig.errors import DataError
from kbig.errors import UsageError

CONLL = """-DOCSTART- -X- -X- O

U.N. NNP I-NP I-ORG
official NN I-NP O
Ekeus NNP I-NP I-PER
heads VBZ I-VP O
. . O O

Rolf NNP I-NP I-PER
Ekeus NNP I-NP I-PER
Jane NNP I-NP B-PER
"""


def split_files(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.conll").write_text(content, encoding="utf-8")
    return folder


def sentence(index):
    return f"word{index} B-X\nmore I-X\nand O\n"


@pytest.mark.parametrize(
    "given, expected",
    [
        # The same spans in IOB1, BIO, IOBES and BILOU.
        ("I-A I-A O I-B B-B", "B-A I-A O B-B B-B"),
        ("B-A I-A O B-B B-B", "B-A I-A O B-B B-B"),
        ("B-A E-A O S-B S-B", "B-A I-A O B-B B-B"),
        ("B-A L-A O U-B U-B", "B-A I-A O B-B B-B"),
        ("I-A I-B I-B", "B-A B-B I-B"),
        ("S-A I-A E-A I-A", "B-A B-A I-A B-A"),
        ("B-A-B I-A-B O", "B-A-B I-A-B O"),
        ("", ""),
    ],
)
def test_schemes_become_bio(given, expected):
    assert to_bio(given.split()) == tuple(expected.split())


def test_folder_of_splits(tmp_path):
    folder = split_files(
        tmp_path,
        train=CONLL,
        valid="a O\nb I-ORG\n",
        test="x I-PER\r\ny I-PER\r\n\r\n\r\nz O\r\n",
    )
    data = catalog.load(folder)
    info = data.info
    assert info.kind == info.task == "tags"
    assert info.sizes == {"train": 2, "validation": 1, "test": 2}
    assert info.class_names == ("O", "B-ORG", "B-PER", "I-PER")
    assert info.shapes == {"x": (None,), "y": (None,)}
    assert "as given" in info.split
    words, tags = data.arrays("train")
    assert words.dtype == tags.dtype == object
    assert words.tolist() == [
        ("U.N.", "official", "Ekeus", "heads", "."),
        ("Rolf", "Ekeus", "Jane"),
    ]
    assert [row.tolist() for row in tags] == [[1, 0, 2, 0, 0], [2, 3, 2]]
    assert {row.dtype for row in tags} == {np.dtype(np.int32)}
    assert data.arrays("test")[0].tolist() == [("x", "y"), ("z",)]
    words, tags = next(data.train.as_numpy_iterator())
    assert words.tolist()[0] == b"U.N." and tags.tolist() == [1, 0, 2, 0, 0]


@pytest.mark.parametrize("suffix", [".conll", ".iob", ".bio", ".conll.gz"])
def test_a_file_is_split_by_hash(tmp_path, suffix):
    content = "\n".join(sentence(index) for index in range(100)).encode()
    path = tmp_path / f"ner{suffix}"
    path.write_bytes(
        gzip.compress(content) if suffix.endswith(".gz") else content
    )
    data = catalog.load(path)
    assert sum(data.info.sizes.values()) == 100
    assert min(data.info.sizes.values()) > 2
    assert "BLAKE2b" in data.info.split


@pytest.mark.parametrize("name", ["train.txt", "words.tsv"])
def test_other_suffixes_by_kind(tmp_path, name):
    content = "\n".join(sentence(index) for index in range(100))
    path = tmp_path / name
    path.write_text(content.replace(" ", "\t"))
    data = catalog.load(path, kind="tags")
    assert data.info.class_names == ("O", "B-X", "I-X")


def test_words_may_hold_spaces_between_tabs_and_no_break_spaces(tmp_path):
    folder = split_files(
        tmp_path,
        train="New York\tB-LOC\nis\tO\n",
        dev="a\u00a0b B-LOC\nis O\n",
        test="#\tO\n",
    )
    data = catalog.load(folder)
    assert data.arrays("train")[0].tolist() == [("New York", "is")]
    assert data.arrays("validation")[0].tolist() == [("a\u00a0b", "is")]
    assert data.arrays("test")[0].tolist() == [("#",)]


def test_parts_of_speech_stay_as_they_are(tmp_path):
    folder = split_files(
        tmp_path,
        train="the DT\ndog NN\nS-one S-X\n",
        dev="a DT\n",
        test="a NN\n",
    )
    data = catalog.load(folder)
    assert data.info.class_names == ("DT", "NN", "S-X")
    assert data.arrays("test")[1][0].tolist() == [1]


@pytest.mark.parametrize(
    "line, message",
    [
        ("word", "line 4: expected 2 columns divided by spaces"),
        ("a b B-X", "line 4: .*Received: 3 columns in 'a b B-X'"),
        ("a NN", "line 4: a tag must be O.*Received: 'NN'"),
        ("a B-", "line 4: a tag must be O.*Received: 'B-'"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "ner.conll"
    path.write_text(sentence(0) + line + "\n")
    with pytest.raises(DataError, match=f"ner.conll, {message}"):
        catalog.load(path)


@pytest.mark.parametrize(
    "line, message",
    [("\tO", "the word is empty"), ("a\t ", "the tag is empty")],
)
def test_empty_cells_are_named(tmp_path, line, message):
    path = tmp_path / "ner.conll"
    path.write_text(f"a\tO\n{line}\n")
    with pytest.raises(DataError, match=f"ner.conll, line 2: {message}"):
        catalog.load(path)


def test_what_only_one_split_has(tmp_path):
    folder = split_files(
        tmp_path, train="a B-X\nb O\n", dev="a I-X\n", test="a O\nb B-Y\n"
    )
    with pytest.raises(DataError, match="test.conll, line 2: tag 'B-Y' is on"):
        catalog.load(folder)
    # `I-X` alone becomes `B-X`, which training shows.
    split_files(tmp_path, test="a B-X\nb I-X\n")
    assert catalog.load(folder).info.class_names == ("O", "B-X", "I-X")


def test_files_that_cannot_be_used(tmp_path):
    path = tmp_path / "ner.conll"
    path.write_text("-DOCSTART- O\n\n")
    with pytest.raises(DataError, match="holds no word with a tag"):
        catalog.load(path)
    path.write_text("a NN\n\nb NN\n\nc NN\n")
    with pytest.raises(DataError, match="line 1: there must be two tags"):
        catalog.load(path)
    path.write_text("a O\nb B-X\n")
    with pytest.raises(DataError, match="too few distinct examples"):
        catalog.load(path)
    with pytest.raises(DataError, match="ner.conll: files of a folder must"):
        catalog.load(tmp_path)
    path.rename(tmp_path / "test.conll")
    with pytest.raises(DataError, match="must hold a training file"):
        catalog.load(tmp_path)
    with pytest.raises(UsageError, match="no option 'task'"):
        catalog.load(tmp_path / "test.conll", task="tags")
