import json
import re

import numpy as np
import pytest

from kbig.data import catalog
from kbig.data.labels import encode_labels
from kbig.data.labels import sort_class_names
from kbig.data.splits import content_position
from kbig.errors import DataError
from kbig.errors import UsageError


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


def test_texts_without_labels_are_documents(tmp_path):
    rows = [
        {"body": f" first {i}\r\n\n  second ", "fold": fold, "label": None}
        for i, fold in enumerate(["train"] * 3 + ["dev", "test"])
    ]
    path = write(
        tmp_path / "t.jsonl",
        [json.dumps(row) for row in rows[1:]],
        header=json.dumps(rows[0]),
    )
    data = catalog.load(
        path, kind="corpus", text_column="body", split_column="fold"
    )
    assert data.info.kind == "corpus" and data.info.class_names == ()
    assert data.info.sizes == {"train": 3, "validation": 1, "test": 1}
    documents, labels = data.arrays("validation")
    assert list(documents) == ["first 3\nsecond"] and labels is None
    with pytest.raises(DataError, match="no column 'text'"):
        catalog.load(path, kind="corpus")


def test_documents_of_a_table_are_split_by_hash(tmp_path):
    path = write(tmp_path / "t.csv", [f"text {i}" for i in range(200)], "text")
    data = catalog.load(path, kind="corpus")
    for split in data.info.sizes:
        documents, _ = data.arrays(split)
        tenths = {int(content_position(d.encode()) * 10) for d in documents}
        wanted = {"validation": {0}, "test": {1}}.get(split, set(range(2, 10)))
        assert tenths == wanted
    with pytest.raises(UsageError, match="no option 'label_column'"):
        catalog.load(path, kind="corpus", label_column="label")
    path = write(tmp_path / "u.csv", ["a,train", '" ",train'], "text,split")
    with pytest.raises(DataError, match="line 3: 'text' must be text"):
        catalog.load(path, kind="corpus")


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


PAIRS = [
    "a cat,a dog,3.5,train",
    "a cat,a car,-1,train",
    "x,y,2e0,dev",
    "x,z,0,test",
]


def test_pairs_and_values(tmp_path):
    path = write(tmp_path / "t.csv", PAIRS, "first,second,score,split")
    data = catalog.load(
        path,
        text_column="first",
        pair_column="second",
        label_column="score",
        task="regression",
    )
    assert data.info.task == "regression" and data.info.class_names == ()
    assert data.info.shapes == {"x": (2,), "y": ()}
    texts, values = data.arrays("train")
    assert texts.tolist() == [["a cat", "a dog"], ["a cat", "a car"]]
    assert values.tolist() == [3.5, -1] and values.dtype == np.float32
    pair, value = next(data.test.as_numpy_iterator())
    assert pair.tolist() == [b"x", b"z"] and value == 0


def test_pairs_are_split_by_both_texts(tmp_path):
    rows = [f"same,other {i},{i % 2}" for i in range(200)]
    path = write(tmp_path / "t.csv", rows, "text,pair,label")
    data = catalog.load(path, pair_column="pair")
    assert min(data.info.sizes.values()) > 5
    assert data.info.task == "classification"
    assert data.info.class_names == ("0", "1")


def test_values_in_json_and_splits_by_hash(tmp_path):
    rows = [json.dumps({"text": f"t{i}", "label": i / 8}) for i in range(99)]
    data = catalog.load(
        write(tmp_path / "t.jsonl", rows[1:], rows[0]), task="regression"
    )
    texts, values = data.arrays("train")
    assert [int(text[1:]) / 8 for text in texts] == values.tolist()
    assert min(data.info.sizes.values()) > 2


@pytest.mark.parametrize(
    "value", ["", "high", "nan", "inf", "1e39", "1e999", "1,5"]
)
def test_values_that_are_no_numbers(tmp_path, value):
    rows = ["a,1,train", "b,2,train", f'c,"{value}",train']
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match="line 4: 'label' must be a finite nu"):
        catalog.load(path, task="regression")


@pytest.mark.parametrize("value", [True, None, [1], "NaN"])
def test_values_in_json_that_are_no_numbers(tmp_path, value):
    row = json.dumps({"text": "a", "label": value})
    path = write(tmp_path / "t.jsonl", [], header=row)
    with pytest.raises(DataError, match="line 1: 'label' must be a finite nu"):
        catalog.load(path, task="regression")


def test_one_value_is_not_enough(tmp_path):
    rows = [f"text {i},2" for i in range(50)]
    path = write(tmp_path / "t.csv", rows, "text,label")
    with pytest.raises(DataError, match="two values or more"):
        catalog.load(path, task="regression")


def test_any_number_of_labels(tmp_path):
    rows = [
        "p,red|blue,train",
        "q, red ,train",
        "r,,train",
        's,"[""blue"", 7]",train',
        "t,blue|blue,val",
        "u,,test",
    ]
    path = write(tmp_path / "t.csv", rows)
    data = catalog.load(path, task="multilabel")
    assert data.info.task == "multilabel"
    assert data.info.class_names == ("7", "blue", "red")
    assert data.info.shapes == {"x": (), "y": (3,)}
    labels = data.arrays("train")[1]
    assert labels.dtype == np.float32
    assert labels.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]
    assert data.arrays("validation")[1].tolist() == [[0, 1, 0]]
    assert data.arrays("test")[1].tolist() == [[0, 0, 0]]


def test_label_sets_in_json_split_by_hash_keep_rare_labels(tmp_path):
    sets = [["a"], ["a", "b"], [], None, "a|b", 3] * 40
    sets[17] = ["rare"]
    rows = [
        json.dumps({"text": f"t{i}", "label": labels})
        for i, labels in enumerate(sets)
    ]
    path = write(tmp_path / "t.jsonl", rows[1:], rows[0])
    data = catalog.load(path, task="multilabel")
    assert data.info.class_names == ("3", "a", "b", "rare")
    texts, labels = data.arrays("train")
    assert labels[:, 3].sum() == 1
    assert min(data.info.sizes.values()) > 5


@pytest.mark.parametrize(
    "labels, message",
    [
        ("a||b", "line 2: 'label' must be labels with '|' between"),
        ("[a", "line 2: 'label' must be labels with '|' between"),
        ("[1.5]", "line 2: 'label' must be labels with '|' between"),
        ("c", "line 4: label 'b' is only in the test split"),
    ],
)
def test_label_sets_that_cannot_be_used(tmp_path, labels, message):
    rows = [f"p,{labels},train", "q,,val", "r,b,test"]
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(DataError, match=re.escape(message)):
        catalog.load(path, task="multilabel")


def test_rows_without_any_label(tmp_path):
    rows = [f"text {i}," for i in range(50)]
    path = write(tmp_path / "t.csv", rows, "text,label")
    with pytest.raises(DataError, match="no training example has a label"):
        catalog.load(path, task="multilabel")


def test_unknown_tasks_and_columns_are_named(tmp_path):
    path = write(tmp_path / "t.csv", ROWS)
    with pytest.raises(UsageError, match="Received: task='multi'"):
        catalog.load(path, task="multi")
    with pytest.raises(DataError, match="no column 'second'"):
        catalog.load(path, pair_column="second")
    rows = ["a,,1,train"]
    path = write(tmp_path / "p.csv", rows, "text,pair,label,split")
    with pytest.raises(DataError, match="line 2: 'pair' must be text"):
        catalog.load(path, pair_column="pair")
