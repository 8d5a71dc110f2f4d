"""Tagged sentences of column files, such as CoNLL's."""

import dataclasses
import pathlib
import re
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kbig.data.dataset import SPLITS
from kbig.data.dataset import Dataset
from kbig.data.dataset import from_parts
from kbig.data.reading import read_text
from kbig.data.reading import suffix_of
from kbig.data.splits import SPLIT_NAMES
from kbig.data.splits import assign_splits
from kbig.errors import DataError

SUFFIXES = (".conll", ".iob", ".bio")
# IOBES and BILOU say more than B and I, and what they say follows from them.
_PREFIXES = {"B": "B", "I": "I", "E": "I", "L": "I", "S": "B", "U": "B"}
_SPAN_TAG = re.compile(r"([BIELSU])-(.+)")


@dataclasses.dataclass(frozen=True)
class _Sentence:
    """Words and tags, with where each word is in its file."""

    path: pathlib.Path
    split: str | None
    words: tuple[str, ...]
    tags: tuple[str, ...]
    lines: tuple[int, ...]

    def where(self, word):
        return f"{self.path}, line {self.lines[word]}"


def read_tags(path: pathlib.Path) -> Dataset:
    """Reads sentences of words, each with a tag.

    A line is a word: the first column is the word, the last its tag, and
    what lies between is not read. Columns are divided by tabs where the
    first line has one, else by spaces. A blank line ends a sentence, and
    lines that begin with `-DOCSTART-` are skipped.

    Tags of spans become BIO (IOB2), whether they were IOB1, BIO, IOBES or
    BILOU: the first word of a span of X has `B-X` and the others `I-X`, so
    an `I-X` that nothing of X goes before becomes `B-X`. Where no tag is
    `O`, `B-...` or `I-...`, tags stay as they are, as parts of speech.

    Args:
        path: a `.conll`, `.iob` or `.bio` file, which may be compressed
            (`.gz`, `.xz`); or a folder of files named after the splits,
            such as `train.conll`, `dev.conll` and `test.conll`.

    Returns:
        A `Dataset` of kind `"tags"`. Class names are the tags: `O` first,
        where there are spans, the others sorted.

    Raises:
        DataError: naming the file and the line.

    Example:
    ```python
    data = kbig.data.load("ner.conll")
    words, tags = data.arrays("train")
    ```
    """
    sentences = [
        sentence
        for split, file in _files(path)
        for sentence in _sentences(file, split)
    ]
    if not sentences:
        raise DataError(f"{path} holds no word with a tag.")
    tags = _normalized(sentences)
    given = [sentence.split for sentence in sentences]
    splits, rule = assign_splits(
        ["\0".join(sentence.words).encode() for sentence in sentences],
        None if given[0] is None else given,
        [tuple({_type(tag) for tag in several}) for several in tags],
        source=str(path),
    )
    names = _class_names(sentences, tags, splits)
    number = {name: index for index, name in enumerate(names)}
    numbers = [[number[tag] for tag in several] for several in tags]
    return from_parts(
        {
            split: _elements(
                [s.words for s, own in zip(sentences, splits) if own == split],
                [n for n, own in zip(numbers, splits) if own == split],
            )
            for split in SPLITS
        },
        name=str(path),
        kind="tags",
        class_names=names,
        licence="unknown",
        source=str(path),
        split=rule,
    )


