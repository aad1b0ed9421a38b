"""What the default detector finds on ladders, and that they are drawn once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.simulation.fish_scenes import draw_fish_scene
from deepspot_scale.training.rating_ladders import LadderSet, Marks, SpotFinder
from deepspot_scale.training.rating_recipe import RatingRanges

pytest.importorskip("openvino")
NONE = np.zeros((0, 2))


def set_in(folder: Path, **values: int) -> LadderSet:
    return LadderSet(RatingRanges(steps=2, size=256, **values), folder)


def test_a_ladder_is_drawn_once_and_read_back(tmp_path: Path) -> None:
    drawn = set_in(tmp_path).take(0)
    assert drawn.images.shape == (2, 256, 256)
    files = {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    assert sorted(files) == ["00000.enhanced.npy", "00000.npy", "00000.npz"]
    again = set_in(tmp_path).take(0)
    np.testing.assert_array_equal(again.images, drawn.images)
    np.testing.assert_array_equal(again.enhanced, drawn.enhanced)
    assert files == {each.name: each.stat().st_mtime_ns for each in tmp_path.iterdir()}
    (tmp_path / "00000.npz").unlink()
    np.testing.assert_array_equal(set_in(tmp_path).take(0).images, drawn.images)


def test_marks_say_what_default_detection_finds() -> None:
    scene = draw_fish_scene(np.random.default_rng(11), 256)
    image = scene.photograph(np.random.default_rng(0)).astype(np.uint16)
    marks = SpotFinder.of().look(image).mark(scene.points)
    assert len(marks.is_found) == len(scene.points)
    assert marks.is_found.sum() == marks.is_true.sum()
    assert marks.is_true.sum() <= len(marks.found)
    assert marks.is_found.any()


def test_shares_are_those_of_the_window_drawn_toward_the_image() -> None:
    true = np.array([[y, x] for y in range(5, 100, 10) for x in range(5, 100, 10)])
    is_found = true[:, 0] < 50  # the upper half alone
    marks = Marks(true.astype(float), is_found, true[is_found], np.ones(50, bool))
    recall, precision = marks.shares()
    assert recall == pytest.approx(0.5)
    assert precision > 0.98
    above, below = marks.shares((0, 0), 50)[0], marks.shares((50, 0), 50)[0]
    assert above == pytest.approx((25 + 8 * 0.5) / (25 + 8))
    assert below == pytest.approx((0 + 8 * 0.5) / (25 + 8))


def test_an_image_in_which_nothing_is_found_has_no_recall() -> None:
    nothing = Marks(np.ones((30, 2)), np.zeros(30, bool), NONE, np.zeros(0, bool))
    recall, precision = nothing.shares()
    assert recall == 0
    assert precision == pytest.approx(0.5)


def test_a_window_has_the_image_and_the_enhanced_one(tmp_path: Path) -> None:
    ladder = set_in(tmp_path).take(0)
    window = ladder.window(1, (30, 40), 64, 2)
    assert window.shape == (64, 64, 2)
    at = (1, slice(30, 94), slice(40, 104))
    np.testing.assert_array_equal(window[..., 0], ladder.images[at])
    np.testing.assert_allclose(window[..., 1] * 255, ladder.enhanced[at], atol=1e-4)
    np.testing.assert_array_equal(ladder.window(1, (30, 40), 64, 1), window[..., :1])


def test_what_is_enhanced_is_what_a_run_enhances(tmp_path: Path) -> None:
    scene = draw_fish_scene(np.random.default_rng(11), 256)
    image = scene.photograph(np.random.default_rng(0)).astype(np.uint16)
    looked = SpotFinder.of().look(image)
    assert looked.enhanced.shape == image.shape
    assert 0 <= looked.enhanced.min() < looked.enhanced.max() <= 1
    places = np.round(looked.found).astype(int).clip(0, 255)
    at_found = looked.enhanced[tuple(places.T)]
    assert np.median(at_found) > 0.3 > np.median(looked.enhanced)
