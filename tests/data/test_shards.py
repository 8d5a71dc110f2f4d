import json
import os
import subprocess
import sys

import pytest

from kbig.data import encoding
from kbig.data import fast_tokens
from kbig.data import shard_processes
from kbig.data import shards
from kbig.data.shard_chunks import chunks
from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.errors import DataError
from kbig.errors import KbigError
from kbig.errors import UsageError

VOCABULARY = (*SPECIAL_TOKENS, *"abcé", *(f"##{c}" for c in "abc"))
DOCUMENTS = [
    "ab c\nb a",
    "",
    "É 😀 cab",
    " \n\na\x07b",
    "c " * 300,
]
PLAIN = ["ab c\nb a", "", "cab", " \n\nab", "c " * 300]


def write(directory, documents=DOCUMENTS, vocabulary=VOCABULARY, **options):
    options = {"lowercase": True, "documents_per_shard": 2, **options}
    return shards.write_shards(documents, directory, vocabulary, **options)


def ids_of(documents):
    return [[list(map(int, ids)) for ids in document] for document in documents]


def expected(documents=DOCUMENTS, vocabulary=VOCABULARY, lowercase=True):
    """What `tokenize` gives, paragraph by paragraph."""
    tokenizer = encoding.tokenizer(vocabulary, lowercase)
    texts = [document.split("\n") for document in documents]
    flat = encoding.tokenize([t for group in texts for t in group], tokenizer)
    flat = iter(flat.to_list())
    tokens = [[next(flat) for _ in group] for group in texts]
    return [[ids for ids in group if ids] for group in tokens]


@pytest.mark.ci
def test_documents_are_those_of_the_tokenizer_in_order(tmp_path):
    report = write(tmp_path)
    found = shards.read_shards(tmp_path, VOCABULARY)
    assert ids_of(found.documents()) == expected()
    tokenizer = encoding.tokenizer(VOCABULARY)
    without_files = fast_tokens.tokenize_documents(iter(DOCUMENTS), tokenizer)
    assert ids_of(without_files) == expected()
    # By hand: "ab c" and "b a".
    assert ids_of(found.documents())[0] == [[5, 10, 7], [6, 5]]
    assert ids_of(found.documents())[1] == []
    assert [report.shards, report.documents, report.kept] == [3, 5, 0]
    assert report.paragraphs == sum(map(len, expected()))
    tokens = sum(len(ids) for group in expected() for ids in group)
    assert report.tokens == found.tokens == tokens
    assert report.text == sum(len(text.encode()) for text in DOCUMENTS)
    assert report.size == sum(file.stat().st_size for file in found.files)
    assert "tokens" in str(report)


@pytest.mark.ci
def test_the_stream_of_tensorflow_gives_the_same_documents(tmp_path):
    write(tmp_path)
    found = shards.read_shards(tmp_path, VOCABULARY)
    dataset = found.dataset()
    assert int(dataset.cardinality()) == 5
    documents = [document.to_list() for document in dataset]
    assert documents == expected()


def test_ids_that_need_it_are_wider(tmp_path):
    wide = VOCABULARY + tuple(f"##{n}" for n in range(2**16)) + ("z",)
    write(tmp_path, ["z a"], wide)
    found = shards.read_shards(tmp_path, wide)
    assert found.dtype == "uint32"
    assert ids_of(found.documents()) == [[[len(wide) - 1, 5]]]
    assert [d.to_list() for d in found.dataset()] == [[[len(wide) - 1, 5]]]


def test_case_and_accents_are_kept_on_request(tmp_path):
    write(tmp_path, ["É é"], lowercase=False)
    found = shards.read_shards(tmp_path, VOCABULARY, lowercase=False)
    assert ids_of(found.documents()) == [[[1, 8]]]
    with pytest.raises(DataError, match="`lowercase`.*Expected: False"):
        shards.read_shards(tmp_path, VOCABULARY, lowercase=True)


