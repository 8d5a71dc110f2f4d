"""Einsum equations that are a product with one matrix, split into two."""

import dataclasses
import re
import string


@dataclasses.dataclass(frozen=True)
class Equation:
    """An einsum that is a product with one matrix, split into two.

    Args:
        first: the equation of the first thin layer.
        second: that of the second.
        input_axes: axes of the kernel that are summed over.
        output_axes: its other axes.
        rank_label: the letter that stands for the rank.
    """

    first: str
    second: str
    input_axes: tuple[int, ...]
    output_axes: tuple[int, ...]
    rank_label: str


def split_equation(equation: str) -> Equation | None:
    """Splits the equation of an EinsumDense into those of two thin ones.

    Args:
        equation: as of `keras.layers.EinsumDense`, with or without "...".

    Returns:
        Both equations; None when the kernel is no single matrix between the
        axes that are summed over and new ones, as when each head or group
        has a matrix of its own.

    Example:
    ```python
    split_equation("abc,cde->abde").first  # "abc,cf->abf"
    split_equation("abc,cde->abde").second  # "abf,fde->abde"
    ```
    """
    parts = re.fullmatch(
        r"((?:\.\.\.)?)([a-zA-Z]+)((?:\.\.\.)?),([a-zA-Z]+)->"
        r"(?:\.\.\.)?([a-zA-Z]+)(?:\.\.\.)?",
        equation,
    )
    if not parts:
        return None
    left, inputs, right, kernel, outputs = parts.groups()
    summed = [x for x in kernel if x in inputs and x not in outputs]
    new = [x for x in kernel if x in outputs and x not in inputs]
    is_matrix = summed and new and len(summed) + len(new) == len(kernel)
    # Keras takes the first axis of the output for the batch.
    if not is_matrix or (outputs[0] in new and not left):
        return None
    rank = next(x for x in string.ascii_letters if x not in equation)
    place = min(outputs.index(x) for x in new)
    kept = [x for x in outputs if x not in new]
    middle = "".join((*kept[:place], rank, *kept[place:]))
    return Equation(
        f"{left}{inputs}{right},{''.join(summed)}{rank}->{left}{middle}{right}",
        f"{left}{middle}{right},{rank}{''.join(new)}->{left}{outputs}{right}",
        tuple(kernel.index(x) for x in summed),
        tuple(kernel.index(x) for x in new),
        rank,
    )
