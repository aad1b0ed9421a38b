"""Noise is measured from images, and signal that a network lost is given back."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.kernels.denoising import Denoising, measure_noise
from deepspot_scale.simulation import render_spots, smooth_noise


def camera(rng: np.random.Generator, light: np.ndarray, gain: float) -> np.ndarray:
    """Return counts of a camera with an offset of 100 and read noise of 4 counts."""
    return 100 + gain * rng.poisson(light) + rng.normal(0, 4, light.shape)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_the_line_of_variance_on_counts_is_the_cameras(gain: float) -> None:
    rng = np.random.default_rng(0)
    lights = [20 + 400 * smooth_noise(rng, (200, 260), 60.0) for _ in range(3)]
    images = [camera(rng, light, gain) for light in lights]
    least, variance, slope = measure_noise(images)
    assert slope == pytest.approx(gain, rel=0.1)
    # The variance at 0 counts, 100 below the camera's offset.
    assert variance + 100 * slope == pytest.approx(16, abs=12 * gain)
    assert 16 < least < 16 + 120 * gain**2


def test_spots_do_not_count_as_noise() -> None:
    rng = np.random.default_rng(1)
    spots = render_spots(
        (200, 200), rng.uniform(9, 190, (60, 2)), np.full(60, 3e3), np.full(60, 1.2)
    )
    noise = rng.normal(0, 10, (200, 200))
    plain, spotted = (measure_noise([100 + s + noise]) for s in (0 * spots, spots))
    assert plain[0] == pytest.approx(100, rel=0.2)
    assert spotted[0] == pytest.approx(plain[0], rel=0.2)


def test_a_lost_spot_comes_back_and_noise_does_not() -> None:
    rng = np.random.default_rng(2)
    spot = render_spots(
        (64, 64), np.array([[32.0, 32.0]]), np.array([200.0]), np.ones(1)
    )
    noisy = 100 + spot + rng.normal(0, 10, (64, 64))
    lost = np.full((64, 64), 100, np.float32)
    how = Denoising(100, 20, least=100, variance=100, slope=0, doubt=1.5)
    back = how.combine(noisy, lost)
    assert back[32, 32] == pytest.approx(noisy[32, 32], rel=0.05)
    away = np.hypot(*np.indices((64, 64)) - 32) > 6
    assert (back[away] - 100).std() < 0.5 * 10
    assert Denoising(100, 20).combine(noisy, lost) is lost


def test_a_window_gives_the_pixels_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    noisy = rng.normal(100, 20, (40, 50))
    clean = rng.normal(100, 5, (40, 50)).astype(np.float32)
    how = Denoising(100, 20, least=50, variance=100, doubt=1.2)
    whole = how.combine(noisy, clean)
    part = how.combine(noisy[7:30, 9:33], clean[7:30, 9:33])
    np.testing.assert_array_equal(part[1:-1, 1:-1], whole[8:29, 10:32])


def test_counts_and_text_come_back_as_they_were() -> None:
    how = Denoising(103.5, 17.25, 1.0, -20.0, 0.5, 1.5)
    assert Denoising.from_text(how.to_text()) == how
    counts = np.array([[0, 100], [5000, 65535]], np.uint16)
    np.testing.assert_allclose(how.counts(how.normalise(counts)), counts, rtol=1e-5)


def test_pixels_beyond_those_that_were_learned_are_counted() -> None:
    counts = np.array([[99, 100, 150], [200, 201, 900]], np.uint16)
    known = Denoising(103.5, 17.25, darkest=100.0, brightest=200.0)
    assert known.count_beyond(counts) == 3
    assert Denoising(103.5, 17.25).count_beyond(counts) == 0
    assert Denoising.from_text(known.to_text()) == known
