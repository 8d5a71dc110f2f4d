import random
import re

import numpy as np
import pytest
import tensorflow as tf

from kbig.data import catalog
from kbig.data import encoding
from kbig.data import fast_tokens
from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.errors import UsageError
from tests.data.oracles import framed
from tests.data.oracles import hugging_face

ODD_TEXTS = [
    "",
    " ",
    "Café naïve résumé ÉCOLE Ångström",
    "cafe\u0301 with a combining accent",
    "中文字符 mixed 漢字カナ かな",
    "한국어 텍스트",
    "emoji 😀👍🏽 and ☃",
    "tab\tnew\nline\r\nno-break\u00a0space",
    "!?.,;:-_'\"()[]{}@#$%^&*+=/\\|~`<>",
    "quotes “curly” ‘single’ — dash … dots",
    "Привет мир ПРИВЕТ ελληνικά",
    "x" * 100,
    "x" * 101,
    "so\u00adft a\u200bb bell\u0007ring \ufffd\u0085\u2028end",
    "1,234.56 £100 €20",
    "[MASK] [SEP] in text",
    "İstanbul",
]


@pytest.mark.parametrize("lowercase", [True, False])
def test_ids_equal_those_of_hugging_face(texts, tokens, lowercase):
    generator = random.Random(0)
    alphabet = "abcXYZ éÉñ中文,.!?'- \t1290"
    strings = [
        "".join(generator.choices(alphabet, k=generator.randrange(40)))
        for _ in range(200)
    ]
    strings += ODD_TEXTS + [text[:400] for text in texts[:150]]
    oracle = hugging_face(tokens, lowercase)
    encoded = encoding.encode(
        strings, encoding.tokenizer(tokens, lowercase), 512
    )
    for row, text in zip(encoded["token_ids"].numpy(), strings):
        ids = oracle.encode(text, add_special_tokens=False).ids
        expected = [2, *ids, 3] + [0] * (510 - len(ids))
        np.testing.assert_array_equal(row, expected, err_msg=repr(text))


# Ranges in which both sides know the same characters.
SCRIPTS = (
    (0x20, 0x7E),
    (0xA0, 0x24F),  # Accents.
    (0x300, 0x36F),  # Combining marks.
    (0x391, 0x3CE),
    (0x400, 0x45F),
    (0x5D0, 0x5EA),
    (0x621, 0x64A),
    (0x905, 0x939),
    (0x1E00, 0x1EFF),
    (0x2010, 0x2044),
    (0x2070, 0x209C),
    (0x3001, 0x30FF),
    (0x4E00, 0x4FFF),
    (0xAC00, 0xAD00),
    (0xF900, 0xFA6D),
    (0xFB00, 0xFB06),
    (0xFF01, 0xFF60),  # Full-width letters and stops.
    (0x1F300, 0x1F64F),  # Emoji.
    (0x20000, 0x20020),
)


def random_strings(count):
    """Words of one script each, with spaces and control characters."""
    generator = random.Random(0)
    strings = []
    for _ in range(count):
        words = []
        for _ in range(generator.randrange(1, 4)):
            first, last = generator.choice(SCRIPTS)
            codes = (generator.randint(first, last) for _ in range(3))
            words.append("".join(map(chr, codes)))
            words.append(generator.choice(" \t\n\r\x00\x07\x1f\x7f\u200b "))
        strings.append("".join(words))
    return strings


@pytest.fixture(scope="module")
def many_strings():
    glosses, _ = catalog.load("wordnet-topics").arrays("train")
    return [*random_strings(5000), *glosses[:5000]]


@pytest.mark.first_cases(1)
@pytest.mark.parametrize(
    "lowercase, strip_accents", [(True, True), (False, False), (True, False)]
)
def test_ten_thousand_strings_have_the_ids_of_hugging_face(
    many_strings, tokens, lowercase, strip_accents
):
    normalizer = hugging_face(tokens, lowercase, strip_accents).normalizer
    characters = set(normalizer.normalize_str("".join(many_strings)))
    characters = sorted(characters - set(tokens) - set(" \t\n\r"))
    known = (*tokens, *characters, *(f"##{c}" for c in characters))
    known = tuple(dict.fromkeys(known))
    made = encoding.tokenizer(known, lowercase, strip_accents)
    ids = encoding.tokenize(many_strings, made).to_list()
    oracle = hugging_face(known, lowercase, strip_accents)
    wanted = oracle.encode_batch(many_strings, add_special_tokens=False)
    differ = [
        (text, ours, theirs.tokens)
        for text, ours, theirs in zip(many_strings, ids, wanted)
        if ours != theirs.ids
    ]
    assert len(many_strings) == 10_000 and not differ, differ[:3]
    fast = fast_tokens.FastTokens(made)(many_strings).to_list()
    assert fast == ids
    unknown = sum(row.count(1) for row in ids) / sum(map(len, ids))
    assert unknown < 0.01


