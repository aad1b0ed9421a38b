"""Features of an image change with what they are named after, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import ndimage as ndi

from deepspot_scale.kernels.image_features import (
    FEATURES,
    Features,
    measure_features,
)

EDGE = 160


def _blobs(sigma: float = 4.0, noise: float = 0.01, seed: int = 0) -> np.ndarray:
    """Return bright blobs on a dark background, from 0 to about 1."""
    rng = np.random.default_rng(seed)
    places = np.zeros((EDGE, EDGE))
    places[tuple(rng.integers(0, EDGE, (2, 30)))] = 1
    image = ndi.gaussian_filter(places, sigma)
    return image / image.max() + noise * rng.standard_normal(image.shape)


@pytest.mark.parametrize("gain", [0.01, 7.0])
@pytest.mark.parametrize("offset", [-3.0, 1000.0])
def test_gain_and_offset_change_nothing(gain: float, offset: float) -> None:
    image = _blobs()
    np.testing.assert_allclose(
        measure_features(gain * image + offset), measure_features(image), rtol=1e-6
    )


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90, np.transpose])
def test_turns_and_flips_change_nothing(
    turn: Callable[[np.ndarray], np.ndarray],
) -> None:
    image = _blobs()
    np.testing.assert_allclose(
        measure_features(turn(image)), measure_features(image), atol=1e-6
    )


@pytest.mark.parametrize("noise", [0.003, 0.02, 0.1])
def test_noise_is_its_standard_deviation(noise: float) -> None:
    image = _blobs(noise=noise)
    low, high = np.percentile(image, [1, 99.8])
    measured = 10 ** measure_features(image).noise * (high - low)
    assert measured == pytest.approx(noise, rel=0.1)


def test_larger_objects_have_the_larger_size_and_the_steeper_spectrum() -> None:
    small, large = (measure_features(_blobs(sigma)) for sigma in (2.5, 5.0))
    assert large.size - small.size == pytest.approx(1.0, abs=0.25)  # twice the size
    assert large.slope < small.slope


def test_inverted_images_have_a_bright_background() -> None:
    image = _blobs()
    plain, inverted = (measure_features(each) for each in (image, -image))
    assert plain.middle < 0.2
    assert inverted.middle > 0.7


def test_contrast_is_one_for_two_values_and_less_for_one_hill() -> None:
    two = np.zeros((EDGE, EDGE))
    two[::2] = 1
    hill = np.random.default_rng(0).normal(size=(EDGE, EDGE))
    assert measure_features(two).contrast == pytest.approx(1.0, abs=0.01)
    assert measure_features(hill).contrast < 0.75


def test_white_noise_has_a_flat_spectrum_and_no_size() -> None:
    noise = measure_features(np.random.default_rng(1).normal(size=(EDGE, EDGE)))
    assert noise.slope == pytest.approx(0, abs=0.15)
    assert noise.size < 2


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_has_no_features(value: int) -> None:
    constant = measure_features(np.full((EDGE, EDGE), value, np.uint16))
    assert np.isnan(constant).all()
    assert Features._fields == FEATURES


def test_an_image_without_noise_has_the_least_noise() -> None:
    y, x = np.indices((64, 64))
    assert measure_features(y + x).noise == -4
