"""Trying again, a little later each time, what a server may yet answer."""

import random
import re
import time
from collections.abc import Callable

from kbig.errors import ServingError

# Seconds before the first further try, and at most.
_FIRST, _LONGEST = 0.1, 5.0
# How TF Serving refuses all requests of a batch that it cannot merge, although
# each of them alone is well.
_UNMERGEABLE = re.compile(
    "Tensors with name '[^']*' from different tasks have different shapes and "
    "padding is turned off"
)


class PassingError(ServingError):
    """A failure that may pass: no connection, overload, no answer in time."""


def unmerged(target, message: str) -> PassingError | None:
    """What to raise for rows that a server could not compute together.

    Args:
        target: what was asked.
        message: with which the server refused.

    Returns:
        A failure that passes; None when the request itself is at fault.

    Example:
    ```python
    unmerged(target, "Input is empty.")  # None
    ```
    """
    if not _UNMERGEABLE.search(message):
        return None
    return PassingError(
        f"The server of {target} could not merge rows of several requests, as "
        f"their lengths differ: {message}"
    )


def waits(
    retries: int, jitter: Callable[[], float] = random.random
) -> list[float]:
    """Seconds to wait before each further try: doubled, and jittered.

    Without jitter, clients that failed together come back together.

    Args:
        retries: how many.
        jitter: gives numbers from 0 to 1.

    Returns:
        Each from half of its step to all of it: 0.1, 0.2, 0.4, ..., 5.

    Example:
    ```python
    waits(3, jitter=lambda: 1.0)  # [0.1, 0.2, 0.4]
    ```

    Reference:
     - [Brooker, 2015](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
    """
    steps = [min(_LONGEST, _FIRST * 2 ** min(n, 10)) for n in range(retries)]
    return [step * (1 + jitter()) / 2 for step in steps]


def with_retries(call: Callable, retries: int, sleep=time.sleep):
    """Calls until it does not raise `PassingError`, or there are no tries left.

    Args:
        call: takes nothing.
        retries: further tries after the first one.
        sleep: takes seconds.

    Returns:
        What `call` returns.

    Raises:
        PassingError: of the last try.
    """
    for wait in waits(retries):
        try:
            return call()
        except PassingError:
            sleep(wait)
    return call()
