from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.evaluation import (
    Score,
    match_nearest,
    match_one_to_one,
    pair_one_to_one,
)

MATCHERS = [match_nearest, match_one_to_one]
coordinate = st.integers(0, 12).map(float)
points = st.lists(st.tuples(coordinate, coordinate), max_size=5)


def best_by_trial(found, true, radius):
    """Every assignment tried: most matches first, then the least distance."""
    short, long = sorted((found, true), key=len)
    best = (0, 0.0)
    for order in permutations(range(len(long)), len(short)):
        gaps = [
            np.hypot(*np.subtract(s, long[j]))
            for s, j in zip(short, order, strict=True)
        ]
        near = [gap for gap in gaps if gap <= radius]
        best = min(best, (-len(near), sum(near)))
    return -best[0], best[1]


@given(points, points)
def test_one_to_one_finds_the_most_and_the_closest_pairs(found, true):
    pairs = pair_one_to_one(found, true, 3.0)
    gaps = [np.hypot(*np.subtract(found[i], true[j])) for i, j in pairs]
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert all(gap <= 3.0 for gap in gaps)
    n, total = best_by_trial(found, true, 3.0)
    assert len(pairs) == n
    assert sum(gaps) == pytest.approx(total)


@given(points, points)
def test_nearest_agrees_with_a_plain_loop(found, true):
    taken = []
    for spot in true:
        gaps = [np.hypot(*np.subtract(spot, other)) for other in found]
        if gaps and min(gaps) <= 3.0:
            taken.append(gaps.index(min(gaps)))
    score = match_nearest(found, true)
    assert score.n_matched == len(taken)
    assert (score.n_true, score.n_found) == (len(true), len(found))


@pytest.mark.parametrize("match", MATCHERS)
def test_empty_against_empty_is_perfect_and_against_something_is_nothing(match):
    assert (match([], []).precision, match([], []).recall, match([], []).f1) == (1,) * 3
    assert match([], [(1, 1)]).f1 == match([(1, 1)], []).f1 == 0


@pytest.mark.parametrize("match", MATCHERS)
def test_the_radius_itself_still_matches(match):
    assert match([(0, 3)], [(0, 0)], 3.0).n_matched == 1
    assert match([(0, 3.001)], [(0, 0)], 3.0).n_matched == 0


def test_two_true_spots_that_share_a_detection_are_one_ambiguous_match():
    score = match_nearest([(0, 0)], [(0, 1), (0, -1)])
    assert (score.n_matched, score.n_ambiguous) == (2, 1)
    assert (score.precision, score.recall) == (1, 1)
    strict = match_one_to_one([(0, 0)], [(0, 1), (0, -1)])
    assert (strict.n_matched, strict.recall) == (1, 0.5)


def test_a_second_detection_of_a_spot_is_a_false_one():
    assert match_nearest([(0, 0), (0, 1)], [(0, 0)]).precision == 0.5
    assert match_one_to_one([(0, 0), (0, 1)], [(0, 0)]).precision == 0.5


def test_scores_of_images_add_up():
    a, b = Score(10, 8, 6, 1), Score(3, 4, 2, 0)
    assert a + b == b + a == Score(13, 12, 8, 1)
    assert a + Score() == a
    assert Score(4, 2, 1).f1 == pytest.approx(2 * 0.5 * 0.25 / 0.75)


def test_thousands_of_spots_are_paired():
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 1024, (5000, 2))
    score = match_one_to_one(true[::-1] + 0.1, true)
    assert score.n_matched == 5000
