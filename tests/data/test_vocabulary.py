import hashlib
import os
import subprocess
import sys

import pytest

from kbig.data import vocabulary
from kbig.errors import DataError
from kbig.errors import UsageError


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
