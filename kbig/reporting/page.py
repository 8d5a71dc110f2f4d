"""One self-contained HTML page out of tables, figures and texts."""

import functools
import os
import pathlib
from collections.abc import Sequence

import jinja2

from kbig.reporting.blocks import Cards
from kbig.reporting.blocks import Details
from kbig.reporting.blocks import Figure
from kbig.reporting.blocks import Prediction
from kbig.reporting.blocks import Predictions
from kbig.reporting.blocks import Preformatted
from kbig.reporting.blocks import Section
from kbig.reporting.blocks import Text
from kbig.reporting.cells import Percent
from kbig.reporting.cells import format_cell
from kbig.reporting.files import write_text

__all__ = [
    "Cards",
    "Details",
    "Figure",
    "Prediction",
    "Predictions",
    "Preformatted",
    "Section",
    "Text",
    "page",
    "write_page",
]


def page(title: str, sections: Sequence[Section], *, footer: str = "") -> str:
    """Returns a page that needs no network, no script and no other file.

    Args:
        title: the heading of the page.
        sections: its parts; more than four get a table of contents. Cards
            in the first section stand at the top of the page.
        footer: a line at the end, such as versions and the command.

    Returns:
        An HTML document. Everything but `Figure.svg` is escaped.

    Example:
        ```python
        page("First run", [Section("Data", [Text("Made up.")])])
        ```
    """
    template = _environment().get_template("page.html")
    return template.render(title=title, sections=sections, footer=footer)


def write_page(
    path: str | os.PathLike,
    title: str,
    sections: Sequence[Section],
    *,
    footer: str = "",
) -> pathlib.Path:
    """Writes a page in one step; see `page`.

    Args:
        path: the file to write or replace.
        title: the heading of the page.
        sections: its parts.
        footer: a line at the end.

    Returns:
        The path written.

    Raises:
        UsageError: if `path` is a directory.

    Example:
        ```python
        write_page("report.html", "First run", [Section("Data", [])])
        ```
    """
    return write_text(path, page(title, sections, footer=footer))


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = format_cell
    environment.filters["percent"] = lambda share: format_cell(Percent(share))
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment
