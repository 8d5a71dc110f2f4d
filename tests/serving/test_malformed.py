"""Odd requests to a real export: refused, or answered as the model would."""

import contextlib
import io
import json

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from recipes import cli
from tests.serving.exports import LENGTH
from tests.serving.exports import are_refused
from tests.serving.exports import drawn
from tests.serving.exports import have
from tests.text_models import CLASSES
from tests.text_models import TEXTS

words = st.sampled_from(" ".join(TEXTS).split())
pieces = st.one_of(
    words,
    words.map(str.upper),
    st.text(max_size=20),
    st.sampled_from(
        ["\0", "\ufffd", "ß", "İ", "\u202e", "東京", "🙂", "e\u0301"]
    ),
    st.binary(max_size=6),  # Most of them are no UTF-8.
    st.sampled_from([b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80"]),
)


@st.composite
def texts(draw):
    """One that a client can send: of any length, UTF-8 or not."""
    parts = draw(st.lists(pieces, max_size=20))
    space = draw(st.sampled_from([" ", "", "\t", "\u00a0"])).encode()
    times = draw(st.sampled_from([1, 1, 1, 500]))
    raw = [x if isinstance(x, bytes) else x.encode() for x in parts]
    text = space.join(raw) * times
    with contextlib.suppress(UnicodeDecodeError):
        return text.decode()
    # Bytes, or what the command line makes of them.
    return draw(st.sampled_from([text, text.decode("utf8", "surrogateescape")]))


def raw(text):
    if isinstance(text, bytes):
        return text
    return text.encode("utf8", "surrogateescape")


@pytest.mark.slow
@drawn(80)
@hypothesis.given(st.lists(texts(), min_size=1, max_size=4))
def test_any_text_is_answered_as_the_model_reads_it(topics, rows):
    ids = topics.encoded([raw(row) for row in rows])
    logits = topics.logits(ids)
    scores = tf.nn.softmax(logits).numpy()
    (inner,) = topics.direct["ids"](**ids)["logits"][None]
    np.testing.assert_allclose(inner, logits, atol=1e-4)
    answers = topics.answers({"text": rows}, "serving_default")
    assert have(answers, "logits", logits)
    for answer in answers:
        expected = [CLASSES[i] for i in answer["logits"].argmax(-1)]
        assert answer["label"].tolist() == expected
    answers = topics.answers({"text": rows}, "classify")
    assert have(answers, "scores", scores)
    one, other = topics.answers(rows, "embed")
    assert one["embedding"].shape == (len(rows), 16)
    np.testing.assert_allclose(one["embedding"], other["embedding"], atol=1e-4)


@pytest.mark.ci
def test_what_is_too_long_or_broken_has_the_documented_ids(topics):
    vocabulary = topics.job.tokenizer.get_vocabulary()

    def tokens(text):
        ids = topics.encoded([text])["token_ids"].numpy()[0]
        return [vocabulary[i] for i in ids]

    empty = ["[CLS]", "[SEP]"] + ["[PAD]"] * (LENGTH - 2)
    assert tokens("") == tokens("\0") == tokens("\ufffd") == empty
    cut = ["[CLS]"] + ["tree"] * (LENGTH - 2) + ["[SEP]"]
    assert tokens("tree " * 4000) == cut
    # tensorflow-text puts U+FFFD where there is no UTF-8: an unknown word.
    unknown = ["[CLS]", "[UNK]", "tree", "[SEP]"]
    assert tokens(b"tr\xffee tree")[:4] == unknown
    assert tokens("x" * 300_000 + " tree")[:4] == unknown


@pytest.mark.parametrize("text", ["\ud800", "tree\udc00", "\ud83d\ude42"])
def test_half_a_character_is_refused(topics, text):
    for signature in ("serving_default", "embed", "classify"):
        assert are_refused(topics.answers({"text": ["a", text]}, signature))


no_texts = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.dates().map(np.datetime64),
    st.just(object()),
)


@drawn(60)
@hypothesis.given(
    no_texts,
    st.sampled_from(
        [
            lambda x: {"text": [x]},
            lambda x: {"text": ["a tree", x]},
            lambda x: {"text": x},
            lambda x: {"text": [["a", x], ["b"]]},
            lambda x: {"text": []},
            lambda x: {"text": "a tree"},
            lambda x: {"text": b"a tree"},
            lambda x: {"txt": ["a tree"]},
            lambda x: {1: ["a tree"]},
            lambda x: {},
            lambda x: x,
        ]
    ),
    st.sampled_from(["serving_default", "embed", "classify"]),
)
def test_what_is_no_list_of_texts_is_refused(topics, value, put, signature):
    assert are_refused(topics.answers(put(value), signature))


# The command line


@pytest.fixture
def ask(topics, capsys, monkeypatch):
    monkeypatch.setattr(cli, "_load_quietly", lambda: None)

    def answered(url, *arguments):
        """Outputs, or None where one line says what is wrong."""
        server = ("--url", url, "--model", "topics", "--output", "json")
        status = cli.main(["predict", *server, *arguments])
        printed = capsys.readouterr()
        assert (status, printed.err.count("\n")) in [(0, 0), (2, 1)]
        return json.loads(printed.out)["outputs"] if status == 0 else None

    return answered


@pytest.mark.ci
@drawn(40)
@hypothesis.given(rows=st.lists(texts(), min_size=1, max_size=3))
def test_the_command_line_answers_any_text(topics, rows):
    rows = [raw(row).decode("utf8", "surrogateescape") for row in rows]
    logits = topics.logits(topics.encoded([raw(row) for row in rows]))
    arguments = [f"--text={row}" for row in rows]
    server = ["--model=topics", "--output=json"]
    for url in topics.urls:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            command = ["predict", f"--url={url}", *server, *arguments]
            assert cli.main(command) == 0
        outputs = json.loads(printed.getvalue())["outputs"]
        np.testing.assert_allclose(outputs["logits"], logits, atol=1e-4)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"NaN",
        b"[NaN]",
        b"[null]",
        b"[true]",
        b"[1e999]",
        b"[[]]",
        b"[]",
        b"{}",
        b'["a", 1]',
        b'{"text": "a"}',
        b'{"text": [["a"], "b"]}',
        b'{"txt": ["a"]}',
        b'{"text": ["a"], "x": ["b"]}',
        b'["\\ud800"]',
        b'["\xff"]',
        b'\xff\xfe["a"]',
        b"[" * 100 + b"]" * 100,
        b"[" * 100_000,
        b"[1" + b"0" * 5000 + b"]",
    ],
)
def test_a_file_of_no_texts_is_refused(ask, topics, content, tmp_path):
    (tmp_path / "rows.json").write_bytes(content)
    for url in topics.urls:
        assert ask(url, "--json", str(tmp_path / "rows.json")) is None
