"""Truncated singular value decompositions, and ranks to truncate them at."""

from collections.abc import Sequence

import numpy as np


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Computes how much each rank-one part of a matrix weighs.

    Args:
        matrix: floats `(rows, columns)`.

    Returns:
        float64 `(min(rows, columns),)`, largest first.

    Example:
    ```python
    singular_values(np.diag([3.0, 4.0]))  # [4, 3]
    ```
    """
    return np.linalg.svd(matrix.astype("float64"), compute_uv=False)


def factors(matrix: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes the two thin matrices whose product is nearest to a matrix.

    No other product of that rank is nearer, in the Frobenius norm and in the
    spectral norm; the errors are the root of the sum of the squares of the
    singular values that are left out, and the largest of those. Both factors
    take the square roots of the singular values, so that their columns and
    rows are equally long and gradients reach both alike.

    Args:
        matrix: floats `(rows, columns)`.
        rank: of the product, at most `min(rows, columns)`.

    Returns:
        float64 `(rows, rank)` and `(rank, columns)`.

    Example:
    ```python
    left, right = factors(np.diag([3.0, 4.0]), rank=1)
    left @ right  # [[0, 0], [0, 4]]
    ```

    Reference:
     - [Eckart and Young, 1936](https://doi.org/10.1007/BF02288367)
    """
    left, values, right = np.linalg.svd(
        matrix.astype("float64"), full_matrices=False
    )
    roots = np.sqrt(values[:rank])
    return left[:, :rank] * roots, roots[:, None] * right[:rank]


def most_rank(rows: int, columns: int) -> int:
    """Finds the largest rank at which two factors are smaller than a matrix.

    Args:
        rows: of the matrix.
        columns: of the matrix.

    Returns:
        The largest `rank` with `rank * (rows + columns) < rows * columns`; 0
        when there is none.

    Example:
    ```python
    most_rank(100, 100)  # 49
    ```
    """
    return (rows * columns - 1) // (rows + columns)


def saved_parameters(shape: tuple[int, int], rank: int | None) -> int:
    """Counts what two factors save.

    Args:
        shape: `(rows, columns)` of the matrix.
        rank: of the factors; None when it stays whole.

    Returns:
        Parameters; negative where the factors are larger.

    Example:
    ```python
    saved_parameters((100, 100), rank=10)  # 8000
    ```
    """
    rows, columns = shape
    return 0 if rank is None else rows * columns - rank * (rows + columns)


def discarded_energy(values: np.ndarray) -> np.ndarray:
    """Computes the share of a matrix that each rank leaves out.

    Args:
        values: singular values, largest first, `(count,)`.

    Returns:
        float64 `(count + 1,)`: at index `rank`, the sum of the squares of the
        values beyond that rank, as a share of the sum of all. Zeros for a
        matrix of zeros.

    Example:
    ```python
    discarded_energy(np.array([4.0, 3.0]))  # [1, 0.36, 0]
    ```
    """
    # From the smallest on, or they would drown in the sum of the large ones.
    tails = np.cumsum(np.square(values[::-1], dtype="float64"))[::-1]
    return np.append(tails, 0.0) / (tails[0] or 1.0)


def least_rank(values: np.ndarray, energy: float) -> int:
    """Finds the least rank that keeps a share of the energy.

    Args:
        values: singular values, largest first, `(count,)`.
        energy: share of the sum of squares to keep, in (0, 1].

    Returns:
        The rank, 1 at least.

    Example:
    ```python
    least_rank(np.array([4.0, 3.0]), energy=0.6)  # 1: 16 of 25
    ```
    """
    kept = 1 - discarded_energy(values)
    # What is left of nothing after float32 was rounded is no energy.
    enough = kept >= energy - 1e-12
    return max(1, int(np.argmax(enough)))


def budget_ranks(
    shapes: Sequence[tuple[int, int]],
    values: Sequence[np.ndarray],
    saving: int,
) -> list[int | None]:
    """Chooses ranks that save parameters at the least loss of energy.

    Greedy. A matrix is first cut from whole to the rank that loses least for
    each parameter saved, then by a singular value at a time; of all
    matrices' next cuts, the cheapest a parameter is made, until enough is
    saved. What the last cut saves beyond that is given back to its matrix as
    rank. Since the cuts of a matrix never get cheaper, no choice that saves
    what is saved after some cut loses less.

    What a cut loses is energy as a share of what its matrix has left: minus
    the logarithm of the one over the other. Layers follow each other, so
    what each keeps multiplies; were the shares added, it would pay to ruin
    one layer for the sake of the others.

    Args:
        shapes: `(rows, columns)` of each matrix.
        values: singular values of each, largest first.
        saving: parameters to save in all; at most what rank 1 saves.

    Returns:
        A rank for each matrix, None for those that stay whole.

    Example:
    ```python
    budget_ranks([(9, 9)], [np.array([5.0, 1, 0, 0, 0, 0, 0, 0, 0])], 40)
    # [2]: 81 - 2 * 18 = 45 are saved
    ```
    """
    cuts = sorted(
        (
            cut
            for index, (shape, each) in enumerate(zip(shapes, values))
            for cut in _cuts(index, shape, discarded_energy(each))
        ),
        key=lambda cut: cut[0],
    )
    ranks: list[int | None] = [None] * len(shapes)
    saved = 0
    for _, index, rank in cuts:
        if saved >= saving:
            break
        before = saved_parameters(shapes[index], ranks[index])
        ranks[index] = rank
        saved += saved_parameters(shapes[index], rank) - before
        surplus = max(0, saved - saving) // sum(shapes[index])
        ranks[index] = min(rank + surplus, most_rank(*shapes[index]))
    return ranks


def _cuts(index, shape, discarded) -> list[tuple[float, int, int]]:
    """Cuts of one matrix: loss a parameter saved, index, rank."""
    ranks = range(1, most_rank(*shape) + 1)
    if not ranks:
        return []
    lost = np.append(np.inf, -np.log1p(-discarded[1:-1]))
    price = {r: lost[r] / saved_parameters(shape, r) for r in ranks}
    first = min(ranks, key=lambda r: (price[r], -r))
    cuts = [(price[first], index, first)]
    for rank in range(first - 1, 0, -1):
        cost = (lost[rank] - lost[rank + 1]) / sum(shape)
        # Rounding must not bring a cut before the one it comes after.
        cuts.append((max(cost, cuts[-1][0]), index, rank))
    return cuts
