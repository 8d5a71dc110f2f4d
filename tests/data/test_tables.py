import csv
import gzip
import lzma

import pytest

from kbig.data.reading import read_text
from kbig.data.reading import suffix_of
from kbig.data.tables import read_table
from kbig.errors import DataError


def write(path, content):
    path.write_bytes(content)
    return path


def test_quoted_line_breaks_count_as_lines(tmp_path):
    content = b'text,label\n"one\ntwo, ""2""",a\n\nthree,b\n'
    table = read_table(write(tmp_path / "t.csv", content))
    assert table.column("text") == ['one\ntwo, "2"', "three"]
    assert table.lines == [2, 5]
    assert table.where(1) == f"{tmp_path / 't.csv'}, line 5"


@pytest.mark.parametrize("suffix, opener", [(".gz", gzip), (".xz", lzma)])
def test_compressed_tables_with_a_byte_order_mark(tmp_path, suffix, opener):
    path = tmp_path / f"t.TSV{suffix}"
    content = "\ufefftext\tlabel\r\né, è\ta\r\n".encode()
    table = read_table(write(path, opener.compress(content)))
    assert table.rows == [{"text": "é, è", "label": "a"}]
    assert suffix_of(path) == ".tsv"


def test_values_may_be_longer_than_the_usual_limit_of_csv(tmp_path):
    limit = csv.field_size_limit()
    text = "a" * (limit + 1)
    for content in (text, f'"{text}"'):
        path = write(tmp_path / "t.csv", f"text\n{content}\n".encode())
        assert read_table(path).column("text") == [text]
    assert csv.field_size_limit() == limit


def test_surrogate_pairs_in_json_are_one_character(tmp_path):
    path = write(tmp_path / "t.jsonl", b'{"text": "\\ud83d\\ude00"}\n')
    assert read_table(path).column("text") == ["\U0001f600"]


def test_json_lines_keep_types_and_unicode_line_ends(tmp_path):
    content = '{"text": "a\u2028b", "label": 3}\n\n{"text": "c"}\n'.encode()
    table = read_table(write(tmp_path / "t.jsonl", content))
    assert table.column("text") == ["a\u2028b", "c"]
    assert table.column("label") == [3, None]
    assert table.lines == [1, 3]


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b" \n\n", "is empty"),
        ("t.csv", b"text,label\n", "header but no rows"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "line 3: expected 2 values.* 3 val"),
        ("t.csv", b"a,b\n1\n", "line 2: expected 2 values"),
        ("t.csv", b'a,b\n1,"2\n3,4\n', "line 2: the row could not be parsed"),
        ("t.csv", b"a,a\n1,2\n", "line 1: column names must differ"),
        ("t.csv", b"a,b\n1,2\n\xe9,2\n", "line 3: text must be UTF-8.*0xe9"),
        ("t.csv.gz", b"a,b\n1,2\n", "could not be read"),
        (
            "t.csv.gz",
            gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9],
            "could not be read",
        ),
        ("t.csv.xz", b"a,b\n1,2\n", "could not be read"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "line 2: not valid JSON"),
        ("t.jsonl", b'{"a": 1}\n[1]\n', "line 2: expected a JSON object"),
        ("t.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "line 1: not valid JSON"),
        ("t.jsonl", b'{"a": 1}\n{"a": "b\\ud83d"}\n', r"line 2.*'\\ud83d'"),
        ("t.jsonl", b'{"\\ude00": 1}\n', r"line 1: .* half .*'\\ude00'"),
    ],
)
def test_broken_files_name_the_line(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message) as error:
        read_table(write(tmp_path / name, content))
    assert name in str(error.value)


def test_missing_columns_give_the_nearest(tmp_path):
    table = read_table(write(tmp_path / "t.csv", b"texts,label\na,b\n"))
    with pytest.raises(DataError, match="it has texts, label. Did you mean"):
        table.column("text")


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_text(tmp_path / "none.txt")
