"""Calls a reader with the options that it accepts, and no other."""

import difflib
import inspect
from collections.abc import Callable
from collections.abc import Iterable

from kbig.errors import UsageError


def accepted_options(reader: Callable) -> list[str]:
    """Lists the keyword-only arguments of a reader.

    Args:
        reader: any function.

    Returns:
        Their names, in order.
    """
    parameters = inspect.signature(reader).parameters.values()
    return [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]


def check_options(
    options: dict, accepted: Iterable[str], what: str, required: Iterable = ()
) -> None:
    """Rejects options that are unknown or missing.

    Args:
        options: the options that were given.
        accepted: the names that are known.
        what: the kind of data, for the message.
        required: the names that must be given.

    Raises:
        UsageError: naming the option and the accepted ones.
    """
    accepted = list(accepted)
    known = f"Options of {what}: {', '.join(accepted) or 'none'}."
    for name, value in options.items():
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(
                f"{what} has no option {name!r}.{hint} Received: "
                f"{name}={value!r}. {known}"
            )
    for name in required:
        if name not in options:
            raise UsageError(f"{what} needs the option {name!r}. {known}")


def call_reader(reader: Callable, path, options: dict, what: str):
    """Calls `reader(path, **options)` once the options are known to fit.

    Args:
        reader: a function of a path and keyword-only options.
        path: what to read.
        options: the options that were given.
        what: the kind of data, for the message.

    Returns:
        What the reader returns.

    Raises:
        UsageError: if an option is unknown, or one is missing.
    """
    parameters = inspect.signature(reader).parameters.values()
    required = [
        p.name
        for p in parameters
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty
    ]
    check_options(options, accepted_options(reader), what, required)
    return reader(path, **options)
