"""Frames hold the light of their molecules, where the truth says, and camera noise."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate, special

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.camera_model import Camera
from deepspot_scale.simulation.molecules import Photons
from deepspot_scale.simulation.movies import (
    MovieRecipe,
    Psf,
    expose,
    simulate_movie,
)

SHAPE = (31, 33)


def light(kind, point, sigma=1.3, photons=1000.0):
    arrays = np.array([point]), np.array([photons]), np.array([sigma])
    return Psf(sigma, 0.0, kind).render(SHAPE, *arrays)


@pytest.mark.parametrize(("kind", "share"), [("gaussian", 1.0), ("airy", 0.94)])
def test_light_and_its_middle_are_those_of_the_molecule(kind, share):
    image = light(kind, (15.3, 16.6))
    assert image.sum() == pytest.approx(1000 * share, rel=0.01)
    y, x = np.indices(SHAPE)
    assert (image * y).sum() / image.sum() == pytest.approx(15.3, abs=0.02)
    assert (image * x).sum() / image.sum() == pytest.approx(16.6, abs=0.02)


def test_a_pixel_holds_the_integral_of_the_gaussian_over_it():
    image = light("gaussian", (15.3, 16.6), photons=1.0)

    def value(x, y):
        square = (y - 15.3) ** 2 + (x - 16.6) ** 2
        return np.exp(-square / (2 * 1.3**2)) / (2 * np.pi * 1.3**2)

    expected, _ = integrate.dblquad(value, 13.5, 14.5, 15.5, 16.5)
    assert image[14, 16] == pytest.approx(expected, abs=1e-8)


def test_a_pixel_holds_the_integral_of_the_airy_pattern_over_it():
    image = light("airy", (15.3, 16.6), photons=1.0)
    k = 2 * np.pi * 0.21 / 1.3

    def value(x, y):
        v = k * np.hypot(y - 15.3, x - 16.6)
        return (2 * special.j1(v) / v) ** 2 * k**2 / (4 * np.pi)

    expected, _ = integrate.dblquad(value, 13.5, 14.5, 15.5, 16.5)
    assert image[14, 16] == pytest.approx(expected, rel=5e-3)


def test_molecules_outside_light_the_border_and_far_ones_do_nothing():
    near, far = light("gaussian", (-2.0, 5.0)), light("gaussian", (-40.0, 5.0))
    assert near[0].sum() > 0
    assert near[5:].sum() < 1e-3
    assert (far == 0).all()


def test_light_adds_up():
    points, photons = np.array([(5.0, 6.0), (6.0, 7.5)]), np.array([300.0, 700.0])
    both = Psf(1.1).render(SHAPE, points, photons, np.array([1.1, 1.1]))
    alone = light("gaussian", points[0], 1.1, 300) + light(
        "gaussian", points[1], 1.1, 700
    )
    np.testing.assert_allclose(both, alone, atol=1e-9)


def test_no_molecules_are_no_light():
    nothing = np.zeros((0, 2)), np.zeros(0), np.zeros(0)
    for kind in ("gaussian", "airy"):
        assert not Psf(1.3, 0.0, kind).render(SHAPE, *nothing).any()


@pytest.mark.parametrize("em_gain", [1.0, 200.0])
def test_counts_have_the_mean_and_the_variance_of_the_camera(em_gain):
    camera = Camera(100, 20 / em_gain, 0.7, 2.0 * em_gain, em_gain)
    counts = expose(np.random.default_rng(0), np.full((500, 500), 40.0), camera)
    assert counts.dtype == np.uint16
    assert camera.to_photons(counts).mean() == pytest.approx(40, rel=0.005)
    variance = 20**2 * (camera.noise_factor * 28 + 2.0**2)
    assert counts.var() == pytest.approx(variance, rel=0.02)


def test_pixels_may_have_read_noise_of_their_own():
    noise = np.tile([1.0, 30.0], (400, 50))
    counts = expose(np.random.default_rng(1), np.zeros((400, 100)), Camera(500), noise)
    assert counts[:, ::2].std() == pytest.approx(1, rel=0.1)
    assert counts[:, 1::2].std() == pytest.approx(30, rel=0.03)


def test_counts_are_cut_to_what_a_file_holds():
    wide = expose(np.random.default_rng(2), np.array([[0.0, 1e6]]), Camera(-50))
    assert wide.tolist() == [[0, 65535]]


def test_the_truth_says_where_the_light_is_from_the_outer_corner():
    recipe = MovieRecipe(
        shape=(40, 50),
        camera=Camera(pixel_nm=110),
        psf=Psf(1.2),
        photons=Photons(1e5, 0.0),
        background=0.0,
        density=0.01,
    )
    movie, truth = simulate_movie(recipe, 400, seed=3)
    alone = np.flatnonzero(np.bincount(truth.frame, minlength=400) == 1)
    checked = 0
    for frame in alone:
        y, x = (float(v[truth.frame == frame][0]) for v in (truth.y_nm, truth.x_nm))
        if not (900 < y < 3500 and 900 < x < 4600):
            continue
        row, column = int(y / 110), int(x / 110)
        window = (slice(row - 6, row + 7), slice(column - 6, column + 7))
        counts = movie[frame][window] - 100.0
        rows, columns = (np.indices(counts.shape).T + 0.5 + [row - 6, column - 6]).T
        assert (counts * rows).sum() / counts.sum() * 110 == pytest.approx(y, abs=4)
        assert (counts * columns).sum() / counts.sum() * 110 == pytest.approx(x, abs=4)
        checked += 1
    assert checked > 20


def test_the_seed_decides_and_the_truth_lies_in_the_frames():
    recipe = MovieRecipe(
        structure="tubes", density=4, on_time=2.0, density_gradient=0.8
    )
    one, other = (simulate_movie(recipe, 12, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one[0], other[0])
    truth = one[1]
    assert (np.diff(truth.frame) >= 0).all()
    for values in (truth.x_nm, truth.y_nm):
        assert ((values >= 0) & (values < 6400)).all()


def test_background_rises_to_the_right():
    recipe = MovieRecipe(density=0, background=50, noise_gradient=2.0)
    movie, truth = simulate_movie(recipe, 30, seed=5)
    assert len(truth.frame) == 0
    photons = recipe.camera.to_photons(movie).mean(axis=(0, 1))
    assert photons[0] == pytest.approx(50, rel=0.05)
    assert photons[-1] == pytest.approx(150, rel=0.05)


@pytest.mark.parametrize(
    "wrong",
    [{"structure": "tube"}, {"density_gradient": 1.5}, {"background": float("nan")}],
)
def test_a_recipe_that_no_draw_can_follow_is_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        dataclasses.replace(MovieRecipe(), **wrong)
