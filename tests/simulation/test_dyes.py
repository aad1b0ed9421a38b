"""Drawn windows have the light, noise and truth that they say."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.simulation.dyes import (
    DyeScene,
    PupilSpread,
    draw_dyes,
    dye_pupil,
    gaussian_spread,
)
from deepspot_scale.simulation.optics import Optics, make_pupil

PAIR = [gaussian_spread(nm, aperture=1.45, pixel_nm=110) for nm in (580, 670)]
SMALL = Optics(slm_pixel=120.0, focal_plane=1.0)


def test_the_same_seed_draws_the_same_windows() -> None:
    one, other = (
        draw_dyes(PAIR, DyeScene(), np.random.default_rng(4), 9) for _ in range(2)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_windows_have_the_photons_and_the_background_of_the_scene() -> None:
    scene = DyeScene((2000, 2000), (10, 10))
    drawn = draw_dyes(PAIR, scene, np.random.default_rng(0), 2000)
    expected = 2000 + 121 * 10
    assert drawn.images.sum(axis=(1, 2)).mean() == pytest.approx(expected, rel=0.005)
    assert drawn.images.sum(axis=(1, 2)).var() == pytest.approx(expected, rel=0.1)
    assert (np.abs(drawn.places - 5) <= 0.5).all()
    assert np.bincount(drawn.dye).min() > 900


def test_the_longer_wavelength_is_wider() -> None:
    drawn = draw_dyes(PAIR, DyeScene((1e5, 1e5)), np.random.default_rng(1), 400)
    peak = drawn.images.max(axis=(1, 2))
    assert peak[drawn.dye == 0].mean() > 1.2 * peak[drawn.dye == 1].mean()


def test_depths_are_drawn_where_the_psf_knows_them() -> None:
    spread = PupilSpread(make_pupil(SMALL), 11)
    scene = DyeScene(depth=(0.2, 0.4))
    drawn = draw_dyes([spread, spread], scene, np.random.default_rng(2), 50)
    assert drawn.places.shape == (50, 3)
    assert drawn.places[:, 0].min() >= 0.2
    assert drawn.places[:, 0].max() <= 0.4


def test_a_mask_delays_every_wavelength_by_the_same_length() -> None:
    mask = np.random.default_rng(3).normal(size=(23, 23))
    own = dye_pupil(SMALL, mask, SMALL.wavelength)
    np.testing.assert_allclose(own.wave, make_pupil(SMALL, mask).wave, atol=1e-6)
    twice = dye_pupil(SMALL, mask / 2, 2 * SMALL.wavelength)
    np.testing.assert_allclose(twice.wave, own.wave, atol=1e-6)
