"""Tables, plots and pages drawn from the reports that actions return.

`kbig.reporting.plots` is a module of its own, as it loads matplotlib.
"""

from kbig.reporting.blocks import Cards
from kbig.reporting.blocks import Details
from kbig.reporting.blocks import Figure
from kbig.reporting.blocks import Prediction
from kbig.reporting.blocks import Predictions
from kbig.reporting.blocks import Preformatted
from kbig.reporting.blocks import Section
from kbig.reporting.blocks import Text
from kbig.reporting.page import write_page
from kbig.reporting.report import Report
from kbig.reporting.tables import Bytes
from kbig.reporting.tables import Percent
from kbig.reporting.tables import Ratio
from kbig.reporting.tables import Seconds
from kbig.reporting.tables import Table
from kbig.reporting.tables import format_cell
from kbig.reporting.tables import show

__all__ = [
    "Bytes",
    "Cards",
    "Details",
    "Figure",
    "Percent",
    "Prediction",
    "Predictions",
    "Preformatted",
    "Ratio",
    "Report",
    "Seconds",
    "Section",
    "Table",
    "Text",
    "format_cell",
    "show",
    "write_page",
]
