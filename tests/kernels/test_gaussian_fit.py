import numpy as np
import pytest

from deepspot_scale.kernels.gaussian_fit import Neighbours, fit_gaussians, reach_of
from deepspot_scale.kernels.volumes import SpotWidths
from deepspot_scale.simulation.drawing import render_spots
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

USUAL = SpotWidths(1.17, 1.46)


def draw(sigma=(1.17, 1.46, 1.46), spots=40, peak=40.0, seed=1):
    kind = StackKind((20, 160, 160), spots, peak, sigma, read_noise=1.0)
    truth = simulate_stack(kind, seed)
    return truth, np.round(truth.points).astype(np.int64)


@pytest.mark.parametrize(
    "sigma", [(0.9, 1.2, 1.2), (1.17, 1.46, 1.46), (1.6, 1.9, 1.9)]
)
def test_widths_are_fitted_from_a_usual_width(sigma):
    truth, peaks = draw(sigma)
    fits = fit_gaussians(truth.image, peaks, USUAL)
    assert np.isfinite(fits.height).mean() > 0.9
    assert np.nanmedian(fits.sigma_z) == pytest.approx(sigma[0], rel=0.02)
    assert np.nanmedian(fits.sigma_yx) == pytest.approx(sigma[1], rel=0.02)
    assert np.nanmedian(fits.background) == pytest.approx(100, abs=1.5)
    error = np.abs(peaks + fits.off - truth.points)
    assert np.nanmedian(error, axis=0).max() < 0.03


def test_what_a_fit_leaves_is_the_noise():
    truth, peaks = draw(peak=8.0)
    fits = fit_gaussians(truth.image, peaks, USUAL)
    assert np.nanmedian(fits.residual) == pytest.approx(np.hypot(10, 1), rel=0.1)


def test_where_there_is_no_spot_there_is_no_fit():
    rng = np.random.default_rng(0)
    noise = rng.poisson(100, (15, 80, 80)).astype(np.uint16)
    peaks = rng.integers(6, 14, (60, 3)) * [1, 5, 5]
    fits = fit_gaussians(noise, peaks, USUAL)
    assert np.isfinite(fits.height).mean() < 0.6
    known = fits.height[np.isfinite(fits.height)]
    assert np.median(np.abs(known)) < 0.6 * 8 * 10
    assert np.isnan(fits.off[~np.isfinite(fits.height)]).all()


def test_a_spot_is_fitted_alike_alone_and_in_a_part_of_the_stack():
    truth, peaks = draw(peak=12.0)
    whole = fit_gaussians(truth.image, peaks, USUAL)
    reach = np.array(reach_of(USUAL))
    for number in (0, 7, 23):
        first = np.maximum(peaks[number] - reach, 0)
        last = np.minimum(peaks[number] + reach + 1, truth.image.shape)
        part = truth.image[tuple(map(slice, first, last))]
        alone = fit_gaussians(part, peaks[number : number + 1] - first, USUAL)
        for one, all_of_them in zip(alone, whole, strict=True):
            np.testing.assert_array_equal(one[0], all_of_them[number])


def test_no_peaks_give_no_fits():
    fits = fit_gaussians(np.zeros((5, 9, 9)), np.zeros((0, 3), np.int64), USUAL)
    assert fits.off.shape == (0, 3)
    assert fits.height.shape == (0,)


def test_the_light_of_a_neighbour_is_taken_off_first():
    sigma = np.array([[1.17, 1.46, 1.46]] * 2)
    points = np.array([[9.2, 40.3, 40.1], [9.8, 40.0, 44.4]])
    light = render_spots((20, 80, 80), points, np.array([600.0, 900.0]), sigma)
    stack, peaks = 100 + light, np.round(points).astype(np.int64)
    spots = Neighbours(peaks, points, 0.95 * np.array([600.0, 900.0]), np.array([0]))
    clean = fit_gaussians(stack, peaks[:1], USUAL, spots)
    crowded = fit_gaussians(stack, peaks[:1], USUAL)
    lone = fit_gaussians(stack - light_of(points[1:], 900.0), peaks[:1], USUAL)
    assert clean.sigma_yx[0] == pytest.approx(lone.sigma_yx[0], rel=0.05)
    assert clean.off[0] == pytest.approx(lone.off[0], abs=0.05)
    worse = abs(crowded.sigma_yx[0] - lone.sigma_yx[0])
    assert not worse < 3 * abs(clean.sigma_yx[0] - lone.sigma_yx[0])


def light_of(points, height):
    sigma = np.array([[1.17, 1.46, 1.46]])
    return render_spots((20, 80, 80), points, np.array([height]), sigma)
