"""The brightness scale of a movie."""

from __future__ import annotations

import numpy as np

from deepspot_scale.kernels.movie_scale import (
    frame_floor,
    frame_top,
    movie_scale,
    normalise,
)


def test_offset_and_gain_of_a_camera_change_nothing() -> None:
    frame = np.random.default_rng(1).poisson(20, (40, 50)).astype(np.float64)
    frame[7:10, 9:12] += 300
    brighter = 3 * frame + 100
    one, other = (
        normalise(each, frame_floor(each), movie_scale([frame_top(each)]))
        for each in (frame, brighter)
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)
    assert 0.9 < one[7:10, 9:12].mean() < 1.1


def test_a_hot_pixel_is_a_ninth_of_the_top() -> None:
    frame = np.full((20, 20), 100.0)
    frame[5, 5] = 1000
    assert frame_top(frame) == 100


def test_frames_that_are_dark_do_not_make_the_others_bright() -> None:
    assert movie_scale([500.0] * 30 + [5.0] * 70 + [400.0] * 10) == 500.0


def test_a_movie_without_light_keeps_its_counts() -> None:
    frame = np.full((9, 9), 7, np.uint16)
    scale = movie_scale([frame_top(frame)])
    assert np.all(normalise(frame, frame_floor(frame), scale) == 0)


def test_frames_that_are_not_finite_do_not_change_the_scale() -> None:
    assert movie_scale([100.0, np.nan, 100.0, np.inf]) == 100.0
    assert movie_scale([np.nan]) == 1.0


def test_pixels_that_are_true_or_false_have_a_floor() -> None:
    assert frame_floor(np.zeros((4, 4), bool)) == 0
