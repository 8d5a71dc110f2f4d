import itertools
import math

import numpy as np
import pytest

from kbig.compression.low_rank import math as low_rank_math

SHAPES = [(7, 11), (30, 8), (12, 12)]


def matrix(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 3, 7])
def test_the_errors_are_those_of_eckart_and_young(shape, rank):
    whole = matrix(*shape)
    # An oracle by another way: eigenvalues of the Gram matrix.
    squares = np.linalg.eigvalsh(whole @ whole.T)[::-1][: min(shape)]
    left, right = low_rank_math.factors(whole, rank)
    assert left.shape == (shape[0], rank) and right.shape == (rank, shape[1])
    difference = whole - left @ right
    discarded = squares[rank:].clip(0)
    assert np.linalg.norm(difference) == pytest.approx(
        math.sqrt(discarded.sum()), abs=1e-7
    )
    assert np.linalg.norm(difference, 2) == pytest.approx(
        math.sqrt(discarded[0]) if len(discarded) else 0, abs=1e-7
    )


def test_both_factors_carry_the_roots_of_the_singular_values():
    left, right = low_rank_math.factors(matrix(9, 6), 3)
    values = np.linalg.svd(matrix(9, 6))[1][:3]
    np.testing.assert_allclose(left.T @ left, np.diag(values), atol=1e-12)
    np.testing.assert_allclose(right @ right.T, np.diag(values), atol=1e-12)


def test_the_most_rank_is_the_last_that_saves():
    for rows, columns in itertools.product(range(1, 14), repeat=2):
        saving = [
            rank
            for rank in range(1, 15)
            if rank * (rows + columns) < rows * columns
        ]
        expected = max(saving, default=0)
        assert low_rank_math.most_rank(rows, columns) == expected


@pytest.mark.parametrize(
    ("energy", "rank"), [(0.1, 1), (16 / 26, 1), (0.62, 2), (0.97, 3), (1, 3)]
)
def test_the_least_rank_keeps_the_energy(energy, rank):
    # Squares 16, 9, 1 and 0: shares of 26.
    values = np.array([4.0, 3, 1, 0])
    assert low_rank_math.least_rank(values, energy) == rank


def test_zeros_have_no_energy_to_lose():
    zeros = np.zeros(4)
    assert low_rank_math.least_rank(zeros, 1.0) == 1
    assert not low_rank_math.discarded_energy(zeros).any()


def loss(values, rank):
    squares = np.square(values)
    kept = squares[:rank].sum() / squares.sum()
    return -math.log(kept)


def saved(shape, rank):
    rows, columns = shape
    return 0 if rank is None else rows * columns - rank * (rows + columns)


def lower_hull(points):
    """The corners below which no point lies, by Andrew's monotone chain."""
    hull = []
    for x, y in sorted(points):
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (
            x - hull[-1][0]
        ) >= (y - hull[-1][1]) * (hull[-1][0] - hull[-2][0]):
            hull.pop()
        hull.append((x, y))
    return hull


def test_after_a_cut_no_other_choice_that_saves_as_much_loses_less():
    shapes = [(8, 10), (12, 6), (9, 9)]
    values = [
        np.linalg.svd(matrix(*shape, seed), compute_uv=False) * scale
        for seed, (shape, scale) in enumerate(zip(shapes, (1, 100, 0.01)))
    ]
    choices = itertools.product(
        *([None, *range(1, 1 + (a * b - 1) // (a + b))] for a, b in shapes)
    )
    corners = lower_hull(
        (
            sum(map(saved, shapes, choice)),
            sum(map(loss, values, choice)),
        )
        for choice in choices
    )
    assert len(corners) > 5
    for saving, least in corners[1:]:
        ranks = low_rank_math.budget_ranks(shapes, values, saving)
        assert sum(map(saved, shapes, ranks)) == saving
        assert sum(map(loss, values, ranks)) == pytest.approx(least)


def test_a_budget_is_met_wherever_it_lies():
    shapes = [(8, 10), (12, 6), (9, 9)]
    values = [np.linalg.svd(matrix(*x), compute_uv=False) for x in shapes]
    most = sum(saved(shape, 1) for shape in shapes)
    for saving in range(1, most + 1):
        ranks = low_rank_math.budget_ranks(shapes, values, saving)
        # A rank more of any would not do.
        surplus = sum(map(saved, shapes, ranks)) - saving
        assert 0 <= surplus < 80


def test_what_the_last_cut_saves_too_much_is_given_back():
    # Equal values: one cut saves most, 100 - 2 * 20 at rank 2 of 4 at most.
    flat = [np.ones(10)]
    assert low_rank_math.budget_ranks([(10, 10)], flat, 1) == [4]
    assert low_rank_math.budget_ranks([(10, 10)], flat, 21) == [3]
    assert low_rank_math.budget_ranks([(10, 10)], flat, 80) == [1]


def test_the_scale_of_a_matrix_does_not_matter():
    values = np.array([9.0, 5, 4, 3, 2, 1, 1, 1])
    both = low_rank_math.budget_ranks(
        [(8, 20)] * 2, [values, 1000 * values], saving=120
    )
    assert abs(both[0] - both[1]) <= 1
