"""Words that a vocabulary breaks up: counted, ordered, in pieces."""

import tensorflow as tf

from kbig import data

VOCABULARY = (
    *data.SPECIAL_TOKENS,
    *"abcdefghijklmnopqrstuvwxyz",
    *(f"##{x}" for x in "abcdefghijklmnopqrstuvwxyz"),
    "low",
    "##er",
    ",",
    "東",
)
TEXTS = (
    "Lower, lower LOWER low",
    "newer newer, Éclair eclair!",
    "东東 東東 once",
)


def test_words_come_by_frequency_and_those_seen_once_do_not():
    found = data.broken_words(TEXTS, VOCABULARY)
    # Of 16, commas and each 東 included, six are tokens; 东, "!" and once are
    # none, and occur once.
    assert found.words == ("lower", "eclair", "newer")
    assert found.share == 10 / 16


def test_pieces_are_what_the_tokenizer_in_the_graph_gives():
    found = data.broken_words(TEXTS, VOCABULARY)
    tokenizer = data.tokenizer(VOCABULARY)
    rows = data.tokenize(tf.constant(found.words), tokenizer).to_list()
    assert [list(ids) for ids in found.pieces] == rows


def test_as_tokens_they_are_found_by_the_tokenizer():
    found = data.broken_words(TEXTS, VOCABULARY)
    longer = (*VOCABULARY, *found.words)
    assert data.broken_words(TEXTS, longer).words == ()
    tokenizer = data.tokenizer(longer)
    rows = data.tokenize(tf.constant(found.words), tokenizer).to_list()
    start = len(VOCABULARY)
    assert rows == [[start], [start + 1], [start + 2]]


def test_case_and_accents_are_those_of_the_vocabulary():
    found = data.broken_words(
        ["Éclair Éclair"], VOCABULARY, lowercase=False, strip_accents=False
    )
    assert found.words == ("Éclair",)
    assert found.pieces == ((1,),)  # [UNK]: there is no É.


def test_no_text_has_no_words():
    found = data.broken_words([""], VOCABULARY)
    assert (found.words, found.share) == ((), 0.0)
