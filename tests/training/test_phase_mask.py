"""A mask and its network are trained together, saved and read back."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.dye_windows import scale_windows
from deepspot_scale.networks.dye_classifier import Architecture
from deepspot_scale.simulation.dyes import DyeScene
from deepspot_scale.simulation.optics import Optics
from deepspot_scale.training.phase_mask import (
    MaskTraining,
    _noisy_windows,
    learn_mask,
    mask_figure,
    read_mask,
    write_mask,
)

PAIR = tuple(
    Optics(wavelength=each, slm_pixel=150.0, focal_plane=1.0) for each in (0.58, 0.67)
)
SCENE = DyeScene((3000, 3000), (5, 5), depth=(0.2, 1.2))
SHORT = MaskTraining(15, steps=4, batch=8, architecture=Architecture((4,)))


def test_the_mask_leaves_its_flat_start_and_the_same_seed_gives_the_same() -> None:
    one, other = (learn_mask(PAIR, 0.625, SCENE, SHORT) for _ in range(2))
    assert np.abs(one.mask).max() > 1e-3
    np.testing.assert_array_equal(one.mask, other.mask)
    assert one.losses == other.losses
    assert one.network.predict(np.zeros((2, 15, 15, 1)), verbose=0).shape[-1] == 2


def test_a_mask_without_speed_stays_flat() -> None:
    still = MaskTraining(15, 2, 8, radians=0.0, architecture=Architecture((4,)))
    assert not learn_mask(PAIR, 0.625, SCENE, still).mask.any()


def test_windows_in_training_are_scaled_as_those_of_movies() -> None:
    rng = np.random.default_rng(0)
    shares, noise = rng.random((2, 3, 15, 15), np.float32)
    light = np.array([[900, 3.0], [100, 8.0], [5000, 2.0]], np.float32)
    mean = light[:, :1, None] * shares + light[:, 1:, None]
    expected = scale_windows(mean + np.sqrt(mean) * noise)[..., None]
    found = np.asarray(_noisy_windows([shares, light, noise]))
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=1e-4)


def test_a_mask_is_read_back_as_it_was_written(tmp_path) -> None:
    mask = np.random.default_rng(1).normal(size=(9, 9)).astype(np.float32)
    write_mask(tmp_path / "mask", mask, PAIR, 0.625)
    again, optics, designed_for = read_mask(tmp_path / "mask.npy")
    np.testing.assert_array_equal(again, mask)
    assert (optics, designed_for) == (PAIR, 0.625)


def test_a_mask_that_is_none_is_refused(tmp_path) -> None:
    with pytest.raises(SettingsError, match="is no mask"):
        read_mask(tmp_path / "nothing")
    (tmp_path / "a.json").write_text('{"optics": [{"colour": 3}], "designed_for": 1}')
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(SettingsError, match="colour"):
        read_mask(tmp_path / "a")


def test_optics_that_differ_in_more_than_colour_are_refused() -> None:
    with pytest.raises(SettingsError, match="one microscope at 2 wavelengths"):
        learn_mask((PAIR[0], Optics()), 0.6, SCENE, SHORT)
    with pytest.raises(SettingsError, match="one microscope at 2 wavelengths"):
        learn_mask(PAIR[:1], 0.6, SCENE, SHORT)


def test_a_mask_is_drawn_with_its_images(tmp_path) -> None:
    mask = np.zeros((9, 9), np.float32)
    figure = mask_figure(mask, PAIR, 0.625, (0.2, 0.7, 1.2))
    figure.savefig(tmp_path / "mask.svg")
    assert len(figure.axes) == 2 + 2 * 3  # the mask, its scale and the images
    assert (tmp_path / "mask.svg").stat().st_size > 1000
