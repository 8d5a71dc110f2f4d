import gzip

import pytest

from kbig.data import streaming
from kbig.data.vocabulary import train_vocabulary
from kbig.errors import DataError


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
