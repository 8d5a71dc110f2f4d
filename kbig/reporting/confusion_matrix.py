"""A confusion matrix as an SVG element."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.colors import to_rgba

from kbig.errors import UsageError
from kbig.reporting import svg
from kbig.reporting.axes import label_axes
from kbig.reporting.axes import shorten

_MAX_COUNTED_CLASSES = 20
# Never opaque, so that text in the ink of the page stays readable on it.
_SHADES = np.linspace(0, 0.75, 64)


def confusion(
    matrix: Sequence[Sequence[int]], class_names: Sequence[str], title: str
) -> str:
    """Draws a confusion matrix, shaded by the share of each true class.

    Args:
        matrix: (classes, classes) counts; a row is a true class, a column
            a predicted one. Beyond 20 classes the counts are left out.
        class_names: the name of each class.
        title: what the plot shows.

    Returns:
        An `<svg>` element.

    Raises:
        UsageError: if `matrix` is not square, holds anything but counts, or
            does not have as many rows as there are names.

    Example:
        ```python
        confusion([[90, 10], [5, 95]], ["cat", "dog"], "Test set")
        ```
    """
    counts = _counts(matrix, class_names)
    classes = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 110 + min(classes, 26) * max(34, 62 - 3 * classes)

    def paint(axes):
        _shade(axes, shares)
        if classes <= _MAX_COUNTED_CLASSES:
            for (row, column), count in np.ndenumerate(counts):
                axes.text(
                    column,
                    row,
                    f"{count:,}",
                    ha="center",
                    va="center",
                    fontsize=9 if classes > 8 else 11.5,
                    alpha=1 if count else 0.6,
                    in_layout=False,  # Inside its cell; measuring is slow.
                )
        step = -(-classes // _MAX_COUNTED_CLASSES)
        ticks = range(0, classes, step)
        names = [shorten(class_names[tick]) for tick in ticks]
        tilt = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        upright = max(map(len, names)) * 7 < (size - 110) / len(names)
        axes.set_xticks(ticks, names, **({} if upright else tilt))
        axes.set_yticks(ticks, names)
        label_axes(axes, "predicted", "true")

    return svg.draw(paint, title, width=size + 60, height=size)


def _counts(matrix, class_names: Sequence[str]) -> np.ndarray:
    counts = np.asarray(matrix)
    classes = len(class_names)
    if counts.shape != (classes, classes) or not classes:
        raise UsageError(
            "A confusion matrix has one row and one column for each class. "
            f"Received: matrix of shape {counts.shape}, "
            f"len(class_names)={classes}. Pass as many names as rows."
        )
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise UsageError(
            "A confusion matrix holds counts, integers of zero or more. "
            f"Received: matrix of dtype {counts.dtype}, least value "
            f"{counts.min()}. Pass the counts; shares are drawn from them."
        )
    return counts


def _shade(axes: Axes, shares: np.ndarray) -> None:
    classes = len(shares)
    edges = np.arange(classes + 1) - 0.5
    axes.pcolormesh(
        edges,
        edges,
        shares,
        cmap=ListedColormap(
            [to_rgba(svg.PALETTE[0], alpha) for alpha in _SHADES]
        ),
        vmin=0,
        vmax=1,
    )
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
