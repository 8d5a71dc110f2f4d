import numpy as np
import pytest

from kbig.data import mixed_lengths
from kbig.data.packing import pack_by_length
from kbig.errors import UsageError
from tests.data.test_pretraining import IDS
from tests.data.test_pretraining import OPTIONS
from tests.data.test_pretraining import restored


def make_groups():
    """Rows of 16, 32 and 64 slots, nearly all of them full."""
    generator = np.random.default_rng(0)
    sizes = np.repeat([62, 30, 14], [40, 60, 100])
    texts = [
        generator.integers(5, 100, size - generator.integers(3))
        for size in sizes
    ]
    return pack_by_length(texts, 64, shortest=16, **IDS)


def collect(groups, steps=None, **options):
    stream = mixed_lengths.mixed_batches(
        groups, 4, max_predictions=8, **OPTIONS | options
    )
    stream = stream if steps is None else stream.take(steps)
    return list(stream.as_numpy_iterator())


def rows_of(batches):
    return sorted(tuple(row) for batch in batches for row in restored(batch))


def test_evaluation_shows_every_row_once():
    groups = make_groups()
    batches = collect(groups)
    assert rows_of(batches) == sorted(
        tuple(row) for group in groups for row in group["token_ids"]
    )
    for inputs, labels, weights in batches:
        rows, length = inputs["token_ids"].shape
        assert rows <= 4 * 64 // length
        assert labels.shape == weights.shape == (rows, 8 * length // 64)


def test_each_length_has_its_share_of_a_pass_evenly_spread():
    groups = make_groups()
    steps = mixed_lengths.mixed_steps(groups, 4)
    wanted = {
        group["token_ids"].shape[1]: len(group["token_ids"])
        // (4 * 64 // group["token_ids"].shape[1])
        for group in groups
    }
    assert len(wanted) == 3 and sum(wanted.values()) == steps
    batches = collect(groups, 2 * steps, training=True)
    lengths = np.array([x["token_ids"].shape[1] for x, *_ in batches])
    for begin in (0, steps):
        found, counts = np.unique(
            lengths[begin : begin + steps], return_counts=True
        )
        assert dict(zip(found.tolist(), counts.tolist())) == wanted
    for length, count in wanted.items():
        half = np.count_nonzero(lengths[: steps // 2] == length)
        assert abs(half - count / 2) <= 1
    # A pass shows no row twice.
    first = rows_of(batches[:steps])
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("first_step", [1, 5, 23, 60])
def test_training_resumes_at_any_step(first_step):
    groups = make_groups()
    straight = collect(groups, first_step + 3, training=True, seed=7)
    resumed = collect(groups, 3, training=True, seed=7, first_step=first_step)
    for one, two in zip(straight[first_step:], resumed, strict=True):
        for name in one[0]:
            np.testing.assert_array_equal(one[0][name], two[0][name])
        np.testing.assert_array_equal(one[1], two[1])


def test_a_length_with_few_rows_has_a_batch_of_its_own():
    groups = pack_by_length([[9] * 60, *[[8, 7]] * 80], 64, shortest=16, **IDS)
    counts = [len(group["token_ids"]) for group in groups]
    assert counts[-1] == 1
    batches = collect(groups, mixed_lengths.mixed_steps(groups, 4), training=1)
    assert {x["token_ids"].shape for x, *_ in batches} == {
        (
            min(count, 4 * 64 // group["token_ids"].shape[1]),
            group["token_ids"].shape[1],
        )
        for count, group in zip(counts, groups)
    }


def test_mistakes():
    with pytest.raises(UsageError, match="Received: 0 groups"):
        collect(())
    with pytest.raises(UsageError, match="batch_size=0"):
        mixed_lengths.mixed_batches(
            make_groups(), 0, max_predictions=8, **OPTIONS
        )


def test_replicas_share_every_training_batch_evenly():
    groups = pack_by_length([[9] * 60, *[[8, 7]] * 83], 64, shortest=16, **IDS)
    counts = [len(group["token_ids"]) for group in groups]
    assert counts[-1] == 1 and counts[0] % 2 == 1
    steps = mixed_lengths.mixed_steps(groups, 4, 2)
    batches = collect(groups, steps, training=True, multiple=2)
    assert {len(labels) % 2 for _, labels, _ in batches} == {0}
    # Of a single row there is a batch too, with the row twice.
    assert {inputs["token_ids"].shape[1] for inputs, *_ in batches} == {16, 64}
    assert collect(groups, multiple=2)[0][1].shape[0] % 2 == 0
