import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from kbig.data import encoding
from kbig.data import vocabulary
from kbig.errors import DataError
from kbig.errors import UsageError
from tests.data.oracles import hugging_face


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


def chinese_sentences(characters=1200):
    """Sentences of many distinct characters, with Latin words and stops."""
    symbols = [chr(0x4E00 + 7 * number) for number in range(characters)]
    for begin in range(0, characters, 10):
        yield "".join(symbols[begin : begin + 10]) + "，用 Keras 训练。"


def test_a_chinese_corpus_gets_all_of_its_characters():
    sentences = list(chinese_sentences()) * 3
    tokens = vocabulary.train_vocabulary(sentences, 1800)
    distinct = {c for text in sentences for c in text} - set(" Keras")
    assert distinct <= set(tokens) and len(tokens) <= 1800
    # Chinese characters are words, so nothing continues them.
    assert not any(
        ord(c) >= 0x3400 for t in tokens if t.startswith("##") for c in t
    )
    bert_tokenizer = encoding.tokenizer(tokens)
    oracle = hugging_face(tokens)
    for ids, text in zip(
        encoding.tokenize(sentences[:200], bert_tokenizer).to_list(), sentences
    ):
        assert ids == oracle.encode(text, add_special_tokens=False).ids
        assert tokens.index("[UNK]") not in ids


def test_chinese_words_of_real_sentences_are_single_characters():
    sentences = [
        "《红楼梦》是中国古典小说。",
        "北京大学有三万名学生！",
        "模型在 2024 年用 BERT 训练。",
    ]
    tokens = vocabulary.train_vocabulary(sentences * 2, 200)
    ids = encoding.tokenize(sentences, encoding.tokenizer(tokens)).to_list()
    assert [tokens[i] for i in ids[0]] == list(sentences[0])
    assert [tokens[i] for i in ids[1]] == list(sentences[1])
    oracle = hugging_face(tokens)
    assert ids == [
        oracle.encode(text, add_special_tokens=False).ids for text in sentences
    ]


def test_rare_chinese_characters_leave_room_in_an_english_corpus(texts):
    rare = "".join(chr(0x4E00 + number) for number in range(3000))
    tokens = vocabulary.train_vocabulary([*texts, rare], 1000)
    characters = [token for token in tokens if len(token) == 1]
    # Of the 995 that are not special a half, and some for the Chinese share.
    share = len(rare) / len("".join([*texts, rare]).replace(" ", ""))
    assert share < 0.1 and len(characters) <= 995 * (1 + share) / 2
    assert sum(len(token.removeprefix("##")) > 1 for token in tokens) > 300
    assert set("abcdefghijklmnopqrstuvwxyz") <= set(characters)


def test_texts_are_gone_through_anew_or_held():
    class Texts:
        count = 0

        def __iter__(self):
            self.count += 1
            yield from ["abc abc ab"]

    anew = Texts()
    expected = vocabulary.train_vocabulary(["abc abc ab"], 11)
    assert vocabulary.train_vocabulary(anew, 11) == expected
    assert anew.count == 3
    assert vocabulary.train_vocabulary(iter(["abc abc ab"]), 11) == expected


def test_accents_are_kept_without_case_on_request():
    tokens = vocabulary.train_vocabulary(["É É e"], 20, strip_accents=False)
    assert set(tokens[5:]) == {"é", "e"}


def test_continuing_pieces_and_fingerprints():
    tokens = ("[PAD]", "low", "##er", "#", "##")
    pieces = vocabulary.continuing_pieces(tokens)
    np.testing.assert_array_equal(pieces, [False, False, True, False, True])
    digest = hashlib.sha256(b"[PAD]\nlow\n##er\n#\n##\n").hexdigest()
    assert vocabulary.fingerprint(tokens) == digest
