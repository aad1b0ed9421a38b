"""Pairs are one to one, as many as there can be, and the closest such ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from deepspot_scale.kernels import pairing
from deepspot_scale.kernels.pairing import (
    count_most_pairs,
    find_neighbours,
    match_most,
    pair_one_to_one,
)


def _best(one: np.ndarray, other: np.ndarray, radius: float) -> tuple[int, float]:
    """Try every assignment: the most pairs, and their least total distance."""
    gaps = np.linalg.norm(one[:, None] - other[None], axis=2)
    gaps = np.pad(gaps, ((0, 0), (0, len(one))), constant_values=np.inf)
    best = (0, 0.0)
    for columns in permutations(range(gaps.shape[1]), len(one)):
        chosen = gaps[np.arange(len(one)), columns]
        near = chosen[chosen <= radius]
        best = min(best, (-len(near), float(near.sum())))
    return -best[0], best[1]


@pytest.mark.parametrize("seed", range(30))
def test_pairs_are_the_best_of_all_assignments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = 2 + seed % 2
    one, other = rng.uniform(0, 4, (4, d)), rng.uniform(0, 4, (3 + seed % 2, d))
    pairs = pair_one_to_one(one, other, 1.5)
    n, total = _best(one, other, 1.5)
    distances = np.linalg.norm(one[pairs[:, 0]] - other[pairs[:, 1]], axis=1)
    assert len(pairs) == n
    assert distances.sum() == pytest.approx(total)


def test_each_point_is_in_one_pair_at_most() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.uniform(0, 60, (900, 2)), rng.uniform(0, 60, (1100, 2))
    pairs = pair_one_to_one(one, other, 2.0)
    near = find_neighbours(one, other, 2.0)
    assert len(np.unique(pairs[:, 0])) == len(np.unique(pairs[:, 1])) == len(pairs)
    assert len(pairs) == count_most_pairs(near, (900, 1100))
    assert (np.diff(pairs[:, 0]) > 0).all()
    assert (match_most(near["i"], near["j"], (900, 1100)) >= 0).sum() == len(pairs)


def test_groups_solved_together_are_as_those_solved_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    one, other = rng.uniform(0, 50, (500, 2)), rng.uniform(0, 50, (500, 2))
    together = pair_one_to_one(one, other, 1.5)
    monkeypatch.setattr(pairing, "_ROWS_TOGETHER", 1)
    np.testing.assert_array_equal(pair_one_to_one(one, other, 1.5), together)


def test_equally_near_points_are_decided_by_their_order() -> None:
    one = np.array([[0.0, 0.0]])
    other = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
    assert pair_one_to_one(one, other, 1.0).tolist() == [[0, 0]]
    assert pair_one_to_one(other, one, 1.0).tolist() == [[0, 0]]
    grid = np.stack(np.meshgrid(*[np.arange(12.0)] * 2), -1).reshape(-1, 2)
    first = pair_one_to_one(grid, grid + 0.5, 1.0)
    np.testing.assert_array_equal(pair_one_to_one(grid, grid + 0.5, 1.0), first)


def test_the_radius_itself_is_near_enough_and_nothing_has_no_pairs() -> None:
    one = np.array([[0.0, 0.0]])
    assert len(pair_one_to_one(one, np.array([[0.0, 2.0]]), 2.0)) == 1
    assert len(pair_one_to_one(one, np.array([[0.0, 2.0 + 1e-9]]), 2.0)) == 0
    assert pair_one_to_one(one[:0], one, 2.0).shape == (0, 2)
    assert pair_one_to_one(one, one[:0], 2.0).shape == (0, 2)