def test_an_interrupted_writer_goes_on_with_what_is_missing(tmp_path):
    def killed():
        yield from DOCUMENTS[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, killed(), processes=1)
    with pytest.raises(DataError, match="not all of them"):
        shards.read_shards(tmp_path, VOCABULARY)
    first = tmp_path / "shard-00000.tfrecord"
    before = first.stat().st_mtime_ns
    # As if it had been cut off in the middle of a line.
    with (tmp_path / "unfinished.jsonl").open("a") as journal:
        journal.write('{"file": "shard-00')
    report = write(tmp_path)
    assert report.kept >= 1 and first.stat().st_mtime_ns == before
    found = shards.read_shards(tmp_path, VOCABULARY)
    assert ids_of(found.documents()) == expected()
    assert {path.suffix for path in tmp_path.iterdir()} == {
        ".tfrecord",
        ".json",
    }
    assert write(tmp_path).kept == 3


def test_a_writer_may_be_interrupted_again_and_again(tmp_path):
    def killed(count):
        yield from PLAIN[:count]
        raise KeyboardInterrupt

    journal = tmp_path / "unfinished.jsonl"
    # Killed before its first line, and then with a full disk each time.
    journal.touch()
    for count in (2, 3, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, killed(count), documents_per_shard=1, processes=1)
        with journal.open("a") as file:
            file.write('{"file": "shard-00')
    assert write(tmp_path, PLAIN, documents_per_shard=1).kept == 5
    found = shards.read_shards(tmp_path, VOCABULARY)
    assert ids_of(found.documents()) == expected(PLAIN)


@pytest.mark.ci
def test_a_missing_or_shortened_shard_is_written_again(tmp_path):
    write(tmp_path)
    (tmp_path / "shard-00000.tfrecord").unlink()
    second = tmp_path / "shard-00001.tfrecord"
    second.write_bytes(second.read_bytes()[:-3])
    assert write(tmp_path).kept == 1
    found = shards.read_shards(tmp_path, VOCABULARY)
    assert ids_of(found.documents()) == expected()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"vocabulary": (*VOCABULARY, "z")}, "index.json: the vocabulary"),
        ({"lowercase": False}, "`lowercase` .*Expected: True. Received: False"),
        ({"strip_accents": False}, "`strip_accents` differs"),
        ({"documents_per_shard": 3}, "Expected: 2. Received: 3"),
        (
            {"documents": [*PLAIN[:2], "b", *PLAIN[3:]]},
            r"shard-00001.tfrecord was made of other text",
        ),
        ({"documents": PLAIN[:4]}, "3 shards. Received: 2"),
        ({"documents": [*PLAIN, "a"]}, "shard-00002.tfrecord was made of"),
    ],
)
def test_what_changed_since_is_refused_by_name(tmp_path, changed, message):
    write(tmp_path, PLAIN)
    contents = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(DataError, match=message):
        write(tmp_path, **{"documents": PLAIN, **changed})
    assert contents == {p: p.read_bytes() for p in tmp_path.iterdir()}


def test_more_text_than_the_index_tells_of_is_refused(tmp_path):
    write(tmp_path, PLAIN[:4])
    with pytest.raises(DataError, match="2 shards. Received: more than 2"):
        write(tmp_path, PLAIN)
    report = write(tmp_path, PLAIN[4:], resume=False)
    assert report.shards == len(list(tmp_path.glob("*.tfrecord"))) == 1


def test_a_shorter_corpus_does_not_finish_what_a_longer_one_began(tmp_path):
    def killed():
        yield from PLAIN[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, killed(), processes=1)
    with pytest.raises(DataError, match="2 shards or more. Received: 1"):
        write(tmp_path, PLAIN[:2])
    assert not (tmp_path / "index.json").exists()
    assert write(tmp_path, PLAIN).kept == 2


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"vocabulary": VOCABULARY[1:]}, r"without \[PAD\]"),
        ({"vocabulary": VOCABULARY[1:], "processes": 2}, r"without \[PAD\]"),
        ({"vocabulary": (*VOCABULARY, "a")}, "'a' 2 times"),
        ({"documents": []}, "must not be empty"),
        ({"processes": 0}, "processes=0"),
    ],
)
def test_mistakes_delete_nothing(tmp_path, changed, message):
    write(tmp_path, PLAIN)
    contents = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=message):
        write(tmp_path, **{"documents": PLAIN, "resume": False, **changed})
    assert contents == {p: p.read_bytes() for p in tmp_path.iterdir()}


