"""In what patterns weights are removed: one class a pattern."""

import dataclasses
import re

import numpy as np

from kbig.compression.pruning import masks
from kbig.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Unstructured:
    """Each weight by itself."""

    speed = (
        "Zeros compress well, and take no less time: LiteRT and TensorFlow "
        "multiply by them as by other numbers."
    )

    def obstacle(self, inputs: int, outputs: int, run: int) -> str:
        """Why a kernel of this shape cannot hold the pattern, or nothing."""
        return ""

    def mask(self, scores: np.ndarray, sparsity: float, run: int):
        """Keeps the highest scores: bool `(inputs, outputs)`."""
        return masks.top_mask(scores, masks.kept(scores.size, sparsity))

    def __str__(self) -> str:
        return "unstructured"


@dataclasses.dataclass(frozen=True)
class ManyOfN:
    """Some of every so many inputs of an output, as 2:4.

    Args:
        zeros: how many of a group are removed.
        size: of a group.
    """

    zeros: int
    size: int

    @property
    def speed(self) -> str:
        """What the pattern does for speed."""
        if (self.zeros, self.size) == (2, 4):
            return (
                "Graphics cards from NVIDIA's Ampere on compute 2:4 faster, "
                "through TensorRT; LiteRT, and TensorFlow by itself, do not."
            )
        return (
            "Graphics cards compute 2:4 faster, but no other pattern of this "
            "kind; LiteRT and TensorFlow multiply by zeros as by other numbers."
        )

    @property
    def sparsity(self) -> float:
        """What the pattern amounts to."""
        return self.zeros / self.size

    def obstacle(self, inputs: int, outputs: int, run: int) -> str:
        """Why a kernel of this shape cannot hold the pattern, or nothing."""
        if run >= self.size:
            return ""
        return f"{run} inputs do not fill a group of {self.size}"

    def mask(self, scores: np.ndarray, sparsity: float, run: int):
        """Removes as many of a group as the sparsity has come to."""
        zeros = min(self.zeros, int(np.rint(self.size * sparsity)))
        return masks.m_of_n_mask(scores, zeros, self.size, run)

    def __str__(self) -> str:
        return f"{self.zeros}:{self.size}"


@dataclasses.dataclass(frozen=True)
class Blocks:
    """Rectangles of the kernel as a matrix of inputs and outputs.

    Args:
        rows: inputs of a block.
        columns: outputs of a block.
    """

    rows: int
    columns: int

    speed = (
        "Blocks suit kernels that leave them out; LiteRT and TensorFlow "
        "multiply by their zeros as by other numbers."
    )

    def obstacle(self, inputs: int, outputs: int, run: int) -> str:
        """Why a kernel of this shape cannot hold the pattern, or nothing."""
        if inputs >= self.rows and outputs >= self.columns:
            return ""
        return f"its matrix of {inputs} x {outputs} is smaller than a block"

    def mask(self, scores: np.ndarray, sparsity: float, run: int):
        """Keeps the blocks with the highest mean: bool as of `scores`."""
        block = self.rows, self.columns
        means = masks.block_scores(scores, block)
        mask = masks.top_mask(means, masks.kept(means.size, sparsity))
        return masks.expanded(mask, block, scores.shape)

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


Pattern = Unstructured | ManyOfN | Blocks


def parse(pattern: str | tuple[int, int]) -> Pattern:
    """Reads a pattern.

    Args:
        pattern: "unstructured"; "2:4" and the like, how many of so many are
            removed; "4x1" and the like or `(rows, columns)`, blocks.

    Raises:
        UsageError: it is something else.

    Example:
    ```python
    parse("2:4")  # ManyOfN(2, 4)
    ```
    """
    if pattern == "unstructured":
        return Unstructured()
    if isinstance(pattern, str):
        found = re.fullmatch(r"(\d+)([:x])(\d+)", pattern)
        numbers = (int(found[1]), int(found[3])) if found else ()
        is_block = bool(found) and found[2] == "x"
    else:
        numbers, is_block = _pair(pattern), True
    if is_block and numbers and min(numbers) >= 1 and max(numbers) > 1:
        return Blocks(*numbers)
    if not is_block and numbers and 1 <= numbers[0] < numbers[1]:
        return ManyOfN(*numbers)
    raise UsageError(
        'A pattern is "unstructured", "m:n" with m zeros in every n inputs, '
        f"or a block of rows and columns. Received: pattern={pattern!r}. Pass "
        '"2:4" or (4, 1), for example.'
    )


def _pair(value) -> tuple:
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    return tuple(value) if is_pair and all(map(_is_int, value)) else ()


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
