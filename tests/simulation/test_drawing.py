import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from deepspot_scale.simulation.drawing import (
    elastic_grid,
    ellipse,
    log_uniform,
    perlin_noise,
    render_spots,
    rescale,
    smooth_noise,
)

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)


@few
@given(
    st.tuples(st.floats(25, 38), st.floats(25, 38)),
    st.floats(1, 1000),
    # Below half a pixel the light is still right, but its centre is the pixel's.
    st.tuples(st.floats(0.7, 5), st.floats(0.7, 5)),
)
def test_a_spots_light_is_that_of_its_gaussian(point, height, sigmas):
    image = render_spots((64, 64), np.array([point]), np.array([height]), [sigmas])
    total = image.sum(dtype=np.float64)
    assert total == pytest.approx(2 * np.pi * height * np.prod(sigmas), rel=1e-3)
    # Its centre of mass is where it was put.
    for axis in (0, 1):
        places = np.arange(64) @ image.sum(axis=1 - axis, dtype=np.float64)
        assert places / total == pytest.approx(point[axis], abs=0.01)


def test_a_pixel_holds_the_mean_of_the_gaussian_over_it():
    fine = (np.arange(400) + 0.5) / 20 - 0.5  # 20 x 20 samples a pixel
    y, x = fine[:, None] - 8.3, fine[None, :] - 11.7
    samples = 50 * np.exp(-0.5 * ((y / 0.8) ** 2 + (x / 2.1) ** 2))
    expected = samples.reshape(20, 20, 20, 20).mean(axis=(1, 3))
    image = render_spots((20, 20), np.array([[8.3, 11.7]]), [50.0], [(0.8, 2.1)])
    np.testing.assert_allclose(image, expected, atol=0.02)


def test_a_spot_in_a_volume_is_its_planes_in_proportion_to_its_profile():
    at, sigmas = np.array([[3.2, 8.3, 11.7]]), [(1.1, 0.8, 2.1)]
    volume = render_spots((8, 20, 24), at, np.array([50.0]), sigmas)
    plane = render_spots((20, 24), at[:, 1:], np.array([1.0]), [sigmas[0][1:]])
    edges = np.arange(9) - 0.5 - 3.2
    profile = 1.1 * np.sqrt(2 * np.pi) * np.diff(ndtr(edges / 1.1))
    expected = 50 * profile[:, None, None] * plane
    np.testing.assert_allclose(volume, expected, atol=1e-4)


def test_spots_add_up():
    rng = np.random.default_rng(0)
    points, heights = rng.uniform(0, 39, (7, 2)), rng.uniform(1, 9, 7)
    sigmas = rng.uniform(0.5, 3, 7)
    each = [
        render_spots((40, 40), points[i : i + 1], heights[i : i + 1], sigmas[i : i + 1])
        for i in range(7)
    ]
    together = render_spots((40, 40), points, heights, sigmas)
    np.testing.assert_allclose(together, np.sum(each, axis=0), atol=1e-3)


def test_a_spot_at_the_edge_is_cut_and_not_wrapped():
    image = render_spots(
        (30, 30), np.array([[0.0, 29.0]]), np.array([100.0]), np.array([2.0])
    )
    assert image[0, 29] == image.max()
    assert not image[:, 0].any()
    assert not image[29].any()


def test_no_spots_are_black():
    none = np.zeros((0, 2))
    assert not render_spots((3, 5), none, np.zeros(0), np.zeros(0)).any()


@few
@given(seeds, st.floats(2, 200))
def test_smooth_noise_fills_its_shape_and_range(seed, scale):
    surface = smooth_noise(np.random.default_rng(seed), (37, 53), scale)
    assert surface.shape == (37, 53)
    assert (surface.min(), surface.max()) == pytest.approx((0, 1), abs=1e-6)


def test_smooth_noise_is_the_smoother_the_wider_its_bumps():
    steps = [
        np.abs(np.diff(smooth_noise(np.random.default_rng(3), (128, 128), scale))).max()
        for scale in (4, 16, 64)
    ]
    assert steps[0] > 2 * steps[1] > 4 * steps[2]


def test_a_constant_rescales_to_zero():
    assert not rescale(np.full((3, 5), 7, np.float32)).any()


@given(st.floats(1e-3, 1e3), st.floats(1, 1e3))
def test_log_uniform_stays_in_its_range(low, factor):
    values = log_uniform(np.random.default_rng(0), low, low * factor, 50)
    assert (values >= low * (1 - 1e-12)).all()
    assert (values <= low * factor * (1 + 1e-12)).all()


def test_half_of_a_log_uniform_lies_below_the_geometric_mean_of_its_ends():
    values = log_uniform(np.random.default_rng(0), 1, 100, 4000)
    assert np.mean(values < 10) == pytest.approx(0.5, abs=0.03)


