"""Windows are those around the nearest pixel, and scaled alike for every camera."""

from __future__ import annotations

import numpy as np

from deepspot_scale.kernels.dye_windows import cut_windows, scale_windows

MOVIE = np.arange(3 * 20 * 30).reshape(3, 20, 30)


def test_a_window_is_around_the_pixel_nearest_to_its_place() -> None:
    windows = cut_windows(MOVIE, np.array([2]), np.array([[7.4, 12.6]]), 5)
    np.testing.assert_array_equal(windows[0], MOVIE[2, 5:10, 11:16])


def test_windows_beyond_the_frame_and_of_unknown_places_are_nan() -> None:
    places = np.array([[2.0, 2.0], [1.4, 9.0], [17, 27], [18, 9], [np.nan, 9]])
    windows = cut_windows(MOVIE, np.zeros(5, int), places, 5)
    gone = np.isnan(windows).all(axis=(1, 2))
    assert gone.tolist() == [False, True, False, True, True]
    assert np.isfinite(windows[~gone]).all()


def test_an_empty_table_has_no_windows() -> None:
    windows = cut_windows(MOVIE, np.zeros(0, int), np.zeros((0, 2)), 5)
    assert windows.shape == (0, 5, 5)


def test_gain_and_offset_of_a_camera_do_not_matter() -> None:
    windows = np.random.default_rng(0).poisson(20, (4, 11, 11)) + 0.0
    windows[:, 4:7, 4:7] += 300
    scaled = scale_windows(windows)
    np.testing.assert_allclose(scale_windows(100 + 7 * windows), scaled, atol=1e-5)
    np.testing.assert_allclose(scaled.sum(axis=(1, 2)), 20, rtol=1e-4)
    assert np.isfinite(scale_windows(np.zeros((1, 11, 11)))).all()
