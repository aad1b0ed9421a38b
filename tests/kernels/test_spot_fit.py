import numpy as np
import pytest

from deepspot_scale.kernels.spot_fit import fit_spots, light_reach, seen_widths
from deepspot_scale.kernels.volumes import SpotWidths
from deepspot_scale.simulation import render_spots
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

ORIGIN = np.zeros(3, np.int64)


def clean(spots=12, peak=60.0, seed=1, **values):
    kind = StackKind((16, 96, 96), spots, peak, read_noise=0.1, **values)
    return kind, simulate_stack(kind, seed)


def fit_places(*given):
    return fit_spots(*given).places


def test_heights_are_those_of_the_spots_without_their_neighbours():
    kind, _ = clean()
    sigma = np.array([kind.sigma] * 3)
    points = np.array([[7.0, 20.0, 20.0], [7.0, 20.0, 24.5], [7.0, 50.0, 20.0]])
    light = render_spots((15, 70, 40), points, np.array([900.0, 300.0, 500.0]), sigma)
    peaks = np.round(points).astype(np.int64)
    width = SpotWidths(float(np.hypot(kind.sigma[0], 12**-0.5)), kind.sigma[1])
    fitted = fit_spots(100 + light, peaks, ORIGIN, width)
    np.testing.assert_array_equal(fitted.alone, [False, False, True])
    # Drawn spots are integrated over pixels, so that they are a little lower.
    share = np.prod(kind.sigma) / np.prod(seen_widths(width))
    assert fitted.heights == pytest.approx(share * np.array([900, 300, 500]), rel=0.07)


def test_places_are_fitted_to_a_fraction_of_a_voxel():
    kind, truth = clean()
    peaks = np.round(truth.points).astype(np.int64)
    order = np.lexsort(peaks.T[::-1])
    places = fit_places(
        truth.image, peaks[order], ORIGIN, SpotWidths(kind.sigma[0], kind.sigma[1])
    )
    error = np.abs(places - truth.points[order])
    assert np.median(error, axis=0).max() < 0.03
    assert error.max() < 0.2


def test_a_spot_is_fitted_alike_in_a_part_of_the_stack():
    kind, truth = clean(60)
    peaks = np.round(truth.points).astype(np.int64)
    peaks = peaks[np.lexsort(peaks.T[::-1])]
    width = SpotWidths(kind.sigma[0], kind.sigma[1])
    whole = fit_places(truth.image, peaks, ORIGIN, width)
    own = (peaks[:, 1] > 30) & (peaks[:, 1] < 60)
    corner = np.array([0, 13, 0])
    part = fit_places(truth.image[:, 13:80], peaks[own] - corner, corner, width)
    inner = (peaks[own][:, 1] > 40) & (peaks[own][:, 1] < 50)
    assert inner.any()
    np.testing.assert_array_equal(part[inner], whole[own][inner])


def test_the_light_of_a_neighbour_moves_no_spot():
    kind, _ = clean()
    sigma = np.array([kind.sigma, kind.sigma])
    points = np.array([[7.0, 20.0, 20.0], [7.0, 20.0, 24.2]])
    light = render_spots((15, 40, 40), points, np.array([900.0, 300.0]), sigma)
    peaks = np.round(points).astype(np.int64)
    width = SpotWidths(float(np.hypot(kind.sigma[0], 12**-0.5)), kind.sigma[1])
    places = fit_places(100 + light, peaks, ORIGIN, width)
    alone = fit_places(100 + light, peaks[1:], ORIGIN, width)
    error, before = (np.abs(p - points[1]).max() for p in (places[1], alone[0]))
    assert error < before / 2
    assert error < 0.15


def test_spots_just_in_reach_of_each_other_are_so_in_every_window():
    width = SpotWidths(1.17, 1.46)
    reach = light_reach(width)
    rng = np.random.default_rng(1)
    stack = rng.poisson(100, (12, 30, 90)).astype(np.uint16)
    peaks = np.array([[5, 10, 40], [5, 10, 40 + reach[2]], [5, 10 + reach[1], 40]])
    for z, y, x in peaks:
        stack[z, y, x] += 900
    peaks = peaks[np.lexsort(peaks.T[::-1])]
    whole = fit_places(stack, peaks, ORIGIN, width)
    for first in range(30):
        corner = np.array([0, 0, first])
        part = fit_places(stack[:, :, first:], peaks - corner, corner, width)
        np.testing.assert_array_equal(part, whole)


def test_a_stack_of_one_plane_has_no_depth_to_fit():
    plane = np.random.default_rng(0).poisson(50, (1, 20, 20)).astype(np.uint16)
    places = fit_places(plane, np.array([[0, 9, 9]]), ORIGIN, SpotWidths(1.0, 1.4))
    assert places[0, 0] == 0
