import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.binning import (
    bin_pixels,
    bin_window,
    binning_for,
    unbin_pixels,
)

few = settings(max_examples=40, deadline=None)
binnings = st.sampled_from([1, 2, 4])
images = arrays(np.float32, (16, 24), elements=st.floats(-1, 10, width=32))


@few
@given(images, binnings)
def test_a_large_pixel_is_the_mean_of_its_pixels(image, binning):
    rows, columns = 16 // binning, 24 // binning
    pieces = image.reshape(rows, binning, columns, binning)
    expected = pieces.mean(axis=(1, 3), dtype=np.float64)
    np.testing.assert_allclose(bin_pixels(image, binning), expected, atol=1e-5)


@few
@given(images, binnings, st.integers(0, 1), st.integers(0, 2))
def test_a_window_on_the_grid_gives_the_bits_of_the_whole_image(image, binning, y, x):
    window = np.s_[y * 8 : y * 8 + 8, x * 8 : x * 8 + 8]
    part = np.s_[window[0].start // binning : window[0].stop // binning]
    along = np.s_[window[1].start // binning : window[1].stop // binning]
    whole = bin_pixels(image, binning)
    np.testing.assert_array_equal(
        bin_pixels(image[window].copy(), binning), whole[part, along]
    )


@few
@given(arrays(np.float32, (6, 9), elements=st.floats(0, 1, width=32)), binnings)
def test_spread_pixels_inside_do_not_depend_on_the_window(image, binning):
    whole = unbin_pixels(image, binning)
    assert whole.shape == (6 * binning, 9 * binning)
    window = unbin_pixels(np.ascontiguousarray(image[1:5, 2:8]), binning)
    inner = np.s_[binning:-binning, binning:-binning]
    part = whole[binning : 5 * binning, 2 * binning : 8 * binning]
    np.testing.assert_array_equal(window[inner], part[inner])


@pytest.mark.parametrize("binning", [1, 2, 4])
def test_spreading_keeps_a_slope_and_a_constant(binning):
    slope = np.arange(8, dtype=np.float32)[:, None] + np.zeros(3, np.float32)
    fine = unbin_pixels(slope, binning)[binning:-binning, 0]
    at = (np.arange(binning, 7 * binning) + 0.5) / binning - 0.5
    np.testing.assert_allclose(fine, at, atol=1e-6)
    flat = np.full((3, 3), 0.5, np.float32)
    assert (unbin_pixels(flat, binning) == 0.5).all()


@pytest.mark.parametrize(
    ("sigma", "binning"),
    [(None, 1), (0.5, 1), (3.5, 1), (3.6, 2), (7.0, 2), (7.1, 4), (14.0, 4)],
)
def test_binned_spots_are_within_the_networks_range(sigma, binning):
    assert binning_for(sigma) == binning


@pytest.mark.parametrize("sigma", [0.0, -1.0, 14.1, float("nan")])
def test_a_width_that_no_binning_serves_is_refused(sigma):
    with pytest.raises(SettingsError, match="standard deviation"):
        binning_for(sigma)


@pytest.mark.parametrize("binning", [1, 2, 4])
def test_a_window_is_binned_alike_wherever_it_is_cut(binning: int) -> None:
    plane = np.random.default_rng(4).normal(0, 1, (300, 301)).astype(np.float32)
    window = plane[5:261, 40:296]
    binned = bin_window(window, binning)
    np.testing.assert_array_equal(binned, bin_window(window.copy(), binning))
    np.testing.assert_allclose(binned, bin_pixels(window, binning), atol=1e-6)
