"""Name patterns: how the caller says which layers are meant."""

import fnmatch
from collections.abc import Iterable
from collections.abc import Sequence

from kbig.errors import UsageError


def is_meant(name: str, patterns: Iterable[str]) -> bool:
    """Tells whether one of the patterns means a layer.

    Args:
        name: path of the layer, as "encoder_0/self_attention_layer/query".
        patterns: as of file names, "*" for anything: on the path, the
            beginning of it, or one of its names.

    Returns:
        Whether one does.

    Example:
    ```python
    is_meant("encoder_0/query", ["encoder_*"])  # True
    is_meant("encoder_0/query", ["quer"])  # False
    ```
    """
    parts = name.split("/")
    parts += ("/".join(parts[: end + 1]) for end in range(len(parts)))
    return any(
        fnmatch.fnmatchcase(part, pattern)
        for pattern in patterns
        for part in parts
    )


def several(argument: str, patterns: str | Iterable[str]) -> tuple[str, ...]:
    """Makes several patterns of one, and checks that they are strings.

    Args:
        argument: its name, as the caller knows it.
        patterns: one, or several.

    Returns:
        The patterns.

    Raises:
        UsageError: there is none, or one is no string.

    Example:
    ```python
    several("layers", "conv_*")  # ("conv_*",)
    ```
    """
    is_one = isinstance(patterns, str) or not isinstance(patterns, Iterable)
    found = (patterns,) if is_one else tuple(patterns)
    if not found or not all(isinstance(pattern, str) for pattern in found):
        raise UsageError(
            f"`{argument}` must hold name patterns. Received: "
            f'{argument}={patterns!r}. Pass ["conv_*"], for example.'
        )
    return found


def check_patterns(
    argument: str, patterns: str | Iterable[str], names: Sequence[str]
) -> tuple[str, ...]:
    """Makes sure that each pattern means a layer.

    Args:
        argument: its name, as the caller knows it.
        patterns: one, or several.
        names: paths of the layers that there are.

    Returns:
        The patterns, as of `several`.

    Raises:
        UsageError: as of `several`, or a pattern means nothing.

    Example:
    ```python
    check_patterns("layers", "conv_*", ["conv_0", "logits"])  # ("conv_*",)
    ```
    """
    found = several(argument, patterns)
    for pattern in found:
        if not any(is_meant(name, [pattern]) for name in names):
            raise UsageError(
                f"`{argument}` has a pattern that matches no layer which could "
                f"be changed. Received: {pattern!r}. There are "
                f"{', '.join(dict.fromkeys(names)) or 'none'}."
            )
    return found
