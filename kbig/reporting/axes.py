"""Names on the axes of a plot."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from matplotlib.ticker import LogLocator
from matplotlib.ticker import NullFormatter

from kbig.reporting import svg
from kbig.reporting.cells import format_cell
from kbig.reporting.cells import one_line

_MAX_LABEL = 22


def shorten(name: str) -> str:
    """Cuts a name that would push the plot aside.

    Args:
        name: any text, such as the name of a class or a file.

    Returns:
        At most 22 characters on one line, with an ellipsis if cut.

    Example:
        ```python
        shorten("a name that nobody should have chosen")
        ```
    """
    name = one_line(name)
    return name if len(name) <= _MAX_LABEL else name[: _MAX_LABEL - 1] + "…"


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    """Names both axes.

    Args:
        axes: where the plot is drawn.
        x_label: the name of the horizontal axis; empty for none.
        y_label: the name of the vertical axis; empty for none.

    Example:
        ```python
        svg.draw(lambda axes: label_axes(axes, "epoch", "loss"), "Empty")
        ```
    """
    axes.set_xlabel(one_line(x_label))
    axes.set_ylabel(one_line(y_label))


def add_legend(axes: Axes, lines: Sequence, names: Sequence[str]) -> None:
    """Explains the lines above the plot, where they hide nothing.

    Args:
        axes: where the plot is drawn.
        lines: the lines, as matplotlib returned them.
        names: the name of each line.

    Example:
        ```python
        svg.draw(
            lambda axes: add_legend(axes, axes.plot([1, 2]), ["rising"]),
            "A rising line",
        )
        ```
    """
    names = [shorten(name) for name in names]
    entry_width = 45 + 7 * max(map(len, names))
    axes.figure.legend(
        lines,
        names,
        loc="outside upper left",
        ncols=max(1, min(len(names), int(svg.WIDTH / entry_width))),
    )


def make_logarithmic(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with plain numbers on it.

    Args:
        axes: where the plot is drawn, with all of its lines.

    Example:
        ```python
        svg.draw(
            lambda axes: (axes.plot([1, 100]), make_logarithmic(axes)),
            "Two decades",
        )
        ```
    """
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    steps = (1,) if high / low > 100 else (1, 2, 5)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: format_cell(float(value)))
    )
    axes.yaxis.set_minor_formatter(NullFormatter())
