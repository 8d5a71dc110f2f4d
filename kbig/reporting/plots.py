"""Plots of a report, as SVG elements for `kbig.reporting.Figure`."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from kbig.errors import UsageError
from kbig.reporting import svg
from kbig.reporting.axes import add_legend
from kbig.reporting.axes import label_axes
from kbig.reporting.axes import make_logarithmic
from kbig.reporting.axes import shorten
from kbig.reporting.cells import format_cell
from kbig.reporting.confusion_matrix import confusion
from kbig.reporting.pictures import images
from kbig.reporting.series import check_length
from kbig.reporting.series import finite
from kbig.reporting.series import flatten
from kbig.reporting.series import thin

__all__ = ["bars", "confusion", "curves", "forecast", "images"]


def curves(
    series: Mapping[str, Sequence[float] | Mapping[str, Sequence[float]]],
    title: str,
    *,
    x_label: str = "epoch",
    y_label: str = "",
    x: Sequence[float] | None = None,
    log: bool = False,
) -> str:
    """Draws training and validation curves.

    A curve whose name starts with `val_` has the colour of the curve
    without it, dashed.

    Args:
        series: a history such as `{"loss": [...], "val_loss": [...]}`, or
            several: `{"pruned": {"loss": [...]}, "dense": {...}}`. The
            curves of one history are equally long.
        title: what the plot shows.
        x_label: the name of the horizontal axis.
        y_label: the name of the vertical axis.
        x: the position of each value; 1, 2, 3 and so on by default.
        log: whether the vertical axis is logarithmic.

    Returns:
        An `<svg>` element.

    Raises:
        UsageError: if there is no curve, a curve is empty, not finite or of
            another length, or a logarithmic curve is not positive.

    Example:
        ```python
        history = {"loss": [0.9, 0.5, 0.4], "val_loss": [0.8, 0.6, 0.6]}
        curves(history, "Loss", y_label="cross-entropy")
        ```
    """
    lines = flatten(series, x)
    if log:
        _check_positive(lines)
    if x is not None:
        x = finite("x", x)
    roots = list(dict.fromkeys(map(_training_name, lines)))

    def paint(axes):
        for name, values in lines.items():
            positions = np.arange(1, len(values) + 1) if x is None else x
            training_name = _training_name(name)
            color = _color(roots.index(training_name))
            dashed = name != training_name
            _line(axes, positions, values, color, dashed=dashed)
        if log:
            make_logarithmic(axes)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=x is None))
        label_axes(axes, x_label, y_label)
        add_legend(axes, axes.lines, list(lines))

    return svg.draw(paint, title)


def forecast(
    past: Sequence[float],
    target: Sequence[float],
    predictions: Mapping[str, Sequence[float]],
    unit: str,
    title: str,
    *,
    x_label: str = "steps from now",
) -> str:
    """Draws a series, what came next, and what models said would come.

    Args:
        past: (n,) values that the models saw.
        target: (horizon,) values that followed.
        predictions: the (horizon,) values of each model by its name.
        unit: the unit of the values.
        title: what the plot shows.
        x_label: the name of the horizontal axis.

    Returns:
        An `<svg>` element.

    Raises:
        UsageError: if a series is empty or not finite, or a prediction is
            not as long as `target`.

    Example:
        ```python
        forecast([9, 9.4, 9.9], [10.2, 10.4], {"lstm": [10.1, 10.5]}, "°C",
                 "Sea surface temperature")
        ```
    """
    past = finite("past", past)
    target = finite("target", target)
    lines = {name: finite(name, line) for name, line in predictions.items()}
    for name, line in lines.items():
        check_length(f"predictions[{name!r}]", line, "target", target)

    def paint(axes):
        ahead = np.arange(len(target)) + 1
        before = np.arange(1 - len(past), 1)
        _line(axes, before, past, svg.INK, alpha=0.55)
        _line(axes, ahead, target, svg.INK)
        for index, line in enumerate(lines.values()):
            _line(axes, ahead, line, _color(index), dashed=True)
        axes.axvline(0.5, color=svg.INK, alpha=0.4, linewidth=1, linestyle=":")
        label_axes(axes, x_label, unit)
        drawn = axes.lines[: len(lines) + 2]
        add_legend(axes, drawn, ["past", "target", *lines])

    return svg.draw(paint, title)


def bars(
    names: Sequence[str], values: Sequence[float], title: str, unit: str = ""
) -> str:
    """Draws one horizontal bar a name, such as sizes or latencies.

    Args:
        names: the name of each bar, from top to bottom.
        values: its length, zero or more; `Bytes`, `Seconds`, `Percent` and
            `Ratio` bring their unit.
        title: what the plot shows.
        unit: the unit of plain numbers.

    Returns:
        An `<svg>` element.

    Raises:
        UsageError: if there are no bars, not as many names as values, or a
            value is negative or not finite.

    Example:
        ```python
        bars(["float32", "int8"], [Bytes(90_000_000), Bytes(23_000_000)],
             "Size of the file")
        ```
    """
    lengths = finite("values", values)
    check_length("names", names, "values", values)
    if lengths.min() < 0:
        raise UsageError(
            "The bars of a plot start at zero, so no value may be negative. "
            f"Received: values={list(values)}. Show them in a table."
        )
    labels = [f"{format_cell(value)} {unit}".strip() for value in values]

    def paint(axes):
        drawn = axes.barh(
            range(len(names)), lengths, height=0.62, color=svg.PALETTE[0]
        )
        axes.bar_label(drawn, labels, padding=5)
        axes.set_yticks(range(len(names)), [shorten(name) for name in names])
        axes.invert_yaxis()
        axes.set_xlim(0, max(lengths.max(), 1e-12) * 1.3)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.grid(visible=False)

    return svg.draw(paint, title, height=30 + 28 * len(names))


def _check_positive(lines: Mapping[str, np.ndarray]) -> None:
    for name, values in lines.items():
        if values.min() <= 0:
            raise UsageError(
                "A logarithmic axis needs values above zero. "
                f"Received: min({name})={values.min()}. Pass log=False."
            )


def _training_name(name: str) -> str:
    return name.removeprefix("val_")


def _color(index: int) -> str:
    return svg.PALETTE[index % len(svg.PALETTE)]


def _line(axes, x, y, color: str, *, dashed: bool = False, alpha: float = 1):
    axes.plot(
        *thin(x, y),
        color=color,
        alpha=alpha,
        linestyle=(0, (4, 2)) if dashed else "-",
        marker="o" if len(y) == 1 else None,  # A single point has no line.
    )