@pytest.mark.parametrize("lowercase", [True, False])
def test_fast_tokens_treat_all_of_their_characters_alike(lowercase):
    ranges = re.findall(r"\\x{(\w+)}(?:-\\x{(\w+)})?", fast_tokens._MORE)
    spans = [(int(first, 16), int(last or first, 16)) for first, last in ranges]
    codes = {c for a, b in spans for c in (*range(a, min(a + 300, b) + 1), b)}
    codes |= {c for a, b in spans for c in range(a, b, 97)}
    texts = [f"A{chr(code)}b {chr(code)}" for code in sorted(codes)]
    oracle = hugging_face(SPECIAL_TOKENS, lowercase)
    characters = {c for t in texts for c in oracle.normalizer.normalize_str(t)}
    characters = sorted(characters - set(" \xa0"))
    tokens = (*SPECIAL_TOKENS, *characters, *(f"##{c}" for c in characters))
    made = encoding.tokenizer(tokens, lowercase)
    fast = fast_tokens.FastTokens(made)
    assert len(codes) > 1500
    assert fast._fast(tf.constant(texts)).to_list() == (
        encoding.tokenize(texts, made).to_list()
    )


def test_words_too_long_are_counted_in_bytes(tokens):
    tokens = (*tokens, "é", "##é")
    text = "é" * 60
    ids = encoding.tokenize([text], encoding.tokenizer(tokens, False)).to_list()
    theirs = hugging_face(tokens, False).encode(text, add_special_tokens=False)
    assert ids == [[1]] and len(theirs.ids) == 60