def test_readers_refuse_another_vocabulary_and_damage(tmp_path):
    write(tmp_path, PLAIN)
    with pytest.raises(DataError, match="the vocabulary"):
        shards.read_shards(tmp_path, (*VOCABULARY, "z"))
    with pytest.raises(DataError, match="does not exist"):
        shards.read_shards(tmp_path / "none", VOCABULARY)
    file = tmp_path / "shard-00002.tfrecord"
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="shard-00002.*index tells"):
        shards.read_shards(tmp_path, VOCABULARY)
    found = shards.read_shards(tmp_path, VOCABULARY, checksums=False)
    with pytest.raises(DataError, match="shard-00002.tfrecord is damaged"):
        list(found.documents())
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match="Expected: .* Received"):
        shards.read_shards(tmp_path, VOCABULARY, checksums=False)


def test_what_makes_no_shards_is_rejected(tmp_path):
    with pytest.raises(UsageError, match="must not be empty"):
        write(tmp_path, [])
    with pytest.raises(UsageError, match="processes=0"):
        write(tmp_path, processes=0)
    with pytest.raises(DataError, match="Document 1 .*surrogate"):
        write(tmp_path, ["a", "\ud800"])
    for name in ("unfinished.jsonl", "index.json"):
        (tmp_path / name).write_text("[\n")
        with pytest.raises(DataError, match=f"{name} is not an index"):
            write(tmp_path)


def test_shards_end_at_the_number_of_documents_or_of_bytes(monkeypatch):
    monkeypatch.setattr("kbig.data.shard_chunks._SHARD_BYTES", 8)
    sizes = [
        [len(document) for document in chunk.documents]
        for chunk in chunks(["aaa", "a", "a", "aaaa", "aaaa", "a"], 3)
    ]
    assert sizes == [[3, 1, 1], [4, 4], [1]]


@pytest.mark.slow
def test_other_processes_write_the_same_files(tmp_path, texts, tokens):
    texts = texts[:60]
    alone = write(tmp_path / "a", texts, tokens, documents_per_shard=10)
    both = write(
        tmp_path / "b", texts, tokens, documents_per_shard=10, processes=2
    )
    assert alone.shards == both.shards == 6
    for name in ("shard-00000.tfrecord", "shard-00005.tfrecord"):
        first, second = (tmp_path / side / name for side in "ab")
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_a_process_that_ends_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(shard_processes, "_WORKER", "no_such_module")
    with pytest.raises(KbigError, match="status 1.*no_such_module"):
        write(tmp_path, processes=2)
    assert not list(tmp_path.glob("*.tfrecord"))


GROWTH = """
import json, resource, sys
from kbig.data.shards import write_shards
from kbig.data.vocabulary import SPECIAL_TOKENS
def documents(count):
    for number in range(count):
        yield f"{number:09d} " + "a b " * 2500
def write(count):
    report = write_shards(
        documents(count), sys.argv[1], (*SPECIAL_TOKENS, *"ab0123456789"),
        lowercase=True, processes=1, documents_per_shard=100, resume=False,
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return int(report.text) // 2**20, peak
print(json.dumps([write(2000), write(8000)]))
"""


@pytest.mark.slow
def test_memory_stays_flat_however_long_the_corpus(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", GROWTH, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    (short, before), (long, after) = json.loads(child.stdout)
    assert long - short > 50  # MiB of text more, and their ids are as many.
    assert after - before < 25
