"""Maxima of fine maps: each molecule once, between the pixels, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deepspot_scale.kernels.heat_maxima import (
    find_molecules,
    local_maxima,
    reach,
    to_camera_pixels,
)

MAPS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.integers(0, 3).map(float),
)  # fmt: skip


def slowly(heat, threshold, radius):
    """Every pixel is compared with every one of its window."""
    found = []
    for y, x in np.ndindex(heat.shape):
        rows = range(max(0, y - radius), min(heat.shape[0], y + radius + 1))
        columns = range(max(0, x - radius), min(heat.shape[1], x + radius + 1))
        beaten = any(
            heat[at] > heat[y, x] or (heat[at] == heat[y, x] and at < (y, x))
            for at in ((row, column) for row in rows for column in columns)
        )
        if heat[y, x] > threshold and not beaten:
            found.append((y, x))
    return np.array(found).reshape(-1, 2)


@given(MAPS, st.integers(0, 3))
def test_maxima_are_those_of_a_slow_search_also_among_equal_pixels(heat, radius):
    found = local_maxima(heat, 0.5, radius)
    np.testing.assert_array_equal(found, slowly(heat, 0.5, radius))


@given(MAPS, st.integers(1, 3), st.integers(0, 5))
def test_a_window_with_its_reach_gives_what_the_whole_gives(heat, radius, cut):
    cut, rim = min(cut, heat.shape[0]), reach(radius)
    whole = find_molecules(heat, 0.5, radius=radius)
    rows = local_maxima(heat, 0.5, radius)[:, 0]
    start = max(0, cut - rim)
    part = heat[start:]
    of_part = find_molecules(part, 0.5, radius=radius) if len(part) else whole[:0]
    own = local_maxima(part, 0.5, radius)[:, 0] + start >= cut
    np.testing.assert_allclose(of_part[own] + [start, 0, 0], whole[rows >= cut])


@pytest.mark.parametrize("refine", ["quadratic", "centroid"])
def test_a_symmetric_summit_stays_in_its_pixel(refine):
    heat = np.zeros((7, 8))
    heat[2:5, 3:6] = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    found = find_molecules(heat, 0.5, refine=refine)
    np.testing.assert_allclose(found, [[3, 4, 4]])


def test_a_quadratic_is_found_exactly():
    y, x = np.indices((9, 9))
    dy, dx = y - 4.3, x - 3.8
    heat = 50 - 2 * dy**2 - dx**2 + 0.7 * dy * dx
    np.testing.assert_allclose(
        find_molecules(heat, 45, radius=2)[:, :2], [[4.3, 3.8]], atol=1e-9
    )


def test_a_centroid_is_the_centre_of_mass():
    heat = np.zeros((5, 5))
    heat[2, 2], heat[2, 3] = 3, 1
    np.testing.assert_allclose(
        find_molecules(heat, 1, refine="centroid"), [[2, 2.25, 3]]
    )


def test_a_plateau_is_one_molecule_where_it_begins():
    heat = np.zeros((6, 6))
    heat[2:4, 2:4] = 5
    np.testing.assert_array_equal(local_maxima(heat, 1, 1), [[2, 2]])


def test_nothing_above_the_threshold_is_an_empty_table():
    for heat in (np.zeros((4, 5)), np.full((4, 5), np.nan)):
        assert find_molecules(heat, 0.1).shape == (0, 3)


@pytest.mark.parametrize("scale", [7, 8])
def test_the_fine_pixels_of_a_camera_pixel_lie_around_its_centre(scale):
    fine = np.arange(3 * scale, 4 * scale)
    assert to_camera_pixels(fine, scale).mean() == pytest.approx(3)
    assert to_camera_pixels(np.array([-0.5]), scale)[0] == -0.5
