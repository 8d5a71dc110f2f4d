"""Drawings as SVG elements that take the colours and font of the page."""

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Callable
from xml.etree import ElementTree

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kbig.reporting.cells import one_line

# At least 3:1 against the light and the dark page, and told apart by people
# who do not see red, green or blue.
PALETTE = ("#2c7cc2", "#d76000", "#852efb", "#c66c91", "#e70c4a")
# Drawn with and replaced by `currentColor`; no other colour may equal it.
INK = "#010203"
WIDTH = 520

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_REFERENCE = re.compile(r"#([\w.-]+)")
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "kbig",
    "text.parse_math": False,
    "font.size": 11.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-5, 6),
    "axes.formatter.useoffset": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.borderaxespad": 0.2,
}

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


def draw(
    paint: Callable[[Axes], None],
    title: str,
    width: float = WIDTH,
    height: float = 300,
) -> str:
    """Draws on matplotlib axes and returns the drawing as one SVG element.

    The same drawing gives the same bytes, and the ids inside are its own,
    so that several drawings live in one page.

    Args:
        paint: draws on the axes that it is given.
        title: what the drawing shows, for people who do not see it.
        width: the width of the drawing, in CSS pixels at its natural size.
        height: its height.

    Returns:
        An `<svg>` element that fills the width it is given.

    Example:
        ```python
        draw(lambda axes: axes.plot([1, 2, 3]), "A rising line")
        ```
    """
    with _drawing_style():
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    return finish(buffer.getvalue(), title)


def finish(svg: str, title: str) -> str:
    """Makes an SVG document responsive, themed, accessible and unique.

    Args:
        svg: an SVG document with a `viewBox`.
        title: what the drawing shows.

    Returns:
        An `<svg>` element whose ink is `currentColor`.

    Example:
        ```python
        finish('<svg xmlns="http://www.w3.org/2000/svg"/>', "Empty")
        ```
    """
    title = one_line(title)
    prefix = "k" + hashlib.sha256((title + svg).encode()).hexdigest()[:10]
    root = ElementTree.fromstring(svg)
    for definitions in root.findall(f"{{{_SVG}}}defs"):
        for style in definitions.findall(f"{{{_SVG}}}style"):
            definitions.remove(style)  # Its `*` would restyle the page.
    _own_ids(root, prefix)
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _themed(element.get("style")))
    _label(root, title)
    return ElementTree.tostring(root, encoding="unicode")


@contextlib.contextmanager
def _drawing_style():
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Only the browser draws the text; here it is but measured.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _own_ids(root: ElementTree.Element, prefix: str) -> None:
    referenced = set()
    for element in root.iter():
        for name, value in element.attrib.items():
            if value.startswith(("#", "url(#")) and name != "style":
                referenced.update(_REFERENCE.findall(value))
                element.set(name, _REFERENCE.sub(rf"#{prefix}-\1", value))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in referenced:
            element.set("id", f"{prefix}-{name}")


def _themed(style: str) -> str:
    style = style.replace(INK, "currentColor")
    return re.sub(r"font-family: [^;]+", f"font-family: {_FONT}", style)


def _label(root: ElementTree.Element, title: str) -> None:
    natural_width = float(root.get("viewBox", f"0 0 {WIDTH} 0").split()[2])
    root.attrib.pop("height", None)
    root.set("width", "100%")
    root.set("role", "img")
    root.set("aria-label", title)
    root.set(
        "style",
        "display: block; stroke-linejoin: round; stroke-linecap: butt; "
        f"min-width: {natural_width * 0.6:.0f}px; "
        f"max-width: {natural_width * 1.25:.0f}px",
    )
    element = ElementTree.Element(f"{{{_SVG}}}title")
    element.text = title
    root.insert(0, element)