def test_encode_frames_cuts_and_pads():
    tokens = (*SPECIAL_TOKENS, "a", "b")
    encoded = encoding.encode(
        ["", "a b", "a b a b a"], encoding.tokenizer(tokens), 5
    )
    np.testing.assert_array_equal(
        encoded["token_ids"],
        [[2, 3, 0, 0, 0], [2, 5, 6, 3, 0], [2, 5, 6, 5, 3]],
    )
    np.testing.assert_array_equal(
        encoded["padding_mask"],
        [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
    )
    np.testing.assert_array_equal(encoded["segment_ids"], np.zeros((3, 5)))
    assert {value.dtype for value in encoded.values()} == {tf.int32}


def test_encode_in_a_pipeline_and_in_a_saved_model(tmp_path):
    tokens = (*SPECIAL_TOKENS, "a", "b")
    bert_tokenizer = encoding.tokenizer(tokens)
    expected = [[2, 5, 6, 3], [2, 6, 3, 0]]

    def transform(texts):
        return encoding.encode(texts, bert_tokenizer, 4)

    pipeline = tf.data.Dataset.from_tensor_slices(["A b", "b"]).batch(2)
    (batch,) = pipeline.map(transform)
    np.testing.assert_array_equal(batch["token_ids"], expected)

    module = tf.Module()
    module.tokenizer = bert_tokenizer
    module.serve = tf.function(
        transform, input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    served = loaded.serve(tf.constant(["A b", "b"]))
    np.testing.assert_array_equal(served["token_ids"], expected)


def test_encode_rejects_what_it_cannot_shape():
    bert_tokenizer = encoding.tokenizer(SPECIAL_TOKENS)
    with pytest.raises(UsageError, match="shape"):
        encoding.encode("a", bert_tokenizer, 8)
    with pytest.raises(UsageError, match=r"shape \(1, 3\)"):
        encoding.encode([["a", "b", "c"]], bert_tokenizer, 8)
    with pytest.raises(UsageError, match="sequence_length=2"):
        encoding.encode(["a"], bert_tokenizer, 2)
    with pytest.raises(UsageError, match="must be 5 or more"):
        encoding.encode([["a", "b"]], bert_tokenizer, 4)


@pytest.mark.parametrize(
    "words, longest, expected",
    [
        # The words, [CLS] and [SEP], rounded up to a multiple of 8.
        ([1, 2], 512, 8),
        ([6, 6], 512, 8),
        ([7, 7], 512, 16),
        # One text of 200 is longer, and is cut.
        ([6] * 199 + [100], 512, 8),
        ([100, 100], 20, 20),
    ],
)
def test_suitable_length_holds_all_but_the_longest(words, longest, expected):
    bert_tokenizer = encoding.tokenizer((*SPECIAL_TOKENS, "a"))
    texts = np.array(["a " * count for count in words], dtype=object)
    length = encoding.suitable_length(texts, bert_tokenizer, longest)
    assert length == expected


@pytest.mark.parametrize(
    "lowercase, strip_accents, expected",
    [
        (True, None, ["ecole", "cafe"]),
        (True, False, ["école", "café"]),
        (False, None, ["École", "café"]),
        (False, True, ["Ecole", "cafe"]),
    ],
)
def test_case_and_accents_are_folded_apart(lowercase, strip_accents, expected):
    words = ("ecole", "cafe", "école", "café", "École", "Ecole")
    bert_tokenizer = encoding.tokenizer(
        (*SPECIAL_TOKENS, *words), lowercase, strip_accents
    )
    ids = encoding.tokenize(["École café"], bert_tokenizer).numpy()[0]
    assert [words[number - 5] for number in ids] == expected


def test_chinese_is_split_as_by_hugging_face():
    # The first and last characters of the blocks that BERT splits, and
    # neighbours, kana and hangul, which it does not.
    marks = "一鿿㐀䶿𠀀𪛟𪜀𫜿豈丽中文字" + "かな한국〇ー"
    tokens = (*SPECIAL_TOKENS, *marks, *(f"##{mark}" for mark in marks), "a")
    strings = [
        marks,
        "a中文a",
        "かな中かな",
        "한국중中국",
        "中 文，字。",
        "〇ー",
    ]
    oracle = hugging_face(tokens, lowercase=False)
    pieces = encoding.tokenize(strings, encoding.tokenizer(tokens, False))
    for row, text in zip(pieces.to_list(), strings):
        assert row == oracle.encode(text, add_special_tokens=False).ids, text
    assert pieces.to_list()[1] == [tokens.index(x) for x in ("a", *"中文", "a")]


def test_a_megabyte_and_nothing(tokens):
    texts = ["word " * 200_000, "x" * 1_000_000, "中" * 300_000, "", "\x07"]
    encoded = encoding.encode(texts, encoding.tokenizer(tokens), 16)
    assert encoded["padding_mask"].numpy().sum(1).tolist() == [16, 3, 16, 2, 2]
    oracle = framed(hugging_face(tokens), 16)
    for row, text in zip(encoded["token_ids"].numpy(), texts):
        assert row.tolist() == oracle.encode(text[:200]).ids


def test_any_number_of_texts_takes_one_trace():
    bert_tokenizer = encoding.tokenizer((*SPECIAL_TOKENS, "a"))
    traces = []

    def spy(texts):
        traces.append(texts.shape)
        return pieces(texts)

    pieces, bert_tokenizer.call = bert_tokenizer.call, spy
    for count in (1, 2, 3, 0, 50):
        rows = encoding.encode(["a a"] * count, bert_tokenizer, 8)["token_ids"]
        assert rows.shape == (count, 8)
    assert len(traces) == 1


@pytest.mark.parametrize(
    "vocabulary, message",
    [
        (("a", "b"), "2 tokens without .PAD., .UNK., .CLS., .SEP., .MASK."),
        (SPECIAL_TOKENS[:-1], "4 tokens without .MASK."),
        ((*SPECIAL_TOKENS, "a", "a"), "'a' 2 times"),
        ((), "0 tokens"),
    ],
)
def test_vocabularies_that_no_bert_has(vocabulary, message):
    with pytest.raises(UsageError, match=f"Received: {message}"):
        encoding.tokenizer(vocabulary)
