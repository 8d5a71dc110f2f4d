"""Which weights stay: masks from scores, exactly as many as asked for."""

import numpy as np


def kept(size: int, sparsity: float) -> int:
    """How many of so many weights stay.

    Args:
        size: number of weights.
        sparsity: the share to remove, in [0, 1).

    Returns:
        The number nearest to the share that stays, one at least.

    Example:
    ```python
    kept(10, 0.8)  # 2
    ```
    """
    return max(1, int(np.rint(size * (1.0 - sparsity))))


def top_mask(scores: np.ndarray, count: int) -> np.ndarray:
    """Keeps the highest scores.

    Of equal ones the first stay, so that the count is exact.

    Args:
        scores: floats of any shape.
        count: how many stay.

    Returns:
        bool, of the same shape, with `count` times True.

    Example:
    ```python
    top_mask(np.array([1.0, 3.0, 1.0]), 2)  # [True, True, False]
    ```
    """
    flat = scores.reshape(-1)
    if count >= flat.size:
        return np.ones(scores.shape, bool)
    # Zeros of earlier updates are many and equal, which slows a partition.
    lowest = flat.min()
    others = flat[flat > lowest]
    place = others.size - count
    threshold = np.partition(others, place)[place] if place >= 0 else lowest
    mask = flat > threshold
    ties = np.flatnonzero(flat == threshold)
    mask[ties[: count - np.count_nonzero(mask)]] = True
    return mask.reshape(scores.shape)


def global_masks(scores: list[np.ndarray], sparsity: float) -> list[np.ndarray]:
    """Ranks several arrays together, as if they were one.

    Args:
        scores: floats of any shapes.
        sparsity: the share of all to remove, in [0, 1).

    Returns:
        A bool mask for each. The highest score of each array stays, so that
        none is cut off altogether.

    Example:
    ```python
    global_masks([np.array([1.0, 2.0]), np.array([3.0, 4.0])], 0.5)
    # [[False, True], [False, True]]
    ```
    """
    flat = np.concatenate([x.reshape(-1) for x in scores])
    ends = np.cumsum([x.size for x in scores])
    for end, x in zip(ends, scores):
        flat[end - x.size + int(np.argmax(x))] = np.inf
    count = max(kept(flat.size, sparsity), len(scores))
    parts = np.split(top_mask(flat, count), ends[:-1])
    return [part.reshape(x.shape) for part, x in zip(parts, scores)]


def is_sparse(value: np.ndarray) -> bool:
    """Tells what has been pruned from a row of padding, or a start of zeros.

    Args:
        value: the numbers of a weight.

    Returns:
        Whether a tenth of them at least is zero, and not all of them.
    """
    zeros = np.count_nonzero(value == 0)
    return value.size <= 10 * zeros < 10 * value.size


def m_of_n_mask(
    scores: np.ndarray, zeros: int, size: int, run: int
) -> np.ndarray:
    """Removes the lowest few of every so many neighbours in a column.

    Args:
        scores: `(inputs, outputs)`.
        zeros: how many of a group to remove.
        size: of a group.
        run: groups do not reach over multiples of this many inputs. The last
            group of a run is filled up, and what fills it is removed first.

    Returns:
        bool `(inputs, outputs)`.

    Example:
    ```python
    m_of_n_mask(np.array([[1.0], [4.0], [3.0], [2.0]]), 2, 4, 4)
    # [[False], [True], [True], [False]]
    ```

    Reference:
     - [Mishra et al., 2021](https://arxiv.org/abs/2104.08378)
    """
    inputs, outputs = scores.shape
    groups = -(-run // size)
    padded = np.pad(
        scores.reshape(inputs // run, run, outputs),
        ((0, 0), (0, groups * size - run), (0, 0)),
        constant_values=-np.inf,
    ).reshape(-1, size, outputs)
    order = np.argsort(-padded, axis=1, kind="stable")
    mask = np.empty(padded.shape, bool)
    np.put_along_axis(
        mask, order, np.arange(size)[:, None] < size - zeros, axis=1
    )
    mask = mask.reshape(inputs // run, groups * size, outputs)
    return mask[:, :run].reshape(inputs, outputs)


def block_scores(scores: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Averages the scores of each block; cut ones over what is there.

    Args:
        scores: `(inputs, outputs)`.
        block: rows and columns of a block.

    Returns:
        A score a block.

    Example:
    ```python
    block_scores(np.array([[1.0, 3.0, 8.0]]), (1, 2))  # [[2.0, 8.0]]
    ```
    """
    sums = np.asarray(scores, np.float64)
    for axis, size in enumerate(block):
        length = sums.shape[axis]
        starts = np.arange(0, length, size)
        counts = np.minimum(size, length - starts)
        sums = np.add.reduceat(sums, starts, axis=axis)
        sums = sums / np.expand_dims(counts, 1 - axis)
    return sums


def expanded(
    mask: np.ndarray, block: tuple[int, int], shape: tuple[int, int]
) -> np.ndarray:
    """Repeats what was decided of a block for all that is in it.

    Args:
        mask: one value a block.
        block: rows and columns of a block.
        shape: of the result; blocks at its end may be cut.

    Returns:
        bool of `shape`.

    Example:
    ```python
    expanded(np.array([[True, False]]), (1, 2), (1, 3))
    # [[True, True, False]]
    ```
    """
    mask = mask.repeat(block[0], axis=0).repeat(block[1], axis=1)
    return mask[: shape[0], : shape[1]]
