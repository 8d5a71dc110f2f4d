"""What models of texts start from: words, and how to make a backbone."""

import dataclasses
import functools

import kbig
from kbig.errors import UsageError
from recipes import text_tasks
from recipes import vocabularies

_POSITIONS = 512  # Of every BERT that kbig builds.
# Share of words that are broken up from which on new tokens are worth it: a
# vocabulary of the task's own language breaks up a third of that.
_MUCH = 0.2
_TRAINS_TOKENS = ("full", "layerwise", "gradual")


@dataclasses.dataclass(frozen=True)
class Start:
    """What trainings start from.

    Args:
        vocabulary: the tokens in order of their ids.
        lowercase: whether the tokenizer folds the case.
        strip_accents: whether it strips accents.
        positions: tokens of the longest rows that the backbone takes.
        backbone: makes it, in the scope of a runtime.
        untrained: likewise, the same BERT from nothing.
    """

    vocabulary: tuple[str, ...]
    lowercase: bool
    strip_accents: bool
    positions: int
    backbone: functools.partial
    untrained: functools.partial


def start(config, dataset) -> Start:
    """Reads what training starts from, or trains a vocabulary for it.

    Args:
        config: of `kbig finetune`.
        dataset: labelled texts or tagged words.

    Returns:
        What trainings start from.

    Raises:
        UsageError: --from cannot be read.
    """
    if config.from_:
        return _pretrained(config, _texts(dataset))
    tokens = vocabularies.new_vocabulary(_texts(dataset), config)
    new = functools.partial(kbig.models.bert, config.size, len(tokens[0]))
    return Start(*tokens, _POSITIONS, new, new)


def _texts(dataset):
    task = text_tasks.TASKS[dataset.info.task]
    return text_tasks.strings(task.texts(dataset.arrays("train")[0]))


def row_length(config, texts, tokenizer, positions: int, whose: str) -> int:
    """The length of rows that was asked for, or one that suits the texts.

    Args:
        config: with `sequence_length`, 0 where none was asked for.
        texts: strings `(n,)`, or pairs `(n, 2)`.
        tokenizer: of the model.
        positions: tokens of the longest rows that it takes.
        whose: names the model in the error.

    Returns:
        Tokens of a row.

    Raises:
        UsageError: the rows have no room for the special tokens and one more
            a text, or are longer than the model takes.
    """
    length = config.sequence_length or kbig.data.suitable_length(
        texts, tokenizer, positions
    )
    least = 1 + 2 * texts.ndim
    if not least <= length <= positions:
        of = "pairs" if texts.ndim == 2 else "texts"
        raise UsageError(
            f"--sequence-length must be from {least}, the least for {of}, to "
            f"the {positions} positions of {whose}. Received: {length}."
        )
    return length


def _pretrained(config, texts) -> Start:
    source = config.from_
    found = kbig.pretrained.load(source)
    for note in found.notes:
        # Only one of the heads reads the pooler.
        if note != kbig.pretrained.NO_POOLER or config.pooling == "cls":
            print(kbig.reporting.cells.one_line(f"{source}: {note}"))
    words, pieces = _new_words(config, texts, found)
    vocabulary = (*found.vocabulary, *words)
    return Start(
        vocabulary,
        found.lowercase,
        found.strip_accents,
        found.backbone.max_sequence_length,
        functools.partial(_loaded, source, pieces),
        functools.partial(
            kbig.models.bert, _size_of(found.backbone), len(vocabulary)
        ),
    )


def _new_words(config, texts, found) -> tuple[tuple, tuple]:
    """Words that become tokens, and the pieces that each starts from."""
    most = config.new_words
    if most == 0:
        return (), ()
    broken = kbig.data.broken_words(
        texts,
        found.vocabulary,
        lowercase=found.lowercase,
        strip_accents=found.strip_accents,
    )
    if most < 0:
        worth_it = broken.share > _MUCH and config.method in _TRAINS_TOKENS
        most = len(found.vocabulary) if worth_it else 0
    words, pieces = broken.words[:most], broken.pieces[:most]
    if words:
        print(
            f"{config.from_}: {broken.share:.0%} of the words of the task are "
            f"none of its tokens. The {len(words):,} most frequent ones become "
            "tokens."
        )
    return words, pieces


def _loaded(source: str, pieces=()):
    """Read anew for each training, since training changes the weights."""
    backbone = kbig.pretrained.load(source).backbone
    if not pieces:
        return backbone
    return kbig.models.with_new_tokens(backbone, pieces)


def _size_of(backbone) -> dict:
    names = (
        "num_layers",
        "hidden_dim",
        "num_heads",
        "intermediate_dim",
        "max_sequence_length",
        "dropout",
    )
    activation = kbig.models.activation_of(backbone.transformer_layers[0])
    sizes = {name: getattr(backbone, name) for name in names}
    return {**sizes, "activation": activation}
