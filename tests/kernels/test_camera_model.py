"""A camera in numbers: counts and photons, and what is no camera."""

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.camera_model import Camera


def test_counts_of_photons_are_those_photons_again():
    camera = Camera(99.5, 0.3, 0.8, 2.0, 250.0)
    photons = np.array([[0.0, 3.5], [1e4, 7.0]])
    np.testing.assert_allclose(camera.to_photons(camera.to_counts(photons)), photons)


def test_an_em_camera_of_the_challenge_gives_its_counts_for_a_photon():
    # 300 electrons for each photo-electron, 45 of them are one count.
    camera = Camera(100, 1 / 45, 0.9, 74.4, 300)
    assert camera.counts_per_photon == pytest.approx(6.0)
    assert camera.to_counts(np.array([10]))[0] == pytest.approx(160.0)


def test_unsigned_counts_below_the_offset_are_negative_photons():
    assert Camera(100).to_photons(np.array([98], np.uint16))[0] == -2


def test_only_multiplication_doubles_the_variance():
    assert Camera().noise_factor == 1
    assert Camera(em_gain=50).noise_factor == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"gain": 0},
        {"quantum_efficiency": 95},
        {"read_noise": -1},
        {"em_gain": 0.5},
        {"pixel_nm": float("nan")},
        {"offset": float("inf")},
    ],
)
def test_numbers_of_no_camera_are_refused_by_name(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Camera(**wrong)
