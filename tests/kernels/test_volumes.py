import numpy as np
import pytest

from deepspot_scale.kernels.volumes import (
    PROFILE_REACH,
    SpotWidths,
    are_double,
    average_planes,
    bumps,
    find_peaks,
    planes_reach,
    profile_along_z,
    width_along_z,
    width_in_plane,
)
from deepspot_scale.simulation.stacks import StackKind, simulate_stack


def clean(spots=12, peak=60.0, seed=1, **values):
    kind = StackKind((16, 96, 96), spots, peak, read_noise=0.1, **values)
    return kind, simulate_stack(kind, seed)


def test_planes_are_averaged_as_by_scipy_with_the_last_plane_repeated():
    from scipy.ndimage import gaussian_filter1d

    stack = np.random.default_rng(0).integers(0, 1000, (20, 5, 6)).astype(np.uint16)
    expected = gaussian_filter1d(stack.astype(float), 1.5, axis=0, mode="nearest")
    got = average_planes(stack, 1.5, slice(0, None))
    assert np.abs(got - expected).max() < 40  # weights are multiples of 1/64


@pytest.mark.parametrize("sigma", [0.0, 0.4, 1.0, 3.2])
def test_planes_of_a_part_are_those_of_the_whole(sigma):
    stack = np.random.default_rng(0).integers(0, 65536, (30, 4, 5)).astype(np.uint16)
    whole = average_planes(stack, sigma, slice(0, None))
    reach = planes_reach(sigma)
    first = max(0, 11 - reach)
    part = average_planes(
        stack[first : 17 + reach], sigma, slice(11 - first, 17 - first)
    )
    np.testing.assert_array_equal(part, whole[11:17])
    even = average_planes(np.full((9, 2, 2), 7, np.uint16), sigma, slice(0, None))
    assert (even == 7).all()


def test_a_bump_is_where_a_spot_is_and_nowhere_on_a_slope():
    plane = np.arange(20, dtype=np.float32) * 50 + np.zeros((20, 1), np.float32)
    assert not bumps(plane)[:, 2:-2].any()
    plane[8, 9] += 1000
    assert np.unravel_index(bumps(plane).argmax(), plane.shape) == (8, 9)


def test_peaks_are_higher_than_all_neighbours_and_of_equal_ones_the_last():
    from scipy.ndimage import maximum_filter

    response = np.random.default_rng(3).random((7, 9, 11)).astype(np.float32)
    found = find_peaks(response, response > 0.3)
    expected = np.argwhere((maximum_filter(response, 3) == response) & (response > 0.3))
    np.testing.assert_array_equal(found, expected)
    flat = np.ones((2, 2, 2), np.float32)
    np.testing.assert_array_equal(find_peaks(flat, flat > 0), [[1, 1, 1]])


def test_of_two_places_of_one_spot_the_lower_goes():
    places = np.array([[5, 5, 5], [5.5, 5.2, 5.0], [5, 9, 5], [8.0, 5, 5]])
    width = SpotWidths(1.2, 1.4)
    double = are_double(places, np.array([2.0, 3.0, 1.0, 1.0]), width)
    assert double.tolist() == [True, False, False, False]
    assert are_double(places, np.full(4, 1.0), width).tolist()[:2] == [True, False]
    assert not are_double(places[:1], np.ones(1), width).any()


@pytest.mark.parametrize("planes", [0.7, 1.2, 2.4])
def test_widths_are_measured(planes):
    _, truth = clean(30, sigma=(planes, 1.5, 1.5))
    peaks = np.round(truth.points).astype(np.int64)
    ground = np.full(len(peaks), 100.0)
    profile = profile_along_z(truth.image, peaks, ground)
    assert profile.shape == (30, 2 * PROFILE_REACH + 1)
    sigma, light = width_along_z(profile, with_peak=True)
    assert sigma == pytest.approx(planes, rel=0.12)
    assert light == pytest.approx(np.exp(-0.5 / planes**2), abs=0.15)
    widths = width_in_plane(truth.image, peaks, ground)
    assert np.nanmedian(widths) == pytest.approx(np.hypot(1.5, 12**-0.5), rel=0.1)
