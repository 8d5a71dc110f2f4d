"""The oracle is what `kbig.data.tokenizer` makes: tensorflow-text's ops."""

import random
import unicodedata

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kbig.data import catalog
from kbig.data import encoding
from kbig.data.core_tokens import CoreTokens
from kbig.data.vocabulary import SPECIAL_TOKENS
from kbig.errors import UsageError
from tests.data.oracles import hugging_face
from tests.data.test_encoding import ODD_TEXTS
from tests.data.test_encoding import random_strings

MORE_TEXTS = [
    "ΟΔΥΣΣΕΥΣ Σ σς ΑΣ. ΑΣ",
    "İSTANBUL ı I i̇",
    "각 한글 \u1112\u1161\u11ab",
    "👩‍👩‍👧‍👦 🏴\U000e0067\U000e007f ❤️ 🇩🇪",
    "a\u0316\u0301\u0323b q\u0307\u0323 \u0301",
    "zero\u200bwidth\u200djoin\ufeffmark\u2060",
    "\x00\x01\x07a\x1b[0m\x7f\x85\u2028\u3000b\u1680c",
    "ß ẞ ŉ ǅ ﬁ Å ſ ⅷ ²",
    "é" * 50,
    "é" * 51,
    "中" * 200,
    "ab" * 60 + " short",
    "\ufffd \uffff \U0010ffff \ue000",
    "שָׁלוֹם हिन्दी ไทย",
    # The first and last of the blocks of Chinese, and neighbours.
    "a".join("㐀䶿一鿿豈\ufaff𠀀\U0002a6df\U0002a700\U0002ceaf丽\U0002fa1f"),
    "a".join("\u33ff\u4dc0\ua000\uf8ff\U0002a6e0\U0002f7ff\U0002fa20"),
]
FOLDINGS = [(True, True), (False, False), (True, False), (False, True)]


def both(texts, vocabulary, *folding):
    """Ids by tensorflow-text's ops, and by TensorFlow's own."""
    made = encoding.tokenizer(vocabulary, *folding)
    texts = tf.constant(texts, tf.string)
    return [
        encoding.tokenize(texts, one).to_list()
        for one in (made, CoreTokens(made))
    ]


def with_characters(vocabulary, texts):
    """A vocabulary that has every character of texts, too."""
    marks = sorted({c for text in texts for c in text} - set(" \t\n\r"))
    more = (*marks, *(f"##{mark}" for mark in marks))
    return tuple(dict.fromkeys((*vocabulary, *more)))


def check_same(texts, ids, most_unknown):
    theirs, ours = ids
    differ = [x for x in zip(texts, ours, theirs) if x[1] != x[2]]
    assert len(ours) == len(texts) and not differ, differ[:3]
    flat = [i for row in ours for i in row]
    assert flat.count(1) < most_unknown * len(flat)


@pytest.mark.first_cases(1)
@pytest.mark.parametrize("lowercase, strip_accents", FOLDINGS)
def test_ten_thousand_strings_have_the_same_ids(
    tokens, lowercase, strip_accents
):
    glosses, _ = catalog.load("wordnet-topics").arrays("train")
    odd = [*ODD_TEXTS, *MORE_TEXTS]
    strings = [*odd, *random_strings(5000), *glosses[:5000]][:10_000]
    normalizer = hugging_face(tokens, lowercase, strip_accents).normalizer
    folded = (normalizer.normalize_str(text) for text in strings)
    vocabulary = with_characters(tokens, folded)
    ids = both(strings, vocabulary, lowercase, strip_accents)
    assert len(strings) == 10_000
    check_same(strings, ids, most_unknown=0.01)


@pytest.mark.parametrize("lowercase", [True, False])
def test_characters_that_nfd_or_case_changes_have_the_same_ids(lowercase):
    characters = map(chr, [*range(0xD800), *range(0xE000, 0x110000)])
    changed = [
        c
        for c in characters
        if unicodedata.normalize("NFD", c.lower()) != c
        and not (0xAC00 <= ord(c) < 0xD7A4 and ord(c) % 7)
    ]
    # Of Unicode 16, which Python 3.11 does not know: tensorflow-text does.
    newer = ["\U000105c9", "\U00011383", "\U00016126", "\U00016d6a"]
    texts = [f"a{c}b {c} {c}\u0316\u0301" for c in [*changed, *newer]]
    parts = [unicodedata.normalize("NFD", x.lower()) for x in texts]
    parts += ["\U000105d2\U00011382\u1611e\U0001611f\U00016d63\U00016d67"]
    vocabulary = with_characters(SPECIAL_TOKENS, [*texts, *parts])
    assert len(changed) > 4500
    check_same(texts, both(texts, vocabulary, lowercase, True), 0.01)


