"""Molecules of a distance transform: those that melt together too, in any block."""

import numpy as np
import pytest

from deepspot_scale.kernels.distance_peaks import Cones, find_distance_peaks

CONES = Cones()


def transform(points, shape, cones=CONES):
    """The map that a perfect network answers."""
    y, x = np.indices(shape)
    points = np.reshape(points, (-1, 2))
    apart = np.min([np.hypot(y - p, x - q) for p, q in points], axis=0)
    near = np.maximum(1 - apart / cones.d_max, 0)
    return (np.expm1(cones.alpha * near) / np.expm1(cones.alpha)).astype(np.float32)


def test_molecules_apart_are_found_once_each():
    points = np.array([(20, 20), (20, 34), (40, 27)])
    found = find_distance_peaks(transform(points, (60, 60)), 0.4, CONES)
    np.testing.assert_array_equal(found.pixels, points)
    np.testing.assert_allclose(found.shifts, 0, atol=1e-6)
    np.testing.assert_allclose(found.heights, 1, atol=1e-6)


def test_a_wide_plateau_holds_several_molecules():
    heat = np.zeros((40, 60), np.float32)
    heat[18:23, 10:50] = 0.9
    found = find_distance_peaks(heat, 0.4, CONES)
    assert len(found.pixels) >= 4
    gaps = np.diff(np.sort(found.pixels[:, 1]))
    assert gaps.max() <= 2 * CONES.extent
    assert len(find_distance_peaks(heat, 0.4, Cones(rounds=0)).pixels) == 1


def test_a_shoulder_that_is_no_maximum_is_a_molecule():
    heat = transform([(20, 20)], (40, 50))
    heat[20, 20:27] = np.linspace(1, 0.7, 7)
    found = find_distance_peaks(heat, 0.4, CONES)
    assert (20, 20) in map(tuple, found.pixels)
    assert (np.abs(found.pixels - (20, 26)) <= 2).all(axis=1).any()
    only = find_distance_peaks(heat, 0.4, Cones(rounds=0))
    np.testing.assert_array_equal(only.pixels, [[20, 20]])


@pytest.mark.parametrize("start", [3, 17, 30])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_block_with_its_reach_finds_what_the_whole_finds(start, axis):
    rng = np.random.default_rng(start)
    heat = transform(rng.uniform(0, 90, (150, 2)), (90, 90))
    heat = np.clip(heat + 0.1 * rng.standard_normal(heat.shape), 0, 1)
    heat = heat.astype(np.float32)
    whole = find_distance_peaks(heat, 0.4, CONES)
    part = heat[start:] if axis == 0 else heat[:, start:]
    block = find_distance_peaks(np.ascontiguousarray(part), 0.4, CONES)
    pixels = block.pixels.copy()
    pixels[:, axis] += start
    least = start + CONES.reach(2)
    own = pixels[:, axis] >= least
    kept = whole.pixels[:, axis] >= least
    np.testing.assert_array_equal(pixels[own], whole.pixels[kept])
    np.testing.assert_array_equal(block.shifts[own], whole.shifts[kept])


def test_nothing_above_the_threshold_is_nothing_found():
    found = find_distance_peaks(np.zeros((20, 20), np.float32), 0.4, CONES)
    assert found.pixels.shape == (0, 2)
    assert found.shifts.shape == (0, 2)
