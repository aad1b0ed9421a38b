"""One map moves images, labels and points alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage as ndi

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.warping import PatchMap, bend_of

_SHAPE = (90, 110)


def _draw(seed: int, edge: int = 64, bent: float = 3.0) -> PatchMap:
    rng = np.random.default_rng(seed)
    bend = tuple(bend_of(rng.uniform(-bent, bent, (3, 3)), edge) for _ in range(2))
    return PatchMap(
        edge,
        (float(rng.uniform(30, 60)), float(rng.uniform(35, 75))),
        float(np.exp(rng.uniform(np.log(0.6), np.log(1.8)))),
        float(rng.uniform(0.85, 1.15)),
        float(rng.uniform(0, 2 * np.pi)),
        bool(rng.random() < 0.5),
        (bend[0], bend[1]),
    )


def _discs() -> tuple[np.ndarray, np.ndarray]:
    """Return centres of discs of radius 5, and their labels."""
    grid = np.indices(_SHAPE)
    centres = np.array([(y, x) for y in range(8, 90, 16) for x in range(8, 110, 16)])
    labels = np.zeros(_SHAPE, np.int32)
    for number, (y, x) in enumerate(centres, start=1):
        labels[np.hypot(grid[0] - y, grid[1] - x) <= 5] = number
    return centres.astype(float), labels


def test_the_plain_map_cuts_a_window() -> None:
    image = np.random.default_rng(0).random(_SHAPE).astype(np.float32)
    plain = PatchMap(20, (10 + 9.5, 30 + 9.5))
    np.testing.assert_array_equal(plain.image(image), image[10:30, 30:50])
    np.testing.assert_array_equal(
        plain.points(np.array([[12.0, 30.25]]), _SHAPE), [[2.0, 0.25]]
    )


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_quarter_turns_and_mirrors_differ_by_rounding_alone(
    turns: int, mirrored: bool
) -> None:
    image = np.random.default_rng(0).random((2, 31, 31)).astype(np.float32)
    angle = turns * np.pi / 2
    by = PatchMap(31, (15.0, 15.0), turn=angle, mirrored=mirrored)
    expected = np.rot90(image, turns, (1, 2))
    expected = np.flip(expected, 2) if mirrored else expected
    np.testing.assert_allclose(by.image(image), expected, atol=1e-6)
    labels = (image * 100).astype(int)
    turned = (expected * 100).astype(int)
    np.testing.assert_array_equal(by.labels(labels), turned)


@pytest.mark.parametrize("seed", range(20))
def test_points_stay_inside_their_objects(seed: int) -> None:
    by = _draw(seed)
    centres, labels = _discs()
    moved = by.labels(labels)
    places = by.points(centres, _SHAPE)[: len(centres)]
    inside = ((places >= 0) & (places <= by.edge - 1)).all(axis=1)
    y, x = np.round(places[inside]).astype(int).T
    assert inside.sum() >= 2
    np.testing.assert_array_equal(moved[y, x], 1 + np.flatnonzero(inside))


@pytest.mark.parametrize("seed", range(10))
def test_the_pixel_at_a_point_comes_from_that_point(seed: int) -> None:
    by = _draw(seed)
    points = np.random.default_rng(seed).uniform(0, 89, (400, 2))
    places = by.points(points, _SHAPE)[: len(points)]
    inside = ((places >= 0) & (places <= by.edge - 1)).all(axis=1)
    assert inside.sum() > 20
    came_from = [
        ndi.map_coordinates(each.astype(float), places[inside].T, order=1)
        for each in by.places()
    ]
    np.testing.assert_allclose(np.transpose(came_from), points[inside], atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_beyond_the_image_points_are_mirrored_as_pixels_are(seed: int) -> None:
    by = _draw(seed, edge=96, bent=0.0)
    small = (40, 30)
    by = PatchMap(96, (20.0, 12.0), 0.7, by.stretch, by.turn, by.mirrored)
    point = np.array([[14.0, 11.0]])
    labels = np.zeros(small, np.int32)
    labels[11:18, 8:15] = 1
    moved, n_seen = ndi.label(by.labels(labels))
    places = by.points(point, small)
    middle = np.round(places).astype(int)
    inside = ((middle >= 0) & (middle < 96)).all(axis=1)
    seen = moved[tuple(middle[inside].T)]
    assert n_seen > 8
    # Every blob that lies inside the patch has one point, and no point misses.
    assert (seen > 0).all()
    touching = {*moved[[0, -1]].ravel(), *moved[:, [0, -1]].ravel()}
    whole = set(range(1, n_seen + 1)) - touching
    assert len(seen) == len(set(seen))
    assert whole <= set(seen)


def test_a_point_on_the_mirror_is_there_once() -> None:
    by = PatchMap(21, (0.0, 10.0))
    places = by.points(np.array([[0.0, 4.0], [3.0, 4.0]]), (30, 30))
    shown = places[(places >= 0).all(axis=1) & (places <= 20).all(axis=1)]
    assert sorted(shown.tolist()) == [[7.0, 4.0], [10.0, 4.0], [13.0, 4.0]]


def test_the_map_serves_every_plane_of_a_stack() -> None:
    stack = np.random.default_rng(1).random((3, *_SHAPE)).astype(np.float32)
    by = _draw(3)
    expected = [by.image(plane) for plane in stack]
    np.testing.assert_array_equal(by.image(stack), expected)


def test_labels_keep_their_numbers_and_type() -> None:
    labels: Any = np.full(_SHAPE, 16_000_001, np.uint32)
    moved = _draw(0).labels(labels)
    assert moved.dtype == np.uint32
    assert (moved == 16_000_001).all()


def test_a_bend_that_folds_the_patch_is_refused_for_points() -> None:
    knots = np.array([[0.0, 90.0], [-90.0, 0.0]])
    bend = bend_of(knots, 32)
    by = PatchMap(32, (16.0, 16.0), bend=(bend, bend[::-1]))
    with pytest.raises(SettingsError, match="lower elastic"):
        by.points(np.random.default_rng(0).uniform(0, 32, (50, 2)), (40, 40))
