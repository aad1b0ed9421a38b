from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.evaluation.matching import (
    Score,
    brightness_at,
    integrate_f1,
    match_nearest,
    match_one_to_one,
    nearest_distances,
    pair_one_to_one,
)

unhurried = settings(deadline=None, max_examples=50)
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


@unhurried
@given(points, points)
def test_one_to_one_finds_the_most_and_the_closest_pairs(found, true):
    pairs = pair_one_to_one(found, true, 3.0)
    gaps = [np.hypot(*np.subtract(found[i], true[j])) for i, j in pairs]
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert all(gap <= 3.0 for gap in gaps)
    n, total = best_by_trial(found, true, 3.0)
    assert len(pairs) == n
    assert sum(gaps) == pytest.approx(total)


@unhurried
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


@unhurried
@given(points, points)
def test_integrated_f1_is_the_sum_of_trapezoids_over_the_radii(found, true):
    radii = [3.0 * i / 49 for i in range(50)]
    f1 = [match_one_to_one(found, true, radius).f1 for radius in radii]
    strips = [(a + b) / 2 / 49 for a, b in pairwise(f1)]
    # Distances of whole pixels may lie on a radius; then either side will do.
    assert integrate_f1(found, true) == pytest.approx(sum(strips), abs=0.03)


def test_integrated_f1_falls_with_the_distance():
    true = [(5, 5), (20, 5)]
    scores = [integrate_f1([(5, 5 + d), (20, 5 + d)], true) for d in (0, 1, 2, 3.1)]
    assert scores[0] == pytest.approx(1)
    assert scores == sorted(scores, reverse=True)
    assert scores[1] == pytest.approx(2 / 3, abs=0.02)
    assert scores[-1] == 0


def test_integrated_f1_of_nothing_found_in_nothing_is_perfect():
    assert integrate_f1([], []) == pytest.approx(1)
    assert integrate_f1([], [(1, 1)]) == integrate_f1([(1, 1)], []) == 0


@unhurried
@given(points)
def test_nearest_distances_agree_with_a_plain_loop(true):
    expected = [
        min(
            (np.hypot(*np.subtract(a, b)) for j, b in enumerate(true) if j != i),
            default=np.inf,
        )
        for i, a in enumerate(true)
    ]
    np.testing.assert_allclose(nearest_distances(true), expected)


@unhurried
@given(st.lists(st.tuples(st.floats(-0.5, 4.4), st.floats(-0.5, 6.4)), max_size=5))
def test_brightness_is_the_largest_of_nine_pixels_or_fewer_at_edges(true):
    image = np.random.default_rng(0).permutation(35).reshape(5, 7)
    expected = []
    for y, x in true:
        row, column = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        near = image[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        expected.append(near.max())
    assert brightness_at(image, true).tolist() == expected


def test_brightness_outside_the_image_is_that_of_its_edge():
    image = np.arange(12).reshape(3, 4)
    assert brightness_at(image, [(-9, -9), (50, 50)]).tolist() == [5, 11]


volumes = st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=5)


def plain(found, true, radii):
    """Squares of the distances in units of the radii, one row for each found point."""
    return [
        [float(np.sum((np.subtract(f, t) / radii) ** 2)) for t in true] for f in found
    ]


@unhurried
@given(volumes, volumes)
def test_points_in_space_match_within_a_radius_for_each_axis(found, true):
    radii = (2.0, 1.0, 4.0)  # powers of 2: no distance is rounded
    far = plain(found, true, radii)
    pairs = pair_one_to_one(found, true, radii)
    assert all(far[i][j] <= 1 for i, j in pairs)
    # Each spot of the smaller set tries each of the larger one.
    small, large = sorted((far, list(zip(*far, strict=True))), key=len)
    best = max(
        sum(small[i][j] <= 1 for i, j in enumerate(order))
        for order in permutations(range(len(large)), len(small))
    )
    assert len(pairs) == best
    near = [j for j in range(len(true)) if any(row[j] <= 1 for row in far)]
    assert match_nearest(found, true, radii).n_matched == len(near)
    assert 0 <= integrate_f1(found, true, radii) <= 1


def test_one_radius_for_all_axes_is_a_sphere():
    rng = np.random.default_rng(0)
    found, true = rng.uniform(0, 9, (2, 30, 3))
    for match in (match_nearest, match_one_to_one, integrate_f1):
        assert match(found, true, 2.0) == pytest.approx(match(found, true, [2.0] * 3))
    assert match_one_to_one(found, true, 2.0) != match_one_to_one(
        found, true, (0.1, 2.0, 2.0)
    )


def test_the_brightest_voxel_about_a_point_is_taken():
    image = np.zeros((4, 9, 9))
    image[2, 5, 5] = 7
    assert brightness_at(image, [(1.2, 4, 6), (3, 3, 5)]).tolist() == [7, 0]


@pytest.mark.parametrize(
    ("found", "true", "radius"),
    [
        ([(1, 2)], [(1, 2, 3)], 3.0),
        ([(1, 2)], [(1, 2)], (3.0, 3.0, 3.0)),
        ([(1, 2)], [(1, 2)], (3.0, 0.0)),
        ([(1, 2)], [(1, 2)], -1.0),
        ([1, 2], [1, 2], 3.0),
    ],
)
def test_points_and_radii_of_other_axes_are_refused(found, true, radius):
    for match in (*MATCHERS, integrate_f1):
        with pytest.raises(SettingsError, match="expected"):
            match(found, true, radius)
