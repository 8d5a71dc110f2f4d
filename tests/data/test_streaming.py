import gzip

import pytest

from kbig.data import streaming
from kbig.data.vocabulary import train_vocabulary
from kbig.errors import DataError
from kbig.errors import UsageError


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.txt").write_text(f"{split} 1\n\n{split} 2")
    return tmp_path


def test_one_split_of_a_folder_is_streamed_alone(folder):
    def read(split):
        return list(streaming.stream_documents(folder, split=split))

    assert read("train") == ["train 1", "train 2"]
    assert read("validation") == ["dev 1", "dev 2"]
    assert read("test") == ["test 1", "test 2"]
    assert sorted(read(None)) == sorted(
        f"{split} {number}"
        for split in ("train", "dev", "test")
        for number in (1, 2)
    )
    splits = streaming.stream_documents(folder, split="train").splits
    assert set(splits) == {"train", "validation", "test"}


def test_what_is_not_split_is_for_training(folder):
    documents = streaming.stream_documents(folder / "dev", split="train")
    assert list(documents) == ["dev 1", "dev 2"] and documents.splits == ()
    with pytest.raises(DataError, match="'test'.*that is not split"):
        streaming.stream_documents(folder / "dev", split="test")
    with pytest.raises(UsageError, match="split='dev'"):
        streaming.stream_documents(folder, split="dev")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl.gz", "a"])
def test_other_files_than_text_are_no_corpus(name, tmp_path):
    (tmp_path / name).write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=f"Received: .*{name}"):
        streaming.stream_documents(tmp_path / name)


def test_files_are_streamed_as_they_are_loaded(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfOne.\r\n Two. \n\n\nThree.")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("Vier: é\n\n".encode()))
    (tmp_path / "notes.md").write_text("no")
    documents = streaming.stream_documents(tmp_path)
    wanted = ["One.\nTwo.", "Three.", "Vier: é"]
    assert list(documents) == wanted == list(documents)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"One.\n\xff\n", "line 2: text must be UTF-8. Received: byte 0xff"),
        (None, "does not exist"),
    ],
)
def test_files_that_cannot_be_streamed_are_named(content, message, tmp_path):
    path = tmp_path / "a.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(streaming.stream_documents(path))
    broken = tmp_path / "b.txt.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(DataError, match="b.txt.gz could not be read"):
        list(streaming.stream_documents(broken))


def test_streamed_texts_train_a_vocabulary(tmp_path, texts):
    path = tmp_path / "a.txt"
    path.write_text("\n\n".join(texts[:50]), encoding="utf-8")
    documents = streaming.stream_documents(path)
    assert train_vocabulary(documents, 300) == train_vocabulary(
        list(documents), 300
    )
