"""Frames of molecules at known depths."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.simulation.emitter_frames import (
    emitter_light,
    expose,
    uneven_background,
    uneven_read_noise,
)
from deepspot_scale.simulation.optics import Optics, blur, make_pupil, psf

PUPIL = make_pupil(Optics())


def light(points, photons, shape=(40, 44), window=61):
    sigma = np.ones(len(points))
    return emitter_light(PUPIL, points, photons, shape, sigma=sigma, window=window)


def test_light_adds_up():
    points = np.array([[0.5, 1.0, 2.0], [1.5, 3.0, 1.0]])
    photons = np.array([1000.0, 3000.0])
    both = light(points, photons)
    each = [light(points[[k]], photons[[k]]) for k in (0, 1)]
    np.testing.assert_allclose(both, each[0] + each[1], atol=1e-3)


def test_a_window_leaves_the_light_inside_it_unchanged():
    points, photons = np.array([[1.0, 2.2, 2.0]]), np.array([5000.0])
    wide = blur(psf(PUPIL, points, photons, (70, 70)), np.ones(1), radius=4)[0]
    narrow = light(points, photons, (40, 40), window=21)
    inside = np.s_[20 - 6 : 20 + 7, 18 - 6 : 18 + 7]  # beyond the blur of its border
    np.testing.assert_allclose(narrow[inside], wide[inside], atol=1e-2)


@pytest.mark.parametrize("place", [-10.0, -0.5, 4.2, 15.0])
def test_molecules_at_and_beyond_the_border_lose_their_light(place):
    points = np.array([[1.0, place, 2.0]])
    frame = light(points, np.array([1000.0]))
    assert frame.shape == (40, 44)
    assert 0 <= frame.sum() <= 1000
    if abs(place) >= 10:
        assert frame.sum() == 0


def test_no_molecules_give_a_dark_frame():
    assert not light(np.zeros((0, 3)), np.zeros(0)).any()


def test_the_background_lies_between_its_least_and_its_most():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        around = uneven_background(rng, (60, 80), (20, 30), (100, 150))
        assert around.shape == (60, 80)
        assert around.min() >= 20
        assert 90 < around.max() <= 150
        y, x = np.unravel_index(around.argmax(), around.shape)
        assert abs(y - 29.5) <= 11
        assert abs(x - 39.5) <= 11


def test_read_noise_is_uneven_too():
    noise = uneven_read_noise(np.random.default_rng(0), (50, 50))
    assert 8 <= noise.min() < noise.max() <= 12


def test_counts_have_the_mean_and_the_noise_of_their_light():
    rng = np.random.default_rng(3)
    counts = expose(rng, np.full((200, 200), 50.0), read_noise=3.0, baseline=20.0)
    assert counts.mean() == pytest.approx(70, abs=0.2)
    assert counts.var() == pytest.approx(59, rel=0.03)
    assert counts.dtype == np.float32


def test_counts_are_never_below_zero_and_belong_to_the_seed():
    dark = np.zeros((30, 30))
    counts = expose(np.random.default_rng(1), dark, read_noise=5.0)
    assert counts.min() == 0
    again = expose(np.random.default_rng(1), dark, read_noise=5.0)
    np.testing.assert_array_equal(counts, again)
