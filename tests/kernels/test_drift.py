"""Drift: a planted one is found, by pictures of its molecules."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.kernels.drift import (
    drift_curve,
    segment_middles,
    segment_of,
    segment_shifts,
)
from deepspot_scale.kernels.rendering import Canvas, render

N_FRAMES, N_SEGMENTS, PIXEL = 1000, 10, 20.0


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw molecules of 40 filaments, moved by a curved drift, found to 15 nm."""
    rng = np.random.default_rng(seed)
    begin, turn = rng.uniform(500, 4500, (40, 2)), rng.uniform(0, np.pi, 40)
    which, along = rng.integers(0, 40, 30000), rng.uniform(-1500, 1500, 30000)
    way = np.column_stack([np.sin(turn), np.cos(turn)])[which]
    frames = np.sort(rng.integers(0, N_FRAMES, 30000))
    t = np.arange(N_FRAMES) / N_FRAMES
    drift = np.column_stack([120 * t**2, -90 * np.sin(2 * t)])
    yx = begin[which] + way * along[:, None] + drift[frames]
    return frames, yx + rng.normal(0, 15, yx.shape), drift


def pictures_of(frames: np.ndarray, yx: np.ndarray) -> np.ndarray:
    canvas, ones = Canvas((250, 250), PIXEL), np.ones(len(yx))
    own = segment_of(frames, N_FRAMES, N_SEGMENTS)
    return np.stack(
        [
            render("sum", yx[own == i], ones[own == i], ones[own == i], canvas)
            for i in range(N_SEGMENTS)
        ]
    )


def test_a_planted_drift_is_found_within_a_few_nanometres() -> None:
    frames, yx, drift = draw(1)
    shifts = segment_shifts(pictures_of(frames, yx)) * PIXEL
    curve = drift_curve(segment_middles(N_FRAMES, N_SEGMENTS), shifts, N_FRAMES)
    left = curve - drift
    left -= left.mean(axis=0)
    assert np.sqrt((left**2).mean()) < 3
    assert np.abs(left).max() < 10


def test_a_picture_that_fits_no_other_is_left_out() -> None:
    frames, yx, drift = draw(2)
    pictures = pictures_of(frames, yx)
    pictures[4] = 0
    shifts = segment_shifts(pictures) * PIXEL
    assert np.flatnonzero(np.isnan(shifts).any(axis=1)).tolist() == [4]
    curve = drift_curve(segment_middles(N_FRAMES, N_SEGMENTS), shifts, N_FRAMES)
    left = curve - drift
    assert np.std(left - left.mean(axis=0)) < 4


def test_a_whole_shift_of_pixels_has_its_sign() -> None:
    frames, yx, _ = draw(3)
    one = pictures_of(frames, yx)[0]
    shifts = segment_shifts(np.stack([one, np.roll(one, (3, -5), (0, 1))]))
    np.testing.assert_allclose(shifts, [[0, 0], [3, -5]], atol=0.05)


def test_runs_of_frames_are_nearly_equal_and_in_order() -> None:
    own = segment_of(np.arange(103), 103, 10)
    assert set(np.bincount(own)) == {10, 11}
    assert np.all(np.diff(own) >= 0)
    means = [np.flatnonzero(own == i).mean() for i in range(10)]
    np.testing.assert_allclose(segment_middles(103, 10), means)


def test_one_run_or_none_has_no_drift() -> None:
    assert np.isnan(drift_curve(np.arange(2.0), np.full((2, 2), np.nan), 5)).all()
    curve = drift_curve(np.arange(1.0), np.zeros((1, 2)), 5)
    np.testing.assert_array_equal(curve, np.zeros((5, 2)))


def test_no_molecules_no_shifts() -> None:
    assert np.isnan(segment_shifts(np.zeros((3, 20, 20), np.int64))).all()


def test_shifts_are_as_near_as_those_of_picasso() -> None:
    pytest.importorskip("picasso", reason="picassosr is not installed")
    from picasso import imageprocess

    frames, yx, drift = draw(1)
    pictures = pictures_of(frames, yx)
    light = (pictures / 2**20).astype(np.float32)
    y, x = imageprocess.rcc(list(light), 32, lambda _: None)
    truth = drift[segment_middles(N_FRAMES, N_SEGMENTS).astype(int)]
    errors = []
    for found in (segment_shifts(pictures) * PIXEL, np.column_stack([y, x]) * PIXEL):
        left = found - truth
        errors.append(np.std(left - left.mean(axis=0)))
    assert errors[0] <= errors[1] + 0.5
