"""What a plane says before its objects are looked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from deepspot_scale.kernels.object_size import (
    RANGE,
    bin_plane,
    enlarge_plane,
    scale_plane,
    typical_diameter,
)
from deepspot_scale.simulation.nuclei import draw_nuclei


def field_of_discs(diameter, n=9, *, noise=3.0, seed=0):
    """Return discs with a blurred border, `n` along each axis, and noise."""
    rng = np.random.default_rng(seed)
    step = int(2.2 * diameter)
    plane = np.zeros((n * step, n * step))
    y, x = np.indices((step, step)) - (step - 1) / 2
    disc = 100.0 * (np.hypot(y, x) < diameter / 2)
    for row in range(n):
        for column in range(n):
            at = (slice(row * step, (row + 1) * step),)
            at += (slice(column * step, (column + 1) * step),)
            plane[at] = disc * rng.uniform(0.4, 1)
    plane = ndimage.gaussian_filter(plane, 1.0)
    return plane + 200 + noise * rng.standard_normal(plane.shape)


@pytest.mark.parametrize("diameter", [12, 26, 60])
def test_diameter_of_discs_is_found_to_a_sixth(diameter):
    found = typical_diameter(field_of_discs(diameter))
    assert found == pytest.approx(diameter, rel=1 / 6)


def test_twice_the_pixels_are_twice_the_diameter():
    plane = field_of_discs(40, n=7)
    once, twice = (
        typical_diameter(each) for each in (plane, plane.repeat(2, 0).repeat(2, 1))
    )
    assert twice == pytest.approx(2 * once, rel=0.1)


@pytest.mark.parametrize("strength", [0.5, 2.0])
def test_a_flare_is_not_taken_for_an_object(strength):
    plane = field_of_discs(14)
    y, x = np.indices(plane.shape) / plane.shape[0]
    flare = strength * 100 * np.exp(-((y - 1) ** 2 + (x - 1) ** 2) / (2 * 0.3**2))
    assert typical_diameter(plane + flare) == pytest.approx(14, rel=0.25)


@pytest.mark.parametrize("seed", [0, 1, 3, 5, 7])
def test_few_large_nuclei_are_not_taken_for_background(seed):
    rng = np.random.default_rng(seed)
    made = draw_nuclei(rng, (256, 256), diameter=80, cover=0.3, touching=0.0)
    counts = rng.poisson(np.maximum(made.counts, 0))
    _, areas = np.unique(made.labels[made.labels > 0], return_counts=True)
    true = np.sqrt(4 / np.pi * areas.max())
    assert typical_diameter(counts) == pytest.approx(true, rel=0.5)


def test_a_plane_that_is_reduced_for_speed_gives_pixels_of_the_plane():
    plane = field_of_discs(70, n=8)  # longer than 1024 px
    assert max(plane.shape) > 1024
    assert typical_diameter(plane) == pytest.approx(70, rel=1 / 6)


@pytest.mark.parametrize("diameter", [18, 30])
def test_diameter_of_simulated_nuclei_is_found_to_a_third(diameter):
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        made = draw_nuclei(rng, (400, 400), diameter=diameter, cover=0.25)
        found.append(typical_diameter(made.counts) or np.nan)
    assert np.nanmedian(found) == pytest.approx(diameter, rel=1 / 3)


def test_brightness_does_not_change_the_diameter():
    plane = field_of_discs(26)
    assert typical_diameter(plane * 7 + 1000) == pytest.approx(
        typical_diameter(plane), rel=1e-6
    )


@pytest.mark.parametrize(
    "plane",
    [
        np.zeros((64, 64)),
        np.full((64, 64), 7, np.uint16),
        np.random.default_rng(0).normal(100, 5, (300, 300)),
        np.random.default_rng(0).poisson(30, (300, 300)),
    ],
    ids=["zeros", "constant", "normal noise", "shot noise"],
)
def test_a_plane_without_objects_has_no_diameter(plane):
    assert typical_diameter(plane) is None


def test_light_that_fills_half_of_the_plane_is_no_object():
    y, x = np.indices((200, 220))
    glow = 300 * (np.hypot(y - 100, x - 110) < 70)
    rng = np.random.default_rng(2)
    assert typical_diameter(rng.poisson(100 + glow)) is None


def test_percentiles_become_0_and_1():
    rng = np.random.default_rng(1)
    plane = rng.integers(0, 65535, (50, 60)).astype(np.uint16)
    scaled = scale_plane(plane)(plane)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(np.percentile(scaled, [1, 99.8]), [0, 1], atol=1e-3)


def test_values_far_outside_are_cut_and_order_is_kept():
    plane = np.r_[np.linspace(0, 100, 9999), 1e9, -1e9].reshape(1, -1)
    scaled = scale_plane(plane)(plane)
    assert (scaled.min(), scaled.max()) == RANGE
    assert (np.diff(scaled[0, :10000]) >= 0).all()


def test_a_constant_plane_becomes_0():
    plane = np.full((9, 9), 12, np.uint8)
    assert not scale_plane(plane)(plane).any()


def test_a_few_bright_pixels_on_nothing_stay_finite():
    plane = np.zeros((200, 200), np.uint16)
    plane[3, 3] = 900
    scaled = scale_plane(plane)(plane)
    assert scaled[3, 3] == 1
    assert scaled.sum() == 1


@given(
    st.integers(1, 23), st.integers(1, 23), st.integers(1, 6), st.integers(0, 2**32 - 1)
)
def test_binning_gives_the_mean_of_each_square_with_repeated_sides(
    height, width, binning, seed
):
    plane = np.random.default_rng(seed).integers(0, 999, (height, width))
    small = bin_plane(plane, binning)
    assert small.shape == (-(-height // binning), -(-width // binning))
    rows = np.minimum(np.arange(small.shape[0] * binning), height - 1)
    columns = np.minimum(np.arange(small.shape[1] * binning), width - 1)
    for y, x in np.ndindex(small.shape):
        square = plane[np.ix_(rows, columns)][
            y * binning : (y + 1) * binning, x * binning : (x + 1) * binning
        ]
        assert small[y, x] == pytest.approx(square.mean(), rel=1e-6)


@given(
    st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(0, 2**32 - 1)
)
def test_any_part_of_an_enlarged_plane_is_interpolated_between_centres(
    height, width, times, seed
):
    rng = np.random.default_rng(seed)
    plane = rng.integers(0, 999, (height, width))
    shape = (height * times, width * times)
    whole = enlarge_plane(plane, times, (0, 0), shape)
    zoomed = ndimage.zoom(
        plane.astype(float), times, order=1, mode="nearest", grid_mode=True
    )
    np.testing.assert_allclose(whole, zoomed, rtol=1e-4, atol=1e-3)
    start = (rng.integers(0, shape[0]), rng.integers(0, shape[1]))
    stop = (rng.integers(start[0], shape[0]) + 1, rng.integers(start[1], shape[1]) + 1)
    part = enlarge_plane(plane, times, start, stop)
    box = tuple(slice(*ends) for ends in zip(start, stop, strict=True))
    np.testing.assert_array_equal(part, whole[box])
