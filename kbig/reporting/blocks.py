"""What a page is made of: sections of texts, numbers, tables and figures."""

import dataclasses
import typing
from collections.abc import Mapping
from collections.abc import Sequence

from kbig.errors import UsageError
from kbig.reporting.cells import Cell
from kbig.reporting.tables import Table

_MAX_BARS = 5


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph of plain text.

    Args:
        paragraph: the text; markup in it is shown, not followed.
    """

    paragraph: str


@dataclasses.dataclass(frozen=True)
class Preformatted:
    """Text whose lines and spaces stay, such as a summary of a model.

    Args:
        text: the text.
    """

    text: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """A drawing with a caption; figures in a row stand side by side.

    Args:
        svg: an `<svg>` element out of `kbig.reporting.plots`. It goes into
            the page as it is, so it must come from a source you trust.
        caption: the text below it.
        wide: whether it takes the whole width of the page for itself.

    Raises:
        UsageError: if `svg` is not an `<svg>` element.
    """

    svg: str
    caption: str = ""
    wide: bool = False

    def __post_init__(self):
        if not self.svg.lstrip().startswith("<svg"):
            raise UsageError(
                "A figure is an <svg> element. "
                f"Received: svg={self.svg[:40]!r}. "
                "Draw it with a function of kbig.reporting.plots."
            )


@dataclasses.dataclass(frozen=True)
class Cards:
    """The numbers that matter most, in large type.

    Args:
        cards: (label, value, hint) for each card; the value is formatted
            like a cell of a table, the hint may be empty.

    Raises:
        UsageError: if an entry does not have these three parts.

    Example:
        ```python
        Cards([("Test accuracy", Percent(0.934), "2,000 examples")])
        ```
    """

    cards: Sequence[tuple[str, Cell, str]]

    def __post_init__(self):
        for card in self.cards:
            if len(card) != 3:
                raise UsageError(
                    "A card has three parts: (label, value, hint). "
                    f"Received: {card!r}. Pass '' for no hint."
                )


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a model said about one example.

    Args:
        text: the example.
        probabilities: the probability of each class by its name; the page
            shows the five greatest.
        label: the true class, if it is known.

    Raises:
        UsageError: if there are no probabilities, or one is not within
            0 and 1.

    Example:
        ```python
        Prediction("a large cat", {"animal": 0.9, "plant": 0.1}, "animal")
        ```
    """

    text: str
    probabilities: Mapping[str, float]
    label: str | None = None

    def __post_init__(self):
        if not self.probabilities or not all(
            0 <= probability <= 1 for probability in self.probabilities.values()
        ):
            raise UsageError(
                "A prediction needs probabilities between 0 and 1. Received: "
                f"probabilities={dict(self.probabilities)!r}. "
                "Apply a softmax to logits first."
            )

    @property
    def predicted(self) -> str:
        """The class with the greatest probability."""
        return max(self.probabilities, key=self.probabilities.get)

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """The classes that the page shows, the most probable first."""
        return sorted(self.probabilities.items(), key=lambda entry: -entry[1])[
            :_MAX_BARS
        ]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Examples with what a model said about them.

    Args:
        examples: the predictions, in the order in which to show them.
    """

    examples: Sequence[Prediction]


@dataclasses.dataclass(frozen=True)
class Details:
    """A block that is folded away until it is clicked.

    Args:
        summary: the line that stays visible.
        block: what unfolds.

    Raises:
        UsageError: if the block is of a kind that a page cannot show.
    """

    summary: str
    block: "Block"

    def __post_init__(self):
        _check_block(self.block, f"the details {self.summary!r}")


Block = Table | Figure | Text | Preformatted | Cards | Predictions | Details
_KINDS = ", ".join(kind.__name__ for kind in typing.get_args(Block))


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own.

    Args:
        title: the heading.
        blocks: what it shows, from top to bottom.
        lead: a sentence below the heading.

    Raises:
        UsageError: if a block is of a kind that a page cannot show.

    Example:
        ```python
        Section("Data", [Text("Glosses of WordNet 3.0.")])
        ```
    """

    title: str
    blocks: Sequence[Block]
    lead: str = ""

    def __post_init__(self):
        for block in self.blocks:
            _check_block(block, f"the section {self.title!r}")


def _check_block(block: Block, place: str) -> None:
    if not isinstance(block, Block):
        raise UsageError(
            f"A page shows blocks of these kinds: {_KINDS}. "
            f"Received: {type(block).__name__} in {place}. "
            "Wrap it, for instance in Text."
        )
