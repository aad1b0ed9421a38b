"""Targets of localisation are what the papers' equations say."""

import numpy as np
import pytest

from deepspot_scale.training.localisation_targets import (
    distance_target,
    heat_target,
    to_fine,
)


def test_a_distance_target_is_that_of_the_nearest_position():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.5, 12, (9, 2))
    target = distance_target(points, (10, 12), scale=7)
    fine = np.stack(np.indices((70, 84)), axis=-1)
    apart = np.linalg.norm(fine[:, :, None] - to_fine(points, 7), axis=-1).min(axis=2)
    rise = np.expm1(7 * np.maximum(1 - apart / 35, 0)) / np.expm1(7)
    # Near equal distances, the nearest is that of rounded positions.
    np.testing.assert_allclose(target, rise, atol=0.05)
    assert np.quantile(np.abs(target - rise), 0.98) < 1e-5
    # The paper's own range is 1096 times this one.
    assert np.expm1(7) == pytest.approx(1096, abs=1)


def test_the_centre_of_a_pixel_is_its_middle_fine_pixel():
    target = distance_target(np.array([[2.0, 3.0]]), (5, 6), scale=7)
    assert np.unravel_index(target.argmax(), target.shape) == (17, 24)
    assert target.max() == pytest.approx(1)


def test_a_position_outside_still_reaches_into_the_frame():
    target = distance_target(np.array([[-1.0, 3.0]]), (5, 6), scale=7)
    assert target[0, 24] > target[1, 24] > target[20, 24]


def test_the_distance_and_the_steepness_are_options():
    near = distance_target(np.array([[2.0, 3.0]]), (5, 6), scale=8, d_max=5.0)
    steep = distance_target(np.array([[2.0, 3.0]]), (5, 6), scale=8, alpha=9.0)
    assert (near > 0).sum() <= 80
    usual = distance_target(np.array([[2.0, 3.0]]), (5, 6), scale=8)
    assert steep[20, 20] < usual[20, 20]


def test_no_position_is_a_dark_target():
    nothing = np.zeros((0, 2))
    assert not distance_target(nothing, (4, 5), scale=7).any()
    assert not heat_target(nothing, (4, 5), scale=8).any()


def test_heat_is_a_gaussian_of_height_one_for_each_position_and_adds_up():
    heat = heat_target(np.array([[2.0, 3.0]]), (6, 7), scale=7)
    assert heat.max() == pytest.approx(1, rel=1e-5)
    assert heat[17, 25] == pytest.approx(np.exp(-0.5), rel=1e-5)
    assert heat[17, 28] == 0
    twice = heat_target(np.array([[2.0, 3.0]] * 2), (6, 7), scale=7)
    np.testing.assert_allclose(twice, 2 * heat)


def test_heat_reaches_in_from_outside():
    heat = heat_target(np.array([[-0.55, 3.0]]), (6, 7), scale=8)
    assert heat[0].max() == pytest.approx(np.exp(-0.5), rel=1e-5)
