import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.simulation import paper_image, render_spots

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)
intensities = st.sampled_from(["fixed", "var"])


@few
@given(seeds, st.integers(0, 60), intensities, st.sampled_from([32, 64, 100]))
def test_a_paper_image_has_whole_counts_from_0_to_255(seed, n, intensity, size):
    image = paper_image(np.random.default_rng(seed), n, intensity, size).image
    assert image.shape == (size, size)
    assert image.dtype == np.float32
    assert (image.min(), image.max()) == (0, 255)
    np.testing.assert_array_equal(image, np.round(image))


@few
@given(seeds, st.integers(0, 60), intensities)
def test_its_truth_is_every_spot_asked_for_and_two_pixels_inside(seed, n, intensity):
    truth = paper_image(np.random.default_rng(seed), n, intensity, 64)
    assert truth.points.shape == (n, 2)
    assert truth.snr.shape == truth.sigma.shape == (n,)
    assert ((truth.points >= 2) & (truth.points < 62)).all()
    assert (truth.snr > 0).all()


def test_its_sigmas_are_those_of_the_papers_kernels():
    truth = paper_image(np.random.default_rng(0), 500, "var", 256)
    possible = {kernel / (2 * n) for kernel in range(13, 19) for n in range(4, 9)}
    assert set(truth.sigma) <= possible
    assert (truth.sigma.min(), truth.sigma.max()) == (13 / 16, 18 / 8)


@few
@given(seeds)
def test_all_spots_of_a_fixed_image_have_the_same_light(seed):
    truth = paper_image(np.random.default_rng(seed), 30, "fixed", 64)
    light = truth.snr * truth.sigma**2
    np.testing.assert_allclose(light, light[0])


@few
@given(seeds)
def test_each_spot_of_a_variable_image_has_its_own_light_from_80_to_150(seed):
    truth = paper_image(np.random.default_rng(seed), 30, "var", 64)
    light = truth.snr * truth.sigma**2
    assert len(np.unique(light)) == 30
    assert 1.2 < light.max() / light.min() <= 150 / 80


@pytest.mark.parametrize("intensity", ["fixed", "var"])
def test_spots_stand_where_and_as_high_over_the_noise_as_the_truth_says(intensity):
    for seed in range(10):
        truth = paper_image(np.random.default_rng(seed), 40, intensity, 256)
        drawn = render_spots((256, 256), truth.points, truth.snr, truth.sigma)
        fine, fine_drawn = (
            image - cv2.GaussianBlur(image, (0, 0), 3.0)
            for image in (truth.image, drawn)
        )
        # Counts of one standard deviation of noise: as spots have it, and as is left.
        unit = (fine * fine_drawn).sum() / (fine_drawn**2).sum()
        left = (fine - unit * fine_drawn).std()
        assert unit == pytest.approx(left, rel=0.1)


def test_the_seed_decides_everything():
    first, second, other = (
        paper_image(np.random.default_rng(seed), 20, "var", 64) for seed in (5, 5, 6)
    )
    for a, b in zip(vars(first).values(), vars(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(other.image, first.image)
