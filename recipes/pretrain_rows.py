"""Rows of ids for `kbig pretrain-mlm`, and what is counted in them."""

import dataclasses
import itertools
import pathlib
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

import kbig
from kbig.errors import UsageError
from recipes.pretrain_data import Corpus
from recipes.pretrain_data import Words

_SAMPLE = 100_000  # Tokens that tell whether a vocabulary fits.
_MOST_UNKNOWN = 0.5
_BLOCK = 2**14  # Rows that are counted at once.


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of one split.

    Args:
        groups: for each length of rows, the longest last, `token_ids`
            `(rows, length)`, and what else a model takes, by the names of
            inputs.
        counts: int64, how often each id is among them.
        words: what the ids are of.
    """

    groups: tuple[dict[str, np.ndarray], ...]
    counts: np.ndarray
    words: Words

    def __len__(self) -> int:
        """How many of the longest rows have as many slots as all together."""
        slots = sum(group["token_ids"].size for group in self.groups)
        return slots // self.groups[-1]["token_ids"].shape[1]

    @property
    def fill(self) -> float:
        """Share of the slots that are not padding."""
        return float(1 - self.counts[self.words.pad_id] / self.counts.sum())

    @property
    def unknown_share(self) -> float:
        """Share of the tokens of texts that are `[UNK]`; none is 0."""
        unknown = self.counts[self.words.unknown_id]
        return float(unknown / max(1, unknown + self.ordinary.sum()))

    @property
    def ordinary(self) -> np.ndarray:
        """How often each id may be hidden."""
        counts = self.counts.copy()
        counts[self.words.special_ids] = 0
        return counts

    @property
    def frequencies(self) -> np.ndarray:
        """Share of each id among what may be hidden, float32, none is 0."""
        counts = self.ordinary + 1
        return (counts / counts.sum()).astype(np.float32)


def make(
    documents: Iterable[Sequence[np.ndarray]],
    words: Words,
    config,
    size: int,
    file: pathlib.Path | None = None,
) -> Rows:
    """Makes the rows that the objective needs.

    Args:
        documents: the ids of the paragraphs of each.
        words: what the ids are of.
        config: of `kbig pretrain-mlm`.
        size: number of ids.
        file: where to put them, if not into memory; packed rows and pairs
            are held in memory all the same.
    """
    groups = _MAKERS[config.objective, config.pack](
        documents, words, config, file
    )
    counts = sum(
        np.bincount(ids[begin : begin + _BLOCK].ravel(), minlength=size)
        for ids in (group["token_ids"] for group in groups)
        for begin in range(0, len(ids), _BLOCK)
    )
    return Rows(groups, counts, words)


def _full_rows(documents, words, config, file):
    rows = kbig.data.pack_documents(
        documents, config.sequence_length, **words.frame(), path=file
    )
    return ({"token_ids": rows},)


def _packed_rows(documents, words, config, file):
    del file  # The longest texts are placed first, so all must be there.
    paragraphs = itertools.chain.from_iterable(documents)
    return kbig.data.pack_by_length(
        paragraphs, config.sequence_length, **words.frame()
    )


def _pairs(objective: str) -> Callable:
    def make(documents, words, config, file):
        del file  # A partner may come from anywhere, so all must be there.
        rows = kbig.data.sentence_pairs(
            list(documents),
            config.sequence_length,
            objective=objective,
            seed=config.seed,
            **words.frame(),
        )
        return (rows,)

    return make


# (objective, packed or not) -> rows. A new objective is a line here.
_MAKERS = {
    ("mlm", False): _full_rows,
    ("mlm", True): _packed_rows,
    ("mlm+nsp", False): _pairs("nsp"),
    ("mlm+sop", False): _pairs("sop"),
}


def check_sample(corpus: Corpus, words: Words, config) -> None:
    """Tokenizes as many documents as tell whether training can begin.

    Raises:
        UsageError: the vocabulary does not fit, or the corpus is smaller
            than one batch.
    """
    tokenizer = kbig.data.tokenizer(
        words.vocabulary, words.lowercase, words.strip_accents
    )
    # A row of any kind takes less than twice its tokens out of the corpus.
    enough = max(_SAMPLE, 2 * config.batch_size * config.sequence_length)
    documents, tokens, unknown = [], 0, 0
    for document in kbig.data.tokenize_documents(corpus.train, tokenizer):
        documents.append(document)
        for ids in document:
            tokens += len(ids)
            unknown += np.count_nonzero(ids == words.unknown_id)
        if tokens >= enough:
            break
    _check_unknown(unknown / max(1, tokens))
    if tokens < enough:
        size = len(words.vocabulary)
        _check_number(make(documents, words, config, size), config)


def check(train: Rows, held_out: Rows, config) -> None:
    """Makes sure that there is something to learn and to test.

    Raises:
        UsageError: the vocabulary does not fit, the rows do not fill one
            batch, or nothing can be hidden.
    """
    _check_unknown(train.unknown_share)
    _check_number(train, config)
    if not held_out.ordinary.any():
        raise UsageError(
            "The held-out documents must hold tokens that can be hidden. "
            f"Received: {held_out.counts[held_out.words.unknown_id]} [UNK] "
            "and nothing else. Add documents, or pass a vocabulary that fits."
        )


def _check_unknown(share: float) -> None:
    if share > _MOST_UNKNOWN:
        raise UsageError(
            "The vocabulary does not fit the corpus: at most "
            f"{_MOST_UNKNOWN:.0%} of the tokens may be [UNK]. Received: "
            f"{share:.0%}. It is of another language or another casing; pass "
            "a vocabulary of this corpus, or change --lowercase and "
            "--strip-accents."
        )


def _check_number(train: Rows, config) -> None:
    if len(train) < config.batch_size:
        raise UsageError(
            f"The corpus fills {len(train)} rows of {config.sequence_length} "
            "tokens, less than one batch. Received: --batch-size "
            f"{config.batch_size}"
            f"{f', --limit {config.limit}' if config.limit else ''}. Add "
            "text, or lower --batch-size or --sequence-length."
        )


def unigram_entropy(train: Rows, held_out: Rows) -> float:
    """Nats a token when each is predicted by its frequency in training.

    What a model without context reaches on the held-out rows: the bar that
    the loss has to fall below.
    """
    hidden = held_out.ordinary
    nats = -np.log(train.frequencies.astype(np.float64))
    return float((hidden * nats).sum() / hidden.sum())
