import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.artificial import (
    broad_image,
    ellipse,
    log_uniform,
    render_spots,
    rescale,
    smooth_noise,
)

few = settings(max_examples=25, deadline=None)


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
@given(st.integers(0, 10_000), st.sampled_from([32, 64, 100]))
def test_the_truth_lies_inside_its_image(seed, size):
    truth = broad_image(np.random.default_rng(seed), size)
    assert truth.image.shape == (size, size)
    assert truth.image.dtype == np.float32
    assert np.isfinite(truth.image).all()
    assert truth.points.shape == (len(truth.snr), 2)
    assert ((truth.points >= 0) & (truth.points <= size - 1)).all()
    assert (truth.snr > 0).all()
    assert (truth.sigma > 0.5).all()
    assert (truth.sigma < 6).all()


def test_the_seed_decides_everything():
    first, second = (broad_image(np.random.default_rng(5), 64) for _ in range(2))
    for a, b in zip(vars(first).values(), vars(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = broad_image(np.random.default_rng(6), 64)
    assert not np.array_equal(other.image, first.image)


def test_images_of_background_alone_have_no_points():
    images = [broad_image(np.random.default_rng(seed), 64) for seed in range(60)]
    empty = [truth for truth in images if len(truth.points) == 0]
    assert empty
    for truth in empty:
        assert truth.points.shape == (0, 2)
        assert np.ptp(truth.image) > 0


def test_bright_spots_are_bright_where_they_are_said_to_be():
    # 99th percentile of everything, against the pixels at the clear spots.
    for seed in range(5):
        truth = broad_image(np.random.default_rng(seed + 100), 128)
        clear = np.round(truth.points[truth.snr > 15]).astype(int)
        if 0 < len(clear) < 100:
            values = truth.image[tuple(clear.T)]
            assert np.median(values) > np.median(truth.image)


@few
@given(st.integers(0, 99), st.floats(2, 200))
def test_smooth_noise_fills_its_shape_and_range(seed, scale):
    surface = smooth_noise(np.random.default_rng(seed), (37, 53), scale)
    assert surface.shape == (37, 53)
    assert (surface.min(), surface.max()) == pytest.approx((0, 1), abs=1e-6)


def test_a_constant_rescales_to_zero():
    assert not rescale(np.full((3, 5), 7, np.float32)).any()


@given(st.floats(1e-3, 1e3), st.floats(1, 1e3))
def test_log_uniform_stays_in_its_range(low, factor):
    values = log_uniform(np.random.default_rng(0), low, low * factor, 50)
    assert (values >= low * (1 - 1e-12)).all()
    assert (values <= low * factor * (1 + 1e-12)).all()


def test_an_ellipse_has_its_area_and_its_half_axes_in_the_order_x_y():
    mask = ellipse((80, 80), (40, 40), (30, 10), 0)
    assert mask.sum() == pytest.approx(np.pi * 300, rel=0.1)
    rows, columns = np.nonzero(mask)
    assert np.ptp(columns) == 60
    assert np.ptp(rows) == 20
