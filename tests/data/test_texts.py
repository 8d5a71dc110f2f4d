import json

import numpy as np
import pytest

from kbig.data import catalog
from kbig.data.labels import encode_labels
from kbig.data.labels import sort_class_names
from kbig.errors import DataError


def write(path, rows, header="text,label,split"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


ROWS = ["b,10,train", "a,9,train", "c,9,val", "d,10,test", "e,10,train"]


def test_integer_labels_sort_as_numbers(tmp_path):
    data = catalog.load(write(tmp_path / "t.csv", ROWS))
    assert data.info.class_names == ("9", "10")
    assert data.info.sizes == {"train": 3, "validation": 1, "test": 1}
    texts, labels = data.arrays("train")
    assert list(texts) == ["b", "a", "e"]
    assert list(labels) == [1, 0, 1] and labels.dtype == np.int32
    assert list(data.arrays("validation")[0]) == ["c"]


def test_columns_of_other_names_in_json_lines(tmp_path):
    rows = [
        {"body": f"text {i}", "topic": "ab"[i % 2], "fold": fold}
        for i, fold in enumerate(["train"] * 4 + ["dev"] * 2 + ["test"] * 2)
    ]
    path = write(
        tmp_path / "t.jsonl",
        [json.dumps(row) for row in rows[1:]],
        header=json.dumps(rows[0]),
    )
    data = catalog.load(
        path, text_column="body", label_column="topic", split_column="fold"
    )
    assert data.info.class_names == ("a", "b")
    assert list(data.arrays("test")[1]) == [0, 1]


def test_without_a_split_column_texts_are_split_by_hash(tmp_path):
    rows = [f"text {i % 200},{i % 2}" for i in range(400)]
    data = catalog.load(write(tmp_path / "t.csv", rows, "text,label"))
    texts = {s: set(data.arrays(s)[0]) for s in data.info.sizes}
    assert sum(map(len, texts.values())) == 200
    assert sum(data.info.sizes.values()) == 400
    assert min(map(len, texts.values())) > 5


@pytest.mark.parametrize(
    "row, message",
    [
        (",a,train", "line 7: 'text' must be text"),
        (" ,a,train", "line 7: 'text' must be text"),
        ("f,,train", "line 7: 'label' must be a string or an integer"),
        ("f,9,testing", "line 7: 'split' must be one of train"),
        ("f,11,test", "line 7: label '11' is only in the test split"),
        ("f,11,val", "line 7: label '11' is only in the validation split"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        catalog.load(write(tmp_path / "t.csv", [*ROWS, row]))


@pytest.mark.parametrize("label", [True, 1.5, None, ["a"]])
def test_labels_in_json_are_strings_or_integers(tmp_path, label):
    row = json.dumps({"text": "a", "label": label})
    path = write(tmp_path / "t.jsonl", [], header=row)
    with pytest.raises(DataError, match="line 1: 'label' must be a string"):
        catalog.load(path)


@pytest.mark.parametrize("split", [None, 1, ["train"]])
def test_splits_in_json_are_names(tmp_path, split):
    row = json.dumps({"text": "a", "label": "b", "split": split})
    path = write(tmp_path / "t.jsonl", [], header=row)
    with pytest.raises(DataError, match="line 1: 'split' must be one of"):
        catalog.load(path)


def test_one_class_is_not_enough(tmp_path):
    rows = [f"text {i},a" for i in range(50)]
    with pytest.raises(DataError, match="two classes or more"):
        catalog.load(write(tmp_path / "t.csv", rows, "text,label"))


def test_class_names_sort_by_value_only_when_all_are_integers():
    assert sort_class_names({"10", "9", "-1"}) == ("-1", "9", "10")
    assert sort_class_names({"10", "9", "x"}) == ("10", "9", "x")


def test_labels_are_numbered_by_class_name():
    numbers, names = encode_labels(
        ["b", "a", "b"], np.array(["train", "train", "test"]), str
    )
    assert names == ("a", "b") and list(numbers) == [1, 0, 1]
