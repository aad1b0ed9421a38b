"""Fits of single molecules find place, photons and dye; likelihoods are those of
Poisson."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import poisson

from deepspot_scale.kernels.dye_likelihood import (
    GaussianSpread,
    classify_by_likelihood,
    dye_probabilities,
    fit_dye,
    fit_photons,
    log_likelihood,
)

RED, FAR_RED = GaussianSpread(0.76), GaussianSpread(0.88)
PLACES = np.array([[5.2, 4.7], [4.6, 5.4], [5.0, 5.0]])


def light(spread: GaussianSpread, photons: float = 4000.0) -> np.ndarray:
    return photons * spread(PLACES) + 7.0


def test_the_shares_of_a_window_are_the_light_that_falls_on_it() -> None:
    shares = RED(PLACES)
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), 1, atol=1e-6)
    y = (shares.sum(axis=2) * np.arange(11)).sum(axis=1)
    np.testing.assert_allclose(y, PLACES[:, 0], atol=1e-5)


def test_of_images_without_noise_all_numbers_are_found() -> None:
    fits = fit_dye(light(RED), RED)
    np.testing.assert_allclose(fits.places, PLACES, atol=1e-3)
    np.testing.assert_allclose(fits.photons, 4000, rtol=1e-3)
    np.testing.assert_allclose(fits.background, 7, rtol=1e-2)


def test_likelihoods_are_those_of_poisson() -> None:
    counts = np.random.default_rng(0).poisson(5.0, (3, 20)).astype(float)
    mean = np.full_like(counts, 4.5)
    expected = poisson(4.5).logpmf(counts).sum(axis=1)
    np.testing.assert_allclose(log_likelihood(counts, mean), expected)


def test_fits_climb_as_high_as_a_slow_search() -> None:
    counts = np.random.default_rng(1).poisson(light(RED, 700.0)).astype(float)
    fits = fit_dye(counts, FAR_RED)
    for window, height in zip(counts, fits.log_likelihood, strict=True):

        def low(numbers: np.ndarray, seen: np.ndarray = window) -> float:
            mean = numbers[2] * FAR_RED(numbers[None, :2]) + numbers[3]
            return -log_likelihood(seen.reshape(1, -1), mean.reshape(1, -1))[0]

        bounds = [(3, 7), (3, 7), (1, 5000), (0.1, 50)]
        found = minimize(low, [5, 5, 600, 6], method="Nelder-Mead", bounds=bounds)
        assert height == pytest.approx(-found.fun, abs=0.01)


def test_photons_at_a_known_place_are_the_likeliest() -> None:
    counts = np.random.default_rng(2).poisson(light(RED)).reshape(3, -1).astype(float)
    shares, dark = RED(PLACES).reshape(3, -1), np.full(3, 7.0)
    photons, height = fit_photons(counts, shares, dark)
    for factor in (0.99, 1.01):
        other = factor * photons[:, None] * shares + dark[:, None]
        assert (log_likelihood(counts, other) < height).all()


def test_bright_molecules_are_given_their_dye_with_certainty() -> None:
    rng = np.random.default_rng(3)
    for number, spread in enumerate((RED, FAR_RED)):
        verdicts = classify_by_likelihood(rng.poisson(light(spread)), (RED, FAR_RED))
        assert (verdicts.dye == number).all()
        assert (verdicts.probability > 0.99).all()


def test_probabilities_are_as_often_right_as_they_say() -> None:
    rng = np.random.default_rng(4)
    dye = rng.integers(2, size=3000)
    places = rng.uniform(4.5, 5.5, (3000, 2))
    shares = np.where(dye[:, None, None] == 0, RED(places), FAR_RED(places))
    windows = rng.poisson(500 * shares + 20)
    verdicts = classify_by_likelihood(windows, (RED, FAR_RED))
    right = verdicts.dye == dye
    assert 0.8 < right.mean() < 0.99
    assert verdicts.probability.mean() == pytest.approx(right.mean(), abs=0.02)


def test_a_window_does_not_depend_on_its_companions() -> None:
    windows = np.random.default_rng(5).poisson(light(RED, 600.0)).astype(float)
    together = fit_dye(windows, RED)
    alone = fit_dye(windows[1:2], RED)
    np.testing.assert_allclose(
        together.log_likelihood[1:2], alone.log_likelihood, rtol=1e-12
    )


def test_a_window_that_is_not_known_has_no_dye() -> None:
    windows = light(RED)
    windows[1, 3, 3] = np.nan
    verdicts = classify_by_likelihood(windows, (RED, FAR_RED))
    assert verdicts.dye.tolist() == [0, -1, 0]
    assert np.isnan(verdicts.probability).tolist() == [False, True, False]


def test_empty_windows_and_none_at_all_are_no_error() -> None:
    blank = classify_by_likelihood(np.zeros((2, 11, 11)), (RED, FAR_RED))
    assert (blank.probability < 0.75).all()
    none = classify_by_likelihood(np.zeros((0, 11, 11)), (RED, FAR_RED))
    assert none.dye.shape == none.probability.shape == (0,)


def test_read_noise_is_not_taken_for_background() -> None:
    fits = fit_dye(light(RED), RED, variance=4.0)
    np.testing.assert_allclose(fits.background, 7, rtol=0.02)


def test_probabilities_of_a_window_sum_to_one() -> None:
    chances = dye_probabilities(np.array([[-1e4, -1e4 - 2, -1e4], [3.0, 1.0, -900.0]]))
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    assert chances[0, 0] == chances[0, 2] > chances[0, 1]
