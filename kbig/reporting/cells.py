"""How one value of a report reads: numbers that know their unit."""

import math
import unicodedata

import numpy as np

SIGNIFICANT_DIGITS = 4
MISSING = "–"
# Control characters, halves of pairs that no encoding can write, and breaks
# of lines or paragraphs that are none to a terminal.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


class Bytes(int):
    """A size in bytes, shown as `1.5 MB` (1 MB is 1,000,000 bytes).

    Example:
        ```python
        format_cell(Bytes(1_500_000))  # '1.5 MB'
        ```
    """


class Seconds(float):
    """A duration in seconds, shown as `27.1 ms`, `4.2 s` or `3 min 20 s`.

    Example:
        ```python
        format_cell(Seconds(0.0271))  # '27.1 ms'
        ```
    """


class Percent(float):
    """A fraction of one, shown as a percentage with two decimals.

    Example:
        ```python
        format_cell(Percent(0.9341))  # '93.41 %'
        ```
    """


class Ratio(float):
    """A factor against a reference of one, shown as `1.08×`.

    Example:
        ```python
        format_cell(Ratio(1.08))  # '1.08×'
        ```
    """


Cell = str | int | float | bool | None


def format_cell(value: Cell) -> str:
    """Formats one value for people.

    Counts keep every digit and get thousands separators; other numbers get
    four significant digits, but never lose digits before the point.

    Args:
        value: a text, a number (`Bytes`, `Seconds`, `Percent` and `Ratio`
            bring their unit), a truth value, or None for "not measured".

    Returns:
        The text, on one line and free of control characters.

    Example:
        ```python
        format_cell(22_600_000)  # '22,600,000'
        format_cell(0.934567)  # '0.9346'
        ```
    """
    if value is None:
        return MISSING
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if not math.isfinite(value):
        return str(float(value)).replace("inf", "∞")
    if isinstance(value, Bytes):
        return _size(value)
    if isinstance(value, Seconds):
        return _duration(value)
    if isinstance(value, Percent):
        return f"{value * 100:.2f} %"
    if isinstance(value, Ratio):
        return f"{_number(value)}×"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    return _number(value)


def is_number(value: Cell) -> bool:
    """Tells numbers, which align to the right, from texts and truth values.

    Args:
        value: the value of a cell.

    Returns:
        True for integers and floats, of Python or NumPy.

    Example:
        ```python
        is_number(Seconds(3.0))  # True
        ```
    """
    return isinstance(value, (int, float, np.number)) and not isinstance(
        value, bool
    )


def one_line(text: str) -> str:
    """Replaces line breaks, tabs and what cannot be printed by spaces.

    Args:
        text: any text, for instance an example out of a data set.

    Returns:
        The text on one line, safe to print in a terminal.

    Example:
        ```python
        one_line("two\\nlines")  # 'two lines'
        ```
    """
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Replaces what cannot be printed by spaces, and keeps line breaks.

    Args:
        text: any text, for instance a note that quotes a file.

    Returns:
        The text, safe to print in a terminal: no sequence in it moves the
        cursor, changes colors or names the window.

    Example:
        ```python
        printable("two\\nlines, \\x1b[2J")  # 'two\\nlines,  [2J'
        ```
    """
    return "".join(
        " "
        if character != "\n" and unicodedata.category(character) in _UNPRINTABLE
        else character
        for character in text
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def _number(value: float) -> str:
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(_rounded(value))))
    if exponent < -4 or exponent > 14:
        mantissa, power = f"{_rounded(value):.3e}".split("e")
        return f"{_without_zeros(mantissa)}e{int(power)}"
    decimals = max(0, SIGNIFICANT_DIGITS - 1 - exponent)
    return _without_zeros(f"{value:,.{decimals}f}")


def _without_zeros(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _size(size: int) -> str:
    value = float(size)
    for unit in _SIZE_UNITS[:-1]:
        if abs(_rounded(value)) < 1000:
            return f"{_number(value)} {unit}"
        value /= 1000
    return f"{_number(value)} {_SIZE_UNITS[-1]}"


def _duration(seconds: float) -> str:
    size = abs(_rounded(seconds))
    if size == 0 or 1 <= size < 60:
        return f"{_number(seconds)} s"
    if size < 1e-3:
        return f"{_number(seconds * 1e6)} µs"
    if size < 1:
        return f"{_number(seconds * 1e3)} ms"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {minutes:02d} min"
