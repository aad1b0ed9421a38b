"""Planted spots: where they stand, how high, and what becomes of their number."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.evaluation import planted_spots
from deepspot_scale.evaluation.planted_spots import _choose_places, _count, _Planter
from deepspot_scale.simulation import render_spots

SHAPE = (256, 256)


def test_planted_spots_have_the_height_and_the_noise_of_their_light() -> None:
    rng = np.random.default_rng(0)
    window = rng.poisson(400, SHAPE).astype(np.uint16)
    planter = _Planter.of([window], sigma=2.0)
    assert planter.variance + 400 * planter.slope == pytest.approx(400, rel=0.05)
    image, points = planter.plant(rng, window, np.zeros((0, 2)), 50.0)
    assert image.dtype == np.uint16
    assert len(points) == 40
    peaks = image[tuple(np.rint(points).astype(int).T)].astype(float) - 400
    # A spot of sigma 2 within half a pixel of its centre has 97 % of its height.
    assert peaks.mean() == pytest.approx(50 * 20 * 0.965, rel=0.03)
    away = np.ones(SHAPE, bool)
    for y, x in np.rint(points).astype(int):
        away[max(0, y - 12) : y + 13, max(0, x - 12) : x + 13] = False
    np.testing.assert_array_equal(image[away], window[away])


def test_the_light_of_a_planted_spot_brings_its_own_noise() -> None:
    flat = np.full(SHAPE, 400.0)
    planter = _Planter(least=1.0, variance=0.0, slope=1.0, sigma=2.0)
    rng = np.random.default_rng(4)
    image, points = planter.plant(rng, flat, np.zeros((0, 2)), 50.0)
    heights, widths = np.full(len(points), 1000.0), np.full(len(points), 2.0)
    light = render_spots(SHAPE, points, heights, widths)
    bright = light > 200
    scaled = (image - flat - light)[bright] / np.sqrt(light[bright])
    assert scaled.std() == pytest.approx(1, rel=0.1)


def test_spots_stand_apart_from_one_another_the_edges_and_what_is_there() -> None:
    rng = np.random.default_rng(1)
    known = rng.uniform(0, 255, (30, 2))
    points = _choose_places(rng, SHAPE, known)
    assert len(points) == 40
    gaps = np.hypot(*(points[:, None] - points[None]).T)
    assert gaps[~np.eye(40, dtype=bool)].min() >= 10
    assert np.hypot(*(points[:, None] - known[None]).T).min() >= 6
    assert 10 <= points.min() <= points.max() <= 245


def test_a_crowded_window_takes_few_spots_and_a_full_one_none() -> None:
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 8.0)] * 2), -1).reshape(-1, 2)
    assert len(_choose_places(rng, SHAPE, grid)) == 0


def test_what_was_there_before_is_neither_a_hit_nor_false() -> None:
    planted = np.array([[10.0, 10], [50, 50]])
    known = np.array([[100.0, 100]])
    found = np.array([[11.0, 10], [100, 101], [200, 200]])
    assert _count(found, planted, known) == (1, 1)
    assert _count(np.zeros((0, 2)), planted, known) == (0, 0)
    assert _count(found, planted, np.zeros((0, 2))) == (1, 2)


def test_a_denoiser_that_changes_nothing_changes_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(3)
    windows = [rng.poisson(100, SHAPE).astype(np.uint16) for _ in range(2)]
    monkeypatch.setattr(planted_spots, "denoise", lambda image, **_: image)
    monkeypatch.setattr(planted_spots, "SNRS", (3.0, 15.0))
    table = planted_spots.score_planted(windows, "none")
    for name in ("n_matched", "n_other", "recall", "precision"):
        np.testing.assert_array_equal(table[name], table[f"{name}_raw"])
    assert list(table["n_planted"]) == [80, 80]
    assert table["recall"][1] > 0.95 > table["recall"][0]
