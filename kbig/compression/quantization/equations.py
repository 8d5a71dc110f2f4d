"""Einsum equations that multiply the last axes by one matrix."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class ProductForm:
    """A kernel whose first axes are summed over and whose last ones are new.

    Args:
        inputs: how many axes are summed over.
        rank: of the kernel.
    """

    inputs: int
    rank: int


def product_form(equation: str) -> ProductForm | None:
    """Reads an equation as the product of rows with one matrix.

    Args:
        equation: as of `keras.layers.EinsumDense`.

    Returns:
        Its form; None when axes would have to change their places, or when
        rows have matrices of their own.

    Example:
    ```python
    product_form("abc,cde->abde")  # ProductForm(inputs=1, rank=3)
    product_form("abcd,cde->abe")  # ProductForm(inputs=2, rank=3)
    product_form("abc,acd->abd")  # None
    ```
    """
    parts = re.fullmatch(
        r"(\.\.\.)?([a-zA-Z]*),([a-zA-Z]+)->(\.\.\.)?([a-zA-Z]+)",
        equation.replace(" ", ""),
    )
    if not parts or bool(parts[1]) != bool(parts[4]):
        return None
    left, kernel, output = parts[2], parts[3], parts[5]
    for inputs in range(1, len(kernel)):
        summed, new = kernel[:inputs], kernel[inputs:]
        rows = left.removesuffix(summed)
        is_product = left == rows + summed and output == rows + new
        if is_product and not set(rows) & set(kernel):
            return ProductForm(inputs, len(kernel))
    return None
