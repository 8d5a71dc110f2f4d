"""Which split an example belongs to: by content, or by blocks of time."""

import hashlib
from collections.abc import Sequence

import numpy as np

from kbig.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
# Of every five blocks of a series: validation lies between training and
# test, so that the input of a test window, up to one block long, holds no
# target of training.
BLOCK_CYCLE = np.array(["train", "train", "train", "validation", "test"])


def content_position(content: bytes) -> float:
    """Maps content to a number that looks uniform on [0, 1).

    Args:
        content: the bytes of one example.

    Returns:
        The first 53 bits of its BLAKE2b hash as a fraction: equal content
        has an equal position on every machine.
    """
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def assign_splits(
    contents: Sequence[bytes],
    given: Sequence[str] | None = None,
    labels: Sequence | None = None,
    *,
    source: str = "data",
) -> tuple[np.ndarray, str]:
    """Fills in the splits that are not given from the training examples.

    Each missing one of validation and test takes the examples in its own
    tenth of the hash range, so equal content never straddles two splits. If
    that leaves one empty, each takes one distinct content, the lowest hashes
    first.
    A content whose label training would lose stays in training.

    Args:
        contents: the bytes of every example.
        given: the split of every example; `None` if nothing is split yet.
        labels: the label of every example, where there are labels; or a
            tuple of several.
        source: names the data in an error.

    Returns:
        The split of every example, and one sentence that states the rule.

    Raises:
        DataError: if there is no training example, or too few to split.

    Example:
    ```python
    splits, rule = assign_splits([b"a", b"b", b"c", b"a"])
    ```
    """
    splits = np.full(len(contents), "train", dtype="<U10")
    if given is not None:
        splits[:] = given
    if "train" not in splits:
        raise DataError(f"{source}: there must be training examples.")
    missing = [s for s in ("validation", "test") if s not in splits]
    if not missing:
        return splits, "Train, validation and test as given."
    train = np.flatnonzero(splits == "train")
    position = np.array([content_position(contents[i]) for i in train])
    part = _parts(position, len(missing))
    if labels is not None:
        part = _keep_labels(part, position, [labels[i] for i in train])
    if len(np.unique(part)) <= len(missing):
        raise DataError(
            f"{source}: too few distinct examples to split off "
            f"{' and '.join(missing)}. Received: {len(set(position))} "
            "distinct examples. Add examples, or give the splits."
        )
    splits[train] = np.array(["train", *missing])[part]
    return splits, _rule(missing)


def _parts(position, count):
    """0 for training, 1 and up for the tenths of the hash range held out."""
    tenth = (position * 10).astype(int)
    part = np.where(tenth < count, tenth + 1, 0)
    if len(np.unique(part)) == count + 1:
        return part
    rank = np.unique(position, return_inverse=True)[1]
    return np.where(rank < count, rank + 1, 0)


def _keep_labels(part, position, labels):
    sets = [x if isinstance(x, tuple) else (x,) for x in labels]
    seen = {x for several, p in zip(sets, part) if p == 0 for x in several}
    lost = np.array([not seen.issuperset(several) for several in sets])
    return np.where(np.isin(position, position[lost]), 0, part)


def _rule(missing):
    names = " and ".join(missing)
    given = ""
    if len(missing) == 1:
        (other,) = {"validation", "test"} - set(missing)
        given = f"; train and {other} as given"
    return (
        f"{names.capitalize()}: a tenth of the training examples each, at "
        "least one, by BLAKE2b hash of their content, so equal examples stay "
        f"together{given}."
    )


def block_splits(first: np.ndarray, last: np.ndarray, period: int):
    """Splits windows of a series by the blocks in which their targets lie.

    Of every five blocks the first three are for training, the fourth for
    validation and the fifth for test. A target that crosses from one split
    into another belongs to none.

    Args:
        first: int array, first step of every target.
        last: int array, last step of every target; at most one block later.
        period: steps of a block.

    Returns:
        String array: the split of every window, `""` for none.
    """
    first_split = BLOCK_CYCLE[first // period % len(BLOCK_CYCLE)]
    last_split = BLOCK_CYCLE[last // period % len(BLOCK_CYCLE)]
    return np.where(first_split == last_split, first_split, "")
