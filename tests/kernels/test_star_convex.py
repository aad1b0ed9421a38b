"""Star-convex objects: what a network learns, and labels of its answer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import ndimage

from deepspot_scale.kernels.star_convex import (
    CHANNELS,
    DIRECTIONS,
    LONGEST,
    RAYS,
    Candidates,
    decode,
    draw_stars,
    foreground,
    no_candidates,
    star_targets,
    suppress,
)


def discs(shape, *of):
    """Return labels of discs (y, x, radius), the later over the earlier."""
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.int32)
    for number, (cy, cx, radius) in enumerate(of, start=1):
        labels[np.hypot(y - cy, x - cx) < radius] = number
    return labels


def stars(*of):
    """Return round candidates (y, x, radius, probability)."""
    y, x, radius, probability = np.array(of, float).reshape(-1, 4).T
    return Candidates(
        np.stack([y, x], axis=1).astype(np.int64),
        probability.astype(np.float32),
        np.repeat(radius[:, None], RAYS, axis=1).astype(np.float32),
    )


def many(rng, n, size):
    radius = np.exp(rng.uniform(np.log(2), np.log(20), n))
    wobble = rng.uniform(0.7, 1.3, (n, RAYS))
    return Candidates(
        rng.integers(0, size, (n, 2)),
        (rng.integers(1, 9, n) / 9).astype(np.float32),  # many ties
        (radius[:, None] * wobble).astype(np.float32),
    )


# What a network learns.


def walk_slowly(labels, y, x, ray):
    for step in range(1, LONGEST):
        at_y, at_x = np.rint(np.array([y, x]) + step * DIRECTIONS[ray]).astype(int)
        inside = 0 <= at_y < labels.shape[0] and 0 <= at_x < labels.shape[1]
        if not inside or labels[at_y, at_x] != labels[y, x]:
            return step - 0.5
    return LONGEST


def test_each_ray_is_as_long_as_a_walk_pixel_by_pixel():
    labels = discs((40, 48), (15, 15, 9.5), (18, 30, 11), (39, 2, 12))
    answer = star_targets(labels)
    for y, x in np.argwhere(labels[::2, ::2] > 0)[::7]:
        walked = [walk_slowly(labels, 2 * y, 2 * x, ray) for ray in range(RAYS)]
        np.testing.assert_array_equal(answer[y, x, 1 : 1 + RAYS], walked)


def test_rays_end_at_a_touching_object():
    labels = np.zeros((20, 40), np.int32)
    labels[:, :20], labels[:, 20:] = 1, 2
    right = star_targets(labels)[5, 5, 1]  # the ray along +x from pixel (10, 10)
    assert right == 9.5


def test_probability_is_the_distance_to_the_border_over_the_largest_of_the_object():
    labels = discs((48, 48), (23, 23, 15))
    depth = ndimage.distance_transform_edt(labels)
    expected = (depth / depth.max())[::2, ::2]
    np.testing.assert_allclose(star_targets(labels)[..., 0], expected, rtol=1e-6)


def test_the_side_of_the_image_is_no_border_for_the_probability():
    half = discs((40, 40), (0, 20, 15))
    central = star_targets(half)[..., 0]
    assert central[0, 10] == central.max() == 1


def test_foreground_of_the_targets_unfolds_to_every_pixel():
    labels = discs((30, 26), (14, 13, 8.3))
    np.testing.assert_array_equal(
        foreground(star_targets(labels)), 255 * (labels > 0).astype(np.uint8)
    )


@pytest.mark.parametrize("filled", [0, 7])
def test_targets_of_an_empty_and_of_a_filled_image_are_finite(filled):
    answer = star_targets(np.full((16, 24), filled, np.int32))
    assert answer.shape == (8, 12, CHANNELS)
    assert np.isfinite(answer).all()
    assert (answer[..., 0] == (filled > 0)).all()


def test_a_quarter_turn_of_the_labels_permutes_the_rays():
    labels = discs((41, 41), (15, 22, 9), (28, 30, 8))
    plain, turned = (
        star_targets(np.pad(each, (0, 1))) for each in (labels, np.rot90(labels))
    )
    # Ray k points to (sin, cos) in (y, x); np.rot90 takes x to -y. Row 41 is padding.
    distances = plain[:21, :21, 1 : 1 + RAYS]
    moved = np.roll(np.rot90(distances), -RAYS // 4, axis=-1)
    np.testing.assert_array_equal(turned[:21, :21, 1 : 1 + RAYS], moved)


# Candidates.


def answer_of(probability):
    answer = np.zeros((*probability.shape, CHANNELS), np.float32)
    answer[..., 0] = probability
    return answer


def test_candidates_are_the_maxima_above_the_threshold():
    rng = np.random.default_rng(3)
    probability = rng.integers(0, 6, (23, 31)).astype(np.float32) / 6
    found = {tuple(place // 2) for place in decode(answer_of(probability), 0.4).places}
    for y in range(23):
        for x in range(31):
            here = probability[y, x]
            around = [
                (probability[v, u], (v, u) < (y, x))
                for v in range(max(y - 1, 0), min(y + 2, 23))
                for u in range(max(x - 1, 0), min(x + 2, 31))
                if (v, u) != (y, x)
            ]
            least = all(p < here if first else p <= here for p, first in around)
            assert ((y, x) in found) == (here > 0.4 and least)


def test_candidates_of_a_part_are_those_of_the_whole_two_pixels_inside():
    rng = np.random.default_rng(4)
    answer = rng.random((40, 40, CHANNELS)).astype(np.float32)
    whole, part = decode(answer, 0.5), decode(answer[10:30, 6:36], 0.5)
    shift = np.array([20, 12])
    places = part.places + shift

    def inner(places):
        return ((places >= [22, 14]) & (places < [58, 70])).all(axis=1)

    one, other = whole.take(inner(whole.places)), part.take(inner(places))
    np.testing.assert_array_equal(one.places, other.places + shift)
    np.testing.assert_array_equal(one.distances, other.distances)


def test_no_answer_gives_a_ray_shorter_than_half_a_pixel():
    probability = np.zeros((5, 5), np.float32)
    probability[2, 2] = 1
    found = decode(answer_of(probability), 0.5)
    assert found.places.tolist() == [[4, 4]]
    assert (found.distances == 0.5).all()


# Which candidates are objects.


def mask_slowly(place, distances):
    """Return a star in the places from -40 to 110, in steps of half a pixel."""
    y, x = (np.indices((300, 300)) / 2.0 - 40) - place[:, None, None]
    angle = np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi) * RAYS
    low = np.floor(angle).astype(int) % RAYS
    share = angle - np.floor(angle)
    border = distances[low] * (1 - share) + distances[(low + 1) % RAYS] * share
    return np.hypot(y, x) < border


def suppress_slowly(candidates, overlap, shares):
    order = sorted(
        range(len(candidates.probability)),
        key=lambda i: (-candidates.probability[i], *candidates.places[i]),
    )
    taken = []
    for number in order:
        if all(shares[number, other] <= overlap for other in taken):
            taken.append(number)
    return sorted(taken, key=lambda i: tuple(candidates.places[i]))


@pytest.mark.parametrize("seed", range(3))
def test_suppression_is_that_of_all_pairs_in_turn(seed):
    candidates = many(np.random.default_rng(seed), 30, 70)
    masks = [mask_slowly(*star) for star in zip(*candidates[::2], strict=True)]
    shares = np.array(
        [[(a & b).sum() / min(a.sum(), b.sum()) for b in masks] for a in masks]
    )
    # An overlap that no pair is near: areas are sampled, to some percent.
    tried = np.linspace(0.2, 0.7, 101)
    overlap = tried[np.argmax([np.abs(shares - o).min() for o in tried])]
    expected = suppress_slowly(candidates, overlap, shares)
    assert 1 < len(expected) < 25
    assert suppress(candidates, overlap).tolist() == expected


def test_small_star_anywhere_inside_a_large_one_is_suppressed():
    candidates = stars((50, 50, 30, 0.9), (50, 70, 3, 0.8), (32, 38, 4, 0.7))
    assert suppress(candidates, 0.4).tolist() == [0]


def test_of_equally_likely_stars_the_first_in_reading_order_is_taken():
    candidates = stars((12, 10, 8, 0.8), (10, 12, 8, 0.8), (10, 10, 8, 0.8))
    assert suppress(candidates, 0.3).tolist() == [2]


def test_touching_stars_are_both_taken():
    assert suppress(stars((20, 20, 9, 0.9), (20, 37, 9, 0.6)), 0.2).tolist() == [0, 1]


def test_a_suppressed_star_suppresses_no_other():
    chain = stars((20, 20, 10, 0.9), (20, 28, 10, 0.8), (20, 36, 10, 0.7))
    assert suppress(chain, 0.4).tolist() == [0, 2]


def test_suppression_does_not_depend_on_the_order_of_candidates():
    rng = np.random.default_rng(5)
    candidates = many(rng, 3000, 500)  # more than are compared at once
    _, first = np.unique(candidates.places, axis=0, return_index=True)
    candidates = candidates.take(first)
    mixed = rng.permutation(len(first))
    one = candidates.take(suppress(candidates, 0.4))
    shuffled = candidates.take(mixed)
    other = shuffled.take(suppress(shuffled, 0.4))
    np.testing.assert_array_equal(one.places, other.places)
    np.testing.assert_array_equal(one.distances, other.distances)


def test_no_candidates_give_no_objects():
    empty = no_candidates()
    assert suppress(empty, 0.4).tolist() == []
    assert not draw_stars(empty, np.full((9, 9), 255, np.uint8), (9, 9)).labels.any()
    assert len((empty + stars((1, 2, 3, 0.5))).places) == 1


# Labels of a plane.


def read_back(labels, step=Fraction(1)):
    answer = star_targets(labels)
    candidates = decode(answer, 0.5)
    kept = candidates.take(suppress(candidates, 0.4))
    shape = tuple(int(step * n) for n in labels.shape)
    return draw_stars(kept, foreground(answer), shape, step=step)


def test_right_answers_give_the_labels_back():
    labels = discs((80, 96), (20, 20, 12), (50, 40, 15), (52, 72, 16), (70, 10, 8))
    drawn = read_back(labels).labels
    np.testing.assert_array_equal(drawn > 0, labels > 0)
    for number in range(1, 5):
        names = np.unique(drawn[labels == number])
        best = max(
            ((drawn == n) & (labels == number)).sum()
            / ((drawn == n) | (labels == number)).sum()
            for n in names
        )
        assert best > 0.95


def test_no_pixel_outside_the_foreground_is_of_an_object():
    above = np.zeros((40, 40), np.uint8)
    above[:, :20] = 255
    drawn = draw_stars(stars((20, 20, 10, 0.9)), above, (40, 40))
    assert drawn.labels[:, :20].any()
    assert not drawn.labels[:, 20:].any()


def test_pixel_between_two_stars_goes_to_the_one_it_lies_deeper_in():
    above = np.full((40, 60), 255, np.uint8)
    drawn = draw_stars(stars((20, 20, 12, 0.9), (20, 38, 8, 0.9)), above, (40, 60))
    # The border is where the shares of both radii are equal: 20 + 18 * 12 / 20.
    assert drawn.labels[20, 30] == 1
    assert drawn.labels[20, 32] == 2
    assert drawn.n_claimed > 0
    apart = draw_stars(stars((20, 10, 8, 0.9), (20, 40, 8, 0.9)), above, (40, 60))
    assert apart.n_claimed == 0


def test_binned_image_gives_objects_of_the_plane_s_size_and_place():
    labels = discs((64, 64), (30, 33, 12))
    drawn = read_back(labels, step=Fraction(3)).labels
    centre = np.array(ndimage.center_of_mass(drawn > 0))
    # The middle of pixel i of the reduced plane is 3 i + 1 of the plane.
    np.testing.assert_allclose(centre, [91, 100], atol=0.3)
    assert (drawn > 0).sum() == pytest.approx(9 * (labels > 0).sum(), rel=0.03)


def test_a_plane_that_is_no_multiple_of_the_binning_keeps_its_shape():
    above = np.full((10, 11), 255, np.uint8)
    drawn = draw_stars(stars((8, 8, 4, 0.9)), above, (28, 31), step=Fraction(3))
    assert drawn.labels.shape == (28, 31)
    assert drawn.labels[24, 24] == 1


@pytest.mark.parametrize("times", [2, 3])
def test_enlarged_image_gives_objects_of_the_plane_s_size_and_place(times):
    labels = discs((96, 96), (47, 50, 18))
    drawn = read_back(labels, step=Fraction(1, times)).labels
    assert drawn.shape == (96 // times, 96 // times)
    centre = np.array(ndimage.center_of_mass(drawn > 0))
    np.testing.assert_allclose(
        centre, (np.array([47, 50]) + 0.5) / times - 0.5, atol=0.2
    )
    assert (drawn > 0).sum() == pytest.approx((labels > 0).sum() / times**2, rel=0.04)
