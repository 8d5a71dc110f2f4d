import hashlib
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
import tokenizers

from kbig.data import catalog
from kbig.data import vocabulary
from kbig.errors import DataError
from kbig.errors import UsageError

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


@pytest.fixture(scope="module")
def texts():
    documents, _ = catalog.load("austen").arrays("test")
    return "\n".join(documents[:6]).split("\n")


@pytest.fixture(scope="module")
def tokens(texts):
    return vocabulary.train_vocabulary(texts, 600)


def hugging_face(tokens, lowercase=True):
    numbers = {token: index for index, token in enumerate(tokens)}
    oracle = tokenizers.Tokenizer(
        tokenizers.models.WordPiece(
            numbers, unk_token="[UNK]", max_input_chars_per_word=100
        )
    )
    oracle.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase
    )
    oracle.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return oracle


def test_vocabulary_has_the_size_and_begins_with_the_special_tokens(tokens):
    assert len(tokens) == len(set(tokens)) == 600
    assert tokens[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert not any(token != token.lower() for token in tokens[5:])


def test_first_merge_is_the_one_worked_out_by_hand():
    # Counted pairs: (a, ##b) 3, (##b, ##c) 2; the first merge makes "ab".
    tokens = vocabulary.train_vocabulary(["abc abc ab"], 11)
    assert tokens[5:] == ("##b", "##c", "a", "b", "c", "ab")


def test_vocabulary_is_the_same_every_time():
    # All pairs tie; the trainer alone would order them anew each time.
    words = ["abcdef ghijkl mnopqr stuvwx"]
    vocabularies = {vocabulary.train_vocabulary(words, 60) for _ in range(5)}
    assert len(vocabularies) == 1


@pytest.mark.slow
def test_vocabulary_is_the_same_in_another_process(texts, tokens):
    program = (
        "import sys; from kbig.data.vocabulary import train_vocabulary;"
        "tokens = train_vocabulary(sys.stdin.read().split('\\n'), 600);"
        "import hashlib;"
        "print(hashlib.md5(' '.join(tokens).encode()).hexdigest())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        input="\n".join(texts),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    expected = hashlib.md5(" ".join(tokens).encode()).hexdigest()
    assert answer.stdout.strip() == expected


def test_case_is_kept_on_request():
    tokens = vocabulary.train_vocabulary(["É É e"], 20, lowercase=False)
    assert {"É", "e"} <= set(tokens)
    assert set(vocabulary.train_vocabulary(["É"], 20)[5:]) == {"e"}


def test_rare_characters_give_way_in_a_small_vocabulary():
    # Room for (9 - 5) // 2 = 2 characters: a (3 times) and b (2 times).
    tokens = vocabulary.train_vocabulary(["a a a b b c"], 9)
    assert tokens[5:] == ("a", "b")


@pytest.mark.parametrize("texts, size", [(["a"], 6), ([], 20), ([" "], 20)])
def test_impossible_vocabularies_are_rejected(texts, size):
    with pytest.raises(UsageError, match="size=6|no characters"):
        vocabulary.train_vocabulary(texts, size)


def test_save_and_load(tokens, tmp_path):
    path = vocabulary.save_vocabulary(tokens, tmp_path / "vocabulary.txt")
    assert path.read_text(encoding="utf-8").split("\n")[2] == "[CLS]"
    assert vocabulary.load_vocabulary(path) == tokens


@pytest.mark.parametrize(
    "content, message",
    [
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n", r"lacks .*\[MASK\]"),
        (b"[PAD]\n[UNK]\n\na\n", "line 3: the token is empty"),
        (b"[PAD]\na\nb\na\n", "line 4: the token 'a' is on line 2"),
        (b"[PAD]\n\xff\n", "line 2: text must be UTF-8"),
    ],
)
def test_broken_vocabularies_name_the_line(content, message, tmp_path):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        vocabulary.load_vocabulary(path)


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
    encoded = vocabulary.encode(
        strings, vocabulary.tokenizer(tokens, lowercase), 512
    )
    for row, text in zip(encoded["token_ids"].numpy(), strings):
        ids = oracle.encode(text, add_special_tokens=False).ids
        expected = [2, *ids, 3] + [0] * (510 - len(ids))
        np.testing.assert_array_equal(row, expected, err_msg=repr(text))


@pytest.mark.parametrize(
    "text, lowercase", [("straße", True), ("é" * 60, False)]
)
def test_known_differences_from_hugging_face(tokens, text, lowercase):
    tokens = (*tokens, "é", "##é", "ß", "##ß")
    oracle = hugging_face(tokens, lowercase)
    encoded = vocabulary.encode(
        [text], vocabulary.tokenizer(tokens, lowercase), 64
    )
    ids = encoded["token_ids"].numpy()[0]
    ids = ids[1 : encoded["padding_mask"].numpy().sum() - 1]
    theirs = oracle.encode(text, add_special_tokens=False).ids
    if lowercase:
        same = oracle.encode("strasse", add_special_tokens=False).ids
        assert list(ids) == same != theirs
    else:
        assert list(ids) == [1] and len(theirs) == 60


def test_encode_frames_cuts_and_pads():
    tokens = (*vocabulary.SPECIAL_TOKENS, "a", "b")
    encoded = vocabulary.encode(
        ["", "a b", "a b a b a"], vocabulary.tokenizer(tokens), 5
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
    tokens = (*vocabulary.SPECIAL_TOKENS, "a", "b")
    bert_tokenizer = vocabulary.tokenizer(tokens)
    expected = [[2, 5, 6, 3], [2, 6, 3, 0]]

    def transform(texts):
        return vocabulary.encode(texts, bert_tokenizer, 4)

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
    bert_tokenizer = vocabulary.tokenizer(vocabulary.SPECIAL_TOKENS)
    with pytest.raises(UsageError, match="shape"):
        vocabulary.encode("a", bert_tokenizer, 8)
    with pytest.raises(UsageError, match="sequence_length=2"):
        vocabulary.encode(["a"], bert_tokenizer, 2)
