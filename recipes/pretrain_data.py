"""The corpus of `kbig pretrain-mlm`: read, split and tokenized."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import kbig
from kbig.errors import UsageError
from recipes import common

# Of a corpus that is streamed: one document in fifty.
_HELD_OUT = 0.02


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents of both splits, and where they come from."""

    train: Iterable[str]
    held_out: Iterable[str]
    facts: list


@dataclasses.dataclass(frozen=True)
class Words:
    """What turns texts into ids."""

    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool

    @property
    def special_ids(self) -> list[int]:
        """Ids that are never hidden and never drawn."""
        return [
            self.vocabulary.index(token) for token in kbig.data.SPECIAL_TOKENS
        ]

    @property
    def pad_id(self) -> int:
        """Id of padding."""
        return self.vocabulary.index("[PAD]")

    @property
    def unknown_id(self) -> int:
        """Id of what the vocabulary has no pieces for."""
        return self.vocabulary.index("[UNK]")

    def frame(self) -> dict[str, int]:
        """Ids of what stands around texts, as packers name them."""
        return {
            f"{name}_id": self.vocabulary.index(f"[{name.upper()}]")
            for name in ("cls", "sep", "pad")
        }


class _Chain:
    """Several iterables one after the other, any number of times."""

    def __init__(self, parts: list[Iterable[str]]):
        self.parts = parts

    def __iter__(self) -> Iterator[str]:
        return itertools.chain.from_iterable(self.parts)


@dataclasses.dataclass(frozen=True)
class _First:
    """The first documents of a stream; 0 is all."""

    documents: Iterable[str]
    limit: int

    def __iter__(self) -> Iterator[str]:
        return itertools.islice(self.documents, self.limit or None)


@dataclasses.dataclass(frozen=True)
class _Share:
    """The documents whose hash is in the range held out, or not in it."""

    documents: Iterable[str]
    held_out: bool

    def __iter__(self) -> Iterator[str]:
        return filter(self._holds, self.documents)

    def _holds(self, document: str) -> bool:
        from kbig.data.splits import content_position

        position = content_position(document.encode())
        return (position < _HELD_OUT) == self.held_out


def read_corpus(config) -> Corpus:
    """Opens every part of the corpus; test rows are never read.

    Raises:
        UsageError: there is no corpus, none that can be streamed, or none
            that pairs of sentences can be made of.
    """
    if not config.corpus:
        raise UsageError("A corpus is needed. Received: none.")
    part = _streamed if config.stream else _loaded
    train, held_out, facts = zip(
        *(part(name, config) for name in config.corpus)
    )
    corpus = Corpus(_Chain(train), _Chain(held_out), list(facts))
    if config.objective == "mlm+nsp":
        _check_several("training", corpus.train)
        _check_several("held-out", corpus.held_out)
    return corpus


def _check_several(name: str, documents: Iterable[str]) -> None:
    found = len(list(itertools.islice(documents, 2)))
    if found < 2:
        raise UsageError(
            "--objective mlm+nsp pairs texts of different documents, so there "
            f"must be two of each split. Received: {found} {name} document. "
            "Add documents, or pass --objective mlm+sop."
        )


def _streamed(name: str, config):
    if not pathlib.Path(name).exists():
        raise UsageError(
            "--stream reads text files. Received: --corpus "
            f"{name}, which is no file or folder."
        )
    train = kbig.data.stream_documents(name, split="train")
    if "validation" in train.splits:
        held_out = kbig.data.stream_documents(name, split="validation")
        rule = "validation as given"
    else:
        train, held_out = (_Share(train, side) for side in (False, True))
        rule = "of the training documents one in fifty is held out, by hash"
    for documents in (train, held_out):
        if next(iter(documents), None) is None:
            raise UsageError(
                "--stream needs documents to train on and others to test "
                f"on. Received: --corpus {name}, {rule}, which leaves none "
                "on one side. Add documents, or leave --stream out."
            )
    facts = f"{name}, streamed; {rule}"
    return _First(train, config.limit), held_out, facts


def load_texts(name: str, limit: int = 0, **columns):
    """Loads a corpus, the texts of a table, or labelled texts by name.

    Args:
        name: what `kbig.data.load` takes.
        limit: training documents to keep; 0 is all.
        **columns: `text_column` and `split_column` of tables; empty ones are
            left out.
    """
    from kbig.data.tables import is_table

    options = {}
    if is_table(pathlib.Path(name)):
        options = {"kind": "corpus", **columns}
    return common.load_data(name, ("corpus", "text"), limit, **options)


def _loaded(name: str, config):
    from kbig.data.corpora import made_of_paragraphs

    dataset = load_texts(
        name,
        config.limit,
        text_column=config.text_column,
        split_column=config.split_column,
    )
    if config.objective == "mlm+nsp" and made_of_paragraphs(dataset.info):
        raise UsageError(
            "--objective mlm+nsp needs ten documents or more, as it tells "
            f"one document from another. Received: --corpus {name}, of "
            "fewer. Put empty lines between documents, or pass --objective "
            "mlm+sop."
        )
    train, held_out = (
        dataset.arrays(split)[0] for split in ("train", "validation")
    )
    return train, held_out, dataset.info


def tokenized(
    corpus: Corpus, words: Words, directory: pathlib.Path
) -> tuple[Any, Any]:
    """Writes both splits as shards, unless they are there, and opens them."""
    splits = {"train": corpus.train, "held-out": corpus.held_out}
    casing = {
        "lowercase": words.lowercase,
        "strip_accents": words.strip_accents,
    }
    shards = []
    for name, documents in splits.items():
        report = kbig.data.write_shards(
            documents, directory / name, words.vocabulary, **casing
        )
        kbig.reporting.show(*report.tables())
        shards.append(
            kbig.data.read_shards(
                directory / name,
                words.vocabulary,
                # Of those kept only the text has been compared.
                checksums=report.kept > 0,
            )
        )
    return tuple(shards)