def holds_tags(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds column files of tagged words.

    Args:
        folder: the folder to look into.

    Returns:
        Whether there is a `.conll`, `.iob` or `.bio` file right in it.
    """
    return any(suffix_of(file) in SUFFIXES for file in folder.iterdir())


def to_bio(tags: Sequence[str]) -> tuple[str, ...]:
    """Writes the tags of one sentence as BIO (IOB2).

    Args:
        tags: in IOB1, BIO, IOBES or BILOU.

    Returns:
        The tags of the same spans: `B-X` for the first word of a span of X,
        `I-X` for the others, `O` outside.

    Raises:
        ValueError: the first tag that is none, as its only argument.

    Example:
    ```python
    to_bio(["I-PER", "I-PER", "O", "S-LOC"])
    # ("B-PER", "I-PER", "O", "B-LOC")
    ```

    Reference:
        Tjong Kim Sang and Veenstra, 1999, [Representing Text
        Chunks](https://aclanthology.org/E99-1023/).
    """
    written, open_type = [], None
    for tag in tags:
        if tag == "O":
            written.append(tag)
            open_type = None
            continue
        match = _SPAN_TAG.fullmatch(tag)
        if match is None:
            raise ValueError(tag)
        prefix, kind = _PREFIXES[match[1]], match[2]
        prefix = prefix if kind == open_type else "B"
        written.append(f"{prefix}-{kind}")
        # What follows the last word of a span is another span.
        open_type = None if match[1] in "ELSU" else kind
    return tuple(written)


def _files(path) -> list[tuple[str | None, pathlib.Path]]:
    if path.is_file():
        return [(None, path)]
    found = []
    for file in sorted(path.iterdir()):
        name, _, rest = file.name.partition(".")
        if name in SPLIT_NAMES and rest and file.is_file():
            found.append((SPLIT_NAMES[name], file))
        elif suffix_of(file) in SUFFIXES:
            raise DataError(
                f"{file}: files of a folder must be named after their split: "
                f"{', '.join(SPLIT_NAMES)}, such as train.conll. Received: "
                f"{file.name}. Rename it, or move it elsewhere."
            )
    if "train" not in (split for split, _ in found):
        raise DataError(
            f"{path} must hold a training file, such as train.conll. "
            f"Received: {', '.join(f.name for _, f in found) or 'none'}"
        )
    return found


def _sentences(path, split) -> Iterator[_Sentence]:
    words, width, by_tab = [], None, None
    lines = read_text(path).split("\n")
    for line, content in enumerate([*lines, ""], start=1):
        content = content.removesuffix("\r")
        if not content.strip():
            if words:
                yield _Sentence(path, split, *zip(*words))
            words = []
            continue
        if content.startswith("-DOCSTART-"):
            continue
        if by_tab is None:
            by_tab = "\t" in content
        columns = _columns(content, by_tab)
        width = width or max(2, len(columns))
        _check_columns(f"{path}, line {line}", columns, width, by_tab)
        words.append((columns[0].strip(), columns[-1].strip(), line))


def _columns(content, by_tab):
    # Not `str.split()`: a no-break space may be part of a word.
    return (
        content.split("\t") if by_tab else re.split("[ \t]+", content.strip())
    )


def _check_columns(where, columns, width, by_tab):
    if len(columns) != width:
        raise DataError(
            f"{where}: expected {width} columns"
            f"{'' if by_tab else ' divided by spaces'}, a word first and its "
            f"tag last, as on the lines before. Received: {len(columns)} "
            f"columns in {' '.join(columns)!r}"
        )
    for name, value in (("word", columns[0]), ("tag", columns[-1])):
        if not value.strip():
            raise DataError(f"{where}: the {name} is empty.")


def _normalized(sentences):
    """The tags of all sentences, as BIO where they are of spans."""
    tags = [sentence.tags for sentence in sentences]
    if not any(_of_spans(tag) for several in tags for tag in several):
        return tags
    return [_as_bio(sentence) for sentence in sentences]


def _of_spans(tag):
    return tag == "O" or tag.startswith(("B-", "I-"))


def _as_bio(sentence):
    try:
        return to_bio(sentence.tags)
    except ValueError as error:
        tag = error.args[0]
        raise DataError(
            f"{sentence.where(sentence.tags.index(tag))}: a tag must be O, or "
            "B- or I- and the kind of the span, as others in this file are. "
            f"Received: {tag!r}"
        ) from None


def _type(tag):
    """What a tag is of: `PER` of `B-PER` and of `I-PER`."""
    match = _SPAN_TAG.fullmatch(tag)
    return match[2] if match else tag


def _class_names(sentences, tags, splits):
    seen = {
        _type(tag)
        for several, split in zip(tags, splits)
        if split == "train"
        for tag in several
    }
    for sentence, several, split in zip(sentences, tags, splits):
        for word, tag in enumerate(several):
            if _type(tag) not in seen:
                raise DataError(
                    f"{sentence.where(word)}: tag {tag!r} is only in the "
                    f"{split} split; what is tagged must be seen in training. "
                    f"Training has: {', '.join(sorted(seen))}"
                )
    names = {tag for several in tags for tag in several}
    spans = any(_of_spans(name) for name in names)
    names = ("O",) * spans + tuple(sorted(names - {"O"}))
    if len(names) < 2:
        raise DataError(
            f"{sentences[0].where(0)}: there must be two tags or more. "
            f"Received: only {names[0]!r}"
        )
    return names


def _elements(words, tags) -> tf.data.Dataset:
    sizes = np.array([len(sentence) for sentence in words])
    ends = tf.constant(np.cumsum(sizes))
    starts = ends - sizes
    flat_words = tf.constant([w for sentence in words for w in sentence])
    flat_tags = tf.constant([t for several in tags for t in several], tf.int32)

    def element(row):
        part = slice(starts[row], ends[row])
        return flat_words[part], flat_tags[part]

    return tf.data.Dataset.range(len(words)).map(element)
