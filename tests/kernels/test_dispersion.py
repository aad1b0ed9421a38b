import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.kernels.dispersion import Moments, measure_dispersion


def moments(points):
    y, x = np.reshape(points, (-1, 2)).T
    sums = (len(y), y.sum(), x.sum(), (y**2 + x**2).sum())
    return Moments(*(np.array([float(each)]) for each in sums))


def indices(pixels, spots, centre):
    got = measure_dispersion(
        moments(pixels), moments(spots), *np.array(centre)[:, None]
    )
    return [float(each[0]) for each in got]


SQUARE = np.argwhere(np.ones((21, 21))) - 10.0


def test_spots_on_every_pixel_are_central_spread_and_neither_near_nor_far():
    got = indices(SQUARE, SQUARE, [3.0, -2.0])
    assert got == pytest.approx([0, 1, 1], abs=1e-9)


def test_spots_in_one_place_are_not_spread():
    polarization, dispersion, peripheral = indices(SQUARE, [[0, 6]] * 5, [0.0, 0.0])
    radius = np.sqrt((SQUARE**2).sum(axis=1).mean())
    assert polarization == pytest.approx(6 / radius)
    assert dispersion == pytest.approx(0, abs=1e-9)
    assert peripheral == pytest.approx(36 / radius**2)


def test_spots_at_the_edge_are_peripheral():
    corners = [[-10, -10], [10, 10], [-10, 10], [10, -10]]
    assert indices(SQUARE, corners, [0.0, 0.0])[2] > 2.5


@given(st.integers(0, 99), st.integers(-500, 500), st.integers(-500, 500))
def test_indices_do_not_depend_on_where_the_cell_is(seed, dy, dx):
    rng = np.random.default_rng(seed)
    spots, centre, shift = rng.uniform(-9, 9, (12, 2)), rng.uniform(-3, 3, 2), (dy, dx)
    before = indices(SQUARE, spots, centre)
    assert indices(SQUARE + shift, spots + shift, centre + shift) == pytest.approx(
        before, rel=1e-6
    )


def test_no_spots_no_nucleus_and_a_cell_of_one_pixel_have_no_index():
    assert np.isnan(indices(SQUARE, [], [0.0, 0.0])).all()
    nowhere = indices(SQUARE, [[1, 1]], [np.nan, np.nan])
    assert np.isnan(nowhere).tolist() == [False, False, True]
    assert np.isnan(indices([[0.0, 0.0]], [[0.0, 0.0]], [0.0, 0.0])).all()
