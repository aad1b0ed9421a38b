"""Precision of a place: values worked by hand, and a fit of simulated molecules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import erf

from deepspot_scale.kernels.localisation_precision import (
    Light,
    least_squares_nm,
    likelihood_nm,
    thompson_nm,
)

# sigma^2 12000 and pixel^2 / 12 = 1200 (a = 120 nm); b^2 = 25; N = 1000.
LIGHT = Light(1000.0, 5.0, 12000**0.5, 120.0)


def test_thompson_is_as_worked_by_hand() -> None:
    # 13200 / 1000 + 8 pi 12000^2 25 / (14400 1000^2) = 13.2 + 6.283185
    assert thompson_nm(LIGHT) == pytest.approx(19.483185**0.5, rel=1e-6)


def test_least_squares_is_as_worked_by_hand() -> None:
    # tau = 2 pi 25 13200 / (1000 14400) = 0.1439897
    assert least_squares_nm(LIGHT) == pytest.approx(
        (13.2 * (16 / 9 + 0.5759587)) ** 0.5, rel=1e-6
    )


def test_likelihood_is_as_worked_by_hand() -> None:
    root = (0.2879793 / 1.5759587) ** 0.5
    expected = (13.2 * (1.5759587 + root)) ** 0.5
    assert likelihood_nm(LIGHT) == pytest.approx(expected, rel=1e-6)


def test_multiplying_electrons_doubles_the_variance_of_the_light_alone() -> None:
    dark = LIGHT._replace(background_sd=0.0)
    doubled = dark._replace(multiplied=True)
    assert likelihood_nm(dark) == pytest.approx(13.2**0.5)
    assert likelihood_nm(doubled) == pytest.approx(25.2**0.5)
    assert least_squares_nm(doubled) == pytest.approx((25.2 * 16 / 9) ** 0.5)


def test_without_photons_the_precision_is_not_known() -> None:
    light = LIGHT._replace(photons=np.array([1000.0, 0.0, -5.0, np.nan]))
    for each in (thompson_nm, least_squares_nm, likelihood_nm):
        assert np.isnan(each(light)).tolist() == [False, True, True, True]


@dataclass(frozen=True)
class Bell:
    """A pixel-integrated Gaussian on 11 x 11 pixels of 120 nm, sigma 110 nm."""

    sigma: float = 110 / 120

    def __call__(self, at: object, y: float, x: float, n: float, b: float) -> object:
        edges = np.arange(-5.5, 6) / self.sigma / 2**0.5
        shift = self.sigma * 2**0.5
        along = [np.diff(erf(edges - c / shift)) / 2 for c in (y, x)]
        return (n * np.outer(*along) + b).ravel()


def test_the_scatter_of_least_squares_fits_is_what_the_formula_says() -> None:
    rng, bell = np.random.default_rng(3), Bell()
    found = []
    for y, x in rng.uniform(-0.5, 0.5, (150, 2)):
        pixels = rng.poisson(bell(None, y, x, 800.0, 10.0))
        fit, _ = curve_fit(bell, None, pixels, (0, 0, 700, 9))
        found += [fit[0] - y, fit[1] - x]
    expected = least_squares_nm(Light(800.0, 10**0.5, 110.0, 120.0))
    assert 120 * np.std(found) == pytest.approx(expected, rel=0.15)
