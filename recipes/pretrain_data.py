"""From a corpus to rows of ids for `kbig pretrain-mlm`."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any

import numpy as np

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
class _Share:
    """The first documents, or all, whose hash is in a range."""

    documents: Iterable[str]
    held_out: bool
    limit: int = 0

    def __iter__(self) -> Iterator[str]:
        own = filter(self._holds, self.documents)
        return itertools.islice(own, self.limit or None)

    def _holds(self, document: str) -> bool:
        from kbig.data.splits import content_position

        position = content_position(document.encode())
        return (position < _HELD_OUT) == self.held_out


def read_corpus(config) -> Corpus:
    """Opens every part of the corpus; test rows are never read.

    Raises:
        UsageError: there is no corpus, or none that can be streamed.
    """
    if not config.corpus:
        raise UsageError("A corpus is needed. Received: none.")
    part = _streamed if config.stream else _loaded
    train, held_out, facts = zip(
        *(part(name, config) for name in config.corpus)
    )
    return Corpus(_Chain(train), _Chain(held_out), list(facts))


def _streamed(name: str, config):
    if not pathlib.Path(name).exists():
        raise UsageError(
            "--stream reads text files. Received: --corpus "
            f"{name}, which is no file or folder."
        )
    documents = kbig.data.stream_documents(name)
    for held_out in (False, True):
        if next(iter(_Share(documents, held_out)), None) is None:
            raise UsageError(
                "--stream holds one in fifty documents out, by hash, which "
                f"leaves none on one side. Received: --corpus {name}. Add "
                "documents, or leave --stream out."
            )
    facts = f"{name}, streamed; one document in fifty is held out"
    train = _Share(documents, False, config.limit)
    return train, _Share(documents, True), facts


def _loaded(name: str, config):
    columns = {}
    if any(suffix in name for suffix in (".csv", ".tsv", ".jsonl")):
        columns["text_column"] = config.text_column
        columns["label_column"] = config.label_column
    dataset = common.load_data(
        name, ("corpus", "text"), limit=config.limit, **columns
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
    for name, documents in splits.items():
        report = kbig.data.write_shards(
            documents, directory / name, words.vocabulary, **casing
        )
        kbig.reporting.show(*report.tables())
    return tuple(
        # Writing has just compared every file with its text.
        kbig.data.read_shards(
            directory / name, words.vocabulary, checksums=False
        )
        for name in splits
    )


def rows(shards, words: Words, config) -> dict[str, np.ndarray]:
    """Rows of ids, `(rows, sequence_length)`, by the names of inputs."""
    make = _ROWS[config.objective, config.pack]
    return make(shards, words, config)


def _full_rows(shards, words, config):
    return {
        "token_ids": kbig.data.pack_documents(
            shards.documents(), config.sequence_length, **words.frame()
        )
    }


def _packed_rows(shards, words, config):
    paragraphs = itertools.chain.from_iterable(shards.documents())
    return kbig.data.pack_texts(
        paragraphs, config.sequence_length, **words.frame()
    )


def _pairs(objective: str) -> Callable:
    def make(shards, words, config):
        return kbig.data.sentence_pairs(
            list(shards.documents()),
            config.sequence_length,
            objective=objective,
            seed=config.seed,
            **words.frame(),
        )

    return make


# (objective, packed or not) -> rows. A new objective is a line here.
_ROWS = {
    ("mlm", False): _full_rows,
    ("mlm", True): _packed_rows,
    ("mlm+nsp", False): _pairs("nsp"),
    ("mlm+sop", False): _pairs("sop"),
}


def frequencies(rows, words: Words, size: int) -> np.ndarray:
    """Share of each id among what may be hidden, float32, none is 0."""
    counts = np.bincount(rows["token_ids"].ravel(), minlength=size)
    counts[words.special_ids] = 0
    return ((counts + 1) / (counts + 1).sum()).astype(np.float32)


def unigram_entropy(rows, held_out, words: Words, size: int) -> float:
    """Nats a token when each is predicted by its frequency in training.

    What a model without context reaches on the held-out rows: the bar that
    the loss has to fall below.
    """
    ids = held_out["token_ids"]
    hidden = ids[~np.isin(ids, words.special_ids)]
    return float(-np.log(frequencies(rows, words, size)[hidden]).mean())