def test_an_ellipse_has_its_area_and_its_half_axes_in_the_order_x_y():
    mask = ellipse((80, 80), (40, 40), (30, 10), 0)
    assert mask.sum() == pytest.approx(np.pi * 300, rel=0.1)
    rows, columns = np.nonzero(mask)
    assert np.ptp(columns) == 60
    assert np.ptp(rows) == 20


def test_an_ellipse_stands_at_its_centre_in_the_order_y_x():
    rows, columns = np.nonzero(ellipse((90, 60), (70, 20), (8, 8), 30))
    assert (rows.mean(), columns.mean()) == pytest.approx((70, 20), abs=0.1)


# -- Perlin noise ----------------------------------------------------------------------


def slow_gradient_noise(angle, shape, lattice):
    """Perlin's noise pixel by pixel: slopes at the corners, blended by the fade."""

    def fade(t):
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    noise = np.zeros(shape)
    for pixel in np.ndindex(shape):
        at = [i * lattice / n for i, n in zip(pixel, shape, strict=True)]
        for corner in np.ndindex(2, 2):
            node = [int(a) + c for a, c in zip(at, corner, strict=True)]
            away = [a - n for a, n in zip(at, node, strict=True)]
            weight = np.prod([1 - fade(abs(d)) for d in away])
            turn = angle[tuple(node)]
            slope = np.sin(turn) * away[0] + np.cos(turn) * away[1]
            noise[pixel] += weight * slope
    return np.sqrt(2) * noise


@settings(max_examples=10, deadline=None)
@given(seeds, st.integers(1, 6), st.tuples(st.integers(7, 24), st.integers(7, 24)))
def test_perlin_noise_is_that_of_its_slow_twin(seed, lattice, shape):
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, (lattice + 1,) * 2)
    noise = perlin_noise(np.random.default_rng(seed), shape, lattice, octaves=1)
    expected = slow_gradient_noise(angle, shape, lattice)
    np.testing.assert_allclose(noise, expected, atol=1e-4)


def test_perlin_noise_has_no_seams_where_lattice_cells_meet():
    for seed in range(10):
        noise = perlin_noise(np.random.default_rng(seed), (128, 128), 4, octaves=1)
        for axis in (0, 1):
            bend = np.abs(np.diff(noise, 2, axis)).max(axis=1 - axis)
            seams = np.array([32, 64, 96]) - 1
            assert bend[seams].max() < np.delete(bend, seams).max()


def test_perlin_noise_is_centred():
    rngs = [np.random.default_rng(seed) for seed in range(60)]
    noise = np.stack([perlin_noise(rng, (64, 64), 4) for rng in rngs])
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert np.mean(noise > 0) == pytest.approx(0.5, abs=0.03)
    assert 0.8 < np.abs(noise).max() < 2


def test_each_octave_of_perlin_noise_has_half_the_strength_of_the_one_before():
    def octave(number):
        both = [
            perlin_noise(np.random.default_rng(1), (256, 256), 2, octaves=n)
            for n in (number, number + 1)
        ]
        return np.std(both[1] - both[0])

    assert octave(3) / octave(2) == pytest.approx(0.5, rel=0.1)


# -- elastic deformation ---------------------------------------------------------------


def test_an_elastic_grid_without_shifts_is_the_identity():
    columns, rows = elastic_grid(np.random.default_rng(0), (31, 47), 0.0, 4)
    expected_rows, expected_columns = np.indices((31, 47))
    np.testing.assert_array_equal(columns, expected_columns)
    np.testing.assert_array_equal(rows, expected_rows)
    image = np.random.default_rng(1).random((31, 47), dtype=np.float32)
    unbent = cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
    np.testing.assert_array_equal(unbent, image)


def test_an_elastic_grid_shifts_its_control_points_by_normal_steps():
    columns, rows = elastic_grid(np.random.default_rng(0), (45, 45), 6.0, 5)
    points = 9 * np.arange(5) + 4  # in the middle of nine pixels each
    at = np.ix_(points, points)
    down, right = np.random.default_rng(0).normal(0, 6.0, (2, 5, 5))
    np.testing.assert_allclose(rows[at] - points[:, None], down, atol=1e-4)
    np.testing.assert_allclose(columns[at] - points[None, :], right, atol=1e-4)


def test_an_elastic_grid_is_smooth():
    columns, rows = elastic_grid(np.random.default_rng(2), (512, 512), 10.0, 4)
    for grid, axis in ((columns, 1), (rows, 0)):
        assert np.abs(np.diff(grid, axis=axis) - 1).max() < 1
