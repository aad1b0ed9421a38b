import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from deepspot_scale.kernels.dense_regions import (
    Crop,
    find_regions,
    region_reach,
    take_apart,
)
from deepspot_scale.kernels.single_spot import SingleSpot
from deepspot_scale.kernels.spot_fit import FittedSpots
from deepspot_scale.kernels.volumes import SpotWidths
from deepspot_scale.simulation.drawing import render_spots

SIGMAS = np.array([1.2, 1.5, 1.5])
HEIGHT = 400.0
WIDTH = SpotWidths(1.2, float(np.sqrt(1.5**2 - 1 / 12)))
SINGLE = SingleSpot(HEIGHT, 1.2 * HEIGHT, WIDTH, HEIGHT)


def stack_of(points, shape=(17, 40, 44), background=100.0, noise=0.0, seed=0):
    """Return Gaussians that are seen at the centres of voxels."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    stack = np.full(shape, background)
    for point in points:
        stack += HEIGHT * np.exp(-0.5 * (((grid - point) / SIGMAS) ** 2).sum(axis=-1))
    return stack + noise * np.random.default_rng(seed).normal(size=shape)


def crop_about(stack, place):
    at, reach = np.round(place).astype(np.int64), np.array(region_reach(SIGMAS))
    first, last = np.maximum(at - reach, 0), np.minimum(at + reach + 1, stack.shape)
    return Crop(first, stack[tuple(map(slice, first, last))])


def apart(stack, places, heights, region):
    spots = FittedSpots(np.array(places, float), np.array(heights), np.zeros(0, bool))
    crops = [crop_about(stack, spots.places[index]) for index in region]
    return take_apart(spots, np.array(region), crops, SINGLE)


def test_regions_are_bright_spots_with_all_that_are_near_them():
    rng = np.random.default_rng(2)
    places = rng.uniform(0, 60, (300, 3))
    bright = rng.random(300) < 0.1
    distance = squareform(pdist(places / SIGMAS))
    linked = (bright[:, None] & (distance <= 2.5)) | (
        bright[:, None] & bright & (distance <= 6.0)
    )
    linked |= linked.T
    expected, left = [], set(np.flatnonzero(linked.any(axis=0)))
    while left:
        group, new = set(), {min(left)}
        while new:
            group |= new
            new = set(np.flatnonzero(linked[list(group)].any(axis=0))) - group
        expected.append(sorted(group))
        left -= group
    found = [region.tolist() for region in find_regions(places, bright, SIGMAS)]
    assert found == expected
    assert find_regions(places, np.zeros(300, bool), SIGMAS) == []


@pytest.mark.parametrize("n", [2, 4, 8, 12])
def test_molecules_of_a_site_are_counted_and_placed(n):
    rng = np.random.default_rng(n)
    points = np.array([8.0, 20.0, 20.0]) + rng.uniform(-1.3, 1.3, (n, 3)) * SIGMAS
    stack = stack_of(points, noise=8.0)
    found = apart(stack, [points.mean(axis=0)], [HEIGHT * n * 0.6], [0])
    assert abs(len(found.places) - n) <= n // 8
    assert found.light == pytest.approx(n, abs=0.18 * n)
    mean = np.abs(found.places.mean(axis=0) - points.mean(axis=0))
    assert (mean / SIGMAS).max() < 0.15


def test_two_molecules_are_found_where_they_are():
    points = np.array([[8.0, 20.3, 18.6], [8.4, 20.1, 21.2]])
    found = apart(stack_of(points), [points.mean(axis=0)], [HEIGHT * 1.5], [0])
    order = found.places[:, 2].argsort()
    np.testing.assert_allclose(found.places[order], points, atol=0.08)


def test_the_light_of_ordinary_neighbours_is_no_molecule():
    points = np.array([[8.0, 20.0, 20.0]] * 3 + [[8.0, 20.0, 26.5], [8.0, 14.0, 16.0]])
    places = points[[2, 3, 4]]
    found = apart(stack_of(points), places, [3 * HEIGHT, HEIGHT, HEIGHT], [0])
    assert len(found.places) == 3
    assert np.abs(found.places - points[0]).max() < 1.0


def test_a_region_at_the_end_of_the_stack_is_taken_apart_alike():
    points = np.array([[0.2, 1.0, 1.5], [0.9, 2.4, 0.6], [0.5, 1.4, 1.0]])
    found = apart(stack_of(points, noise=4.0), [points.mean(axis=0)], [900.0], [0])
    assert len(found.places) == 3


def test_a_bright_background_does_not_become_molecules():
    points = np.array([[8.0, 20.0, 20.0], [8.0, 20.5, 21.0]])
    for background in (0.0, 5000.0):
        stack = stack_of(points, background=background, noise=5.0)
        found = apart(stack, [points.mean(axis=0)], [800.0], [0])
        assert len(found.places) == 2


def test_an_uneven_brightness_of_drawn_spots_keeps_the_number():
    rng = np.random.default_rng(5)
    points = np.array([8.0, 20.0, 20.0]) + rng.normal(0, 1.2, (20, 3)) * SIGMAS
    heights = HEIGHT * rng.uniform(0.7, 1.3, 20) * 1.1
    sigmas = np.broadcast_to(SIGMAS, points.shape)
    stack = 100 + render_spots((17, 40, 44), points, heights, sigmas)
    found = apart(stack, [points.mean(axis=0)], [2000.0], [0])
    assert 16 <= len(found.places) <= 24


def test_a_slope_of_the_background_does_not_become_molecules():
    points = np.array([[8.0, 20.0, 20.0], [8.0, 20.5, 21.0], [8.5, 19.0, 20.0]])
    slope = np.linspace(0, 3000, 44) + np.linspace(0, 500, 17)[:, None, None]
    stack = stack_of(points, noise=5.0) + slope
    found = apart(stack, [points.mean(axis=0)], [1100.0], [0])
    assert len(found.places) == 3
    assert found.light == pytest.approx(3, abs=0.2)


def test_one_bright_molecule_is_left_as_it_is():
    grid = np.stack(np.meshgrid(*map(np.arange, (17, 40, 44)), indexing="ij"), axis=-1)
    point = np.array([8.2, 20.1, 19.7])
    bell = np.exp(-0.5 * (((grid - point) / SIGMAS) ** 2).sum(axis=-1))
    noise = np.random.default_rng(0).normal(0, 8, bell.shape)
    for height in (1.3, 2.3, 3.1):
        stack = 100 + height * HEIGHT * bell + noise
        assert apart(stack, [point], [height * HEIGHT], [0]) is None


def test_what_is_far_too_bright_or_too_large_is_left_as_it_is():
    grid = np.stack(np.meshgrid(*map(np.arange, (17, 40, 44)), indexing="ij"), axis=-1)
    point = np.array([8.0, 20.0, 20.0])
    away = (((grid - point) / (3 * SIGMAS)) ** 2).sum(axis=-1)
    stack = 100 + 40 * HEIGHT * np.exp(-0.5 * away)
    assert apart(stack, [point], [40 * HEIGHT], [0]) is None
    far = FittedSpots(np.array([[0.0, 0, 0], [50, 900, 900]]), np.ones(2), np.ones(2))
    crops = [
        Crop(np.array(at), np.zeros((1, 1, 1))) for at in ((0, 0, 0), (50, 900, 900))
    ]
    assert take_apart(far, np.array([0, 1]), crops, SINGLE) is None