@pytest.mark.parametrize("lowercase", [True, False])
def test_bytes_that_are_no_utf8_have_the_same_ids(tokens, lowercase):
    generator = random.Random(0)
    whole = [c.encode() for c in "aé 中😀\u00ad\u0301"]
    strings = []
    for _ in range(5000):
        broken = generator.choice(whole)[:2] + generator.randbytes(1)
        parts = generator.choices([*whole, broken], k=12)
        strings.append(b"".join(parts)[generator.randrange(3) :])
    # A soft hyphen, once the control character between its bytes is gone.
    strings.append(b"a\xc2\x1c\xadb")
    decoded = (text.decode("utf-8", "replace") for text in strings)
    assert sum("\ufffd" in text for text in decoded) > 3000
    vocabulary = with_characters(tokens, ["aeé中😀"])
    check_same(strings, both(strings, vocabulary, lowercase), 0.5)


def test_broken_bytes_are_no_replacement_character():
    vocabulary = with_characters(SPECIAL_TOKENS, ["ae\ufffd"])
    texts = [b"\xffe\xcc\x81 e\xcc\x81"]
    theirs, ours = both(texts, vocabulary, False, True)
    assert ours == theirs == [[1, vocabulary.index("e")]]


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("abc", ["abc"]),
        ("abx", ["ab", "##x"]),
        # The longest piece first, though "ab" and "##cd" would do.
        ("abcd", ["[UNK]"]),
        ("bcx", ["[UNK]"]),
        ("xab", ["x", "##a", "##b"]),
        ("ab abd x", ["ab", "[UNK]", "x"]),
        # Of 100 bytes, and of one more.
        ("a" + "b" * 99, ["ab", *["##b"] * 98]),
        ("a" + "b" * 100, ["[UNK]"]),
        ("a" + "b" * 100 + "!x", ["[UNK]", "!", "x"]),
        ("é" * 50, ["é"] + ["##é"] * 49),
        ("é" * 51, ["[UNK]"]),
        ("##a#", ["#", "#", "[UNK]", "#"]),
        ("x中a", ["x", "[UNK]", "[UNK]"]),
    ],
)
def test_pieces_that_are_worked_out_by_hand(text, pieces):
    own = (
        "ab",
        "abc",
        "x",
        "##x",
        "##a",
        "##b",
        "##cd",
        "é",
        "##é",
        "!",
        "#",
        "##",
    )
    vocabulary = (*SPECIAL_TOKENS, *own)
    made = CoreTokens(encoding.tokenizer(vocabulary, False))
    (ids,) = encoding.tokenize([text], made).to_list()
    assert [vocabulary[i] for i in ids] == pieces


def test_rows_are_framed_cut_and_padded_alike(tokens):
    made = encoding.tokenizer(tokens)
    core = CoreTokens(made)
    pairs = [["a long text of words", "b"], ["", ""], ["x " * 40, "y " * 40]]
    for texts in (pairs, [a for a, _ in pairs], np.zeros((0, 2), object)):
        texts = tf.constant(texts, tf.string)
        expected = encoding.encode(texts, made, 12)
        encoded = encoding.encode(texts, core, 12)
        assert encoded.keys() == expected.keys()
        for name, rows in encoded.items():
            assert rows.dtype == tf.int32
            np.testing.assert_array_equal(rows, expected[name])


def test_a_megabyte_and_nothing(tokens):
    texts = ["word " * 200_000, "x" * 1_000_000, "中" * 300_000, "", "\x07"]
    theirs, ours = both(texts, tokens)
    assert ours == theirs
    assert len(ours[0]) >= 200_000 and ours[1:] == [[1], [1] * 300_000, [], []]


def test_any_number_of_texts_goes_in():
    core = CoreTokens(encoding.tokenizer((*SPECIAL_TOKENS, "a")))
    for count in (1, 2, 0, 50):
        ids = encoding.tokenize(["a A"] * count, core)
        assert ids.dtype == tf.int32
        assert ids.to_list() == [[5, 5]] * count


def test_a_graph_has_ops_of_tensorflow_only(tokens):
    def ops(tokenizer):
        traced = tf.function(
            lambda texts: encoding.encode(texts, tokenizer, 8),
            input_signature=[tf.TensorSpec([None], tf.string)],
        ).get_concrete_function()
        graph = traced.graph.as_graph_def()
        inner = [x.node_def for x in graph.library.function]
        return {node.op for nodes in (graph.node, *inner) for node in nodes}

    made = encoding.tokenizer(tokens)
    others = {op for op in ops(made) if not hasattr(tf.raw_ops, op)}
    assert {"NormalizeUTF8", "RegexSplitWithOffsets"} <= others
    own = ops(CoreTokens(made))
    assert {"LookupTableFindV2", "DecodeRaw"} <= own
    assert not {op for op in own if not hasattr(tf.raw_ops, op)}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lowercase": True}, "lowercase=True"),
        ({"suffix_indicator": "@@"}, "suffix_indicator='@@'"),
        (
            {"split": False, "special_tokens_in_strings": True},
            "split=False, special_tokens_in_strings=True",
        ),
    ],
)
def test_tokenizers_that_do_otherwise_are_refused(options, message):
    other = keras_hub.models.BertTokenizer(list(SPECIAL_TOKENS), **options)
    with pytest.raises(UsageError, match=f"one with {message}"):
        CoreTokens(other)
