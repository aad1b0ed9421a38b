"""Degradations: named, composable, worse with more of them, and repeatable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.simulation.degradations import (
    KINDS,
    Degradation,
    photograph,
    spoil,
)
from deepspot_scale.simulation.fish_scenes import File, FishScene, draw_fish_scene

SEVERITIES = (0.0, 0.35, 0.7, 1.0)


@pytest.fixture(scope="module")
def scene() -> FishScene:
    return draw_fish_scene(np.random.default_rng(3), 128)


def shown(scene: FishScene, *degradations: Degradation) -> np.ndarray:
    return photograph(scene, degradations, np.random.default_rng(0))


def spot_contrast(scene: FishScene, image: np.ndarray) -> float:
    """Return how far spots stand out of the other pixels, in their own spread."""
    rows, columns = np.round(scene.points).astype(int).T
    away = np.ones(image.shape, bool)
    for row, column in zip(rows, columns, strict=True):
        away[max(0, row - 5) : row + 6, max(0, column - 5) : column + 6] = False
    spread = image[away].std() + 1e-6
    return float((image[rows, columns].mean() - image[away].mean()) / spread)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_changed_at_severity_0_and_something_above(
    kind: str, scene: FishScene
) -> None:
    plain = shown(scene)
    np.testing.assert_array_equal(shown(scene, Degradation(kind, 0.0)), plain)
    worse = shown(scene, Degradation(kind, 0.6))
    assert not np.array_equal(worse, plain)
    assert worse.shape == plain.shape
    assert worse.min() >= 0
    assert worse.max() <= scene.file.top
    np.testing.assert_array_equal(worse, np.round(worse))


@pytest.mark.parametrize(
    "kind", ["photons", "bleaching", "background", "read_noise", "thinning", "noise"]
)
def test_spots_stand_out_less_with_each_step(kind: str) -> None:
    drawn = draw_fish_scene(np.random.default_rng(5), 128)
    bright = replace(drawn, file=File(gain=1.0, offset=100.0, top=65535.0))
    contrasts = [
        spot_contrast(bright, shown(bright, Degradation(kind, each, 1)))
        for each in SEVERITIES[:3]
    ]
    assert np.all(np.diff(contrasts) < 0)


@pytest.mark.parametrize(
    "kind", ["blur", "defocus", "motion", "smoothing", "averaging"]
)
def test_the_brightest_pixels_of_spots_fade_with_each_step(kind: str) -> None:
    one = draw_fish_scene(np.random.default_rng(5), 128)
    sharp = [
        np.quantile(shown(one, Degradation(kind, each, 1)), 0.999)
        for each in SEVERITIES
    ]
    assert np.all(np.diff(sharp) < 0)


def test_degradations_are_composed_in_their_order(scene: FishScene) -> None:
    one, other = Degradation("saturation", 0.5), Degradation("smoothing", 0.5)
    counts = shown(scene)
    both = spoil(counts, [one, other], top=scene.file.top)
    step = spoil(counts, [one], top=scene.file.top)
    np.testing.assert_array_equal(both, spoil(step, [other], top=scene.file.top))
    turned = spoil(counts, [other, one], top=scene.file.top)
    assert not np.array_equal(both, turned)


def test_a_pattern_stays_where_it_is_when_it_gets_worse(scene: FishScene) -> None:
    plain = shown(scene)
    little, much = (
        shown(scene, Degradation("debris", each, 7)) - plain for each in (0.3, 0.9)
    )
    elsewhere = shown(scene, Degradation("debris", 0.9, 8)) - plain
    bright = little > np.quantile(little, 0.98)
    assert much[bright].mean() > elsewhere[bright].mean()


def test_kinds_and_severities_that_there_are_not_are_refused() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'blur'"):
        Degradation("blurr", 0.5)
    with pytest.raises(SettingsError, match="0 to 1"):
        Degradation("blur", 1.5)


def test_a_scene_photographed_twice_differs_by_its_noise_alone(
    scene: FishScene,
) -> None:
    one, two = (scene.photograph(np.random.default_rng(n)) for n in (1, 2))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(one, scene.photograph(np.random.default_rng(1)))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.1
