"""Objects of label images, and labels drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepspot_scale.kernels.objects import (
    Objects,
    anchor_of,
    arrange,
    draw_labels,
    find_objects,
    make_objects,
    no_objects,
    touches_edge,
)

Labels = NDArray[np.int64]


def whole(objects: Objects, shape: tuple[int, ...]) -> NDArray[np.int32]:
    return draw_labels(objects, [0] * len(shape), shape)


def random_labels(seed: int, shape: tuple[int, ...]) -> Labels:
    """Touching regions of odd shapes: the nearest of some points, with gaps."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, shape, (12, len(shape)))
    grid = np.stack(np.indices(shape), axis=-1)[..., None, :]
    apart = ((grid - points) ** 2).sum(-1)
    labels = apart.argmin(-1) + 1
    labels[apart.min(-1) > 0.05 * np.prod(shape) ** (2 / len(shape))] = 0
    return labels


def in_order(labels: Labels) -> Labels:
    """The slow twin: number each object by its anchor, one after the other."""
    anchors = {}
    for name in np.unique(labels[labels > 0]):
        pixels = np.argwhere(labels == name)
        n = len(pixels)
        apart = [
            sum((n * a - b) ** 2 for a, b in zip(p, pixels.sum(0), strict=True))
            for p in pixels
        ]
        anchors[name] = tuple(pixels[int(np.argmin(apart))])
    names = sorted(anchors, key=anchors.__getitem__)
    twin = np.zeros_like(labels)
    for number, name in enumerate(names, start=1):
        twin[labels == name] = number
    return twin


@pytest.mark.parametrize("shape", [(40, 33), (9, 20, 17)])
def test_labels_come_back_numbered_by_place(shape: tuple[int, ...]) -> None:
    labels = random_labels(3, shape)
    found = arrange(find_objects(labels * 70_001), shape)
    np.testing.assert_array_equal(whole(found.objects, shape), in_order(labels))
    assert found.n_claimed == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(5, 31), st.integers(5, 31), st.randoms())
def test_cut_plane_gives_the_same_labels(seed: int, h: int, w: int, rng) -> None:
    shape = (48, 52)
    labels = random_labels(seed, shape)
    pieces = []
    for y in range(0, shape[0], h):
        for x in range(0, shape[1], w):
            core = ([y, x], [min(y + h, shape[0]), min(x + w, shape[1])])
            # A window that holds every object whole.
            pieces.append(find_objects(labels).anchored_in(*core))
    rng.shuffle(pieces)
    together = arrange(sum(pieces, no_objects()), shape).objects
    at_once = arrange(find_objects(labels), shape).objects
    assert len(together.anchors) == len(np.unique(labels)) - 1
    np.testing.assert_array_equal(whole(together, shape), whole(at_once, shape))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(3, 29), st.integers(3, 29))
def test_part_is_drawn_as_the_whole_is(seed: int, h: int, w: int) -> None:
    shape = (41, 37)
    objects = arrange(find_objects(random_labels(seed, shape)), shape).objects
    objects += objects.moved([2, -3])
    objects = arrange(objects, shape).objects
    drawn = np.zeros(shape, np.int32)
    for y in range(0, shape[0], h):
        for x in range(0, shape[1], w):
            stop = [min(y + h, shape[0]), min(x + w, shape[1])]
            drawn[y : stop[0], x : stop[1]] = draw_labels(objects, [y, x], stop)
    np.testing.assert_array_equal(drawn, whole(objects, shape))


def test_claimed_pixel_goes_to_the_more_certain() -> None:
    square = np.ones((4, 4), bool)
    for certainty in ([0.9, 0.2], [0.2, 0.9], [0.5, 0.5]):
        both = make_objects([[0, 0], [2, 2]], [square, square], certainty)
        for objects in (both, both.take(np.array([1, 0]))):
            found = arrange(objects, (6, 6))
            labels = whole(found.objects, (6, 6))
            assert labels[3, 3] == (2 if certainty[1] > certainty[0] else 1)
            assert found.n_claimed == 4


def test_object_that_is_covered_has_no_label() -> None:
    objects = make_objects(
        [[2, 2], [0, 0]], [np.ones((2, 2), bool), np.ones((6, 6), bool)], [0.1, 0.9]
    )
    found = arrange(objects, (6, 6))
    assert len(found.objects.anchors) == 1
    assert (whole(found.objects, (6, 6)) == 1).all()


def test_touching_objects_at_four_corners_stay_four() -> None:
    labels = np.zeros((20, 20), np.int64)
    for number, (y, x) in enumerate([(0, 0), (0, 10), (10, 0), (10, 10)], start=1):
        labels[y : y + 10, x : x + 10] = number
    objects = arrange(find_objects(labels), labels.shape).objects
    np.testing.assert_array_equal(whole(objects, labels.shape), labels)


def test_object_one_pixel_wide_is_whole() -> None:
    labels = np.zeros((9, 30), np.int64)
    labels[4, 1:29] = 5
    labels[2:8, 10] = 6
    objects = arrange(find_objects(labels), labels.shape).objects
    assert sorted(mask.sum() for mask in objects.masks) == [6, 27]


def test_more_objects_than_16_bits_count() -> None:
    labels = np.arange(1, 300 * 250 + 1).reshape(300, 250)
    objects = arrange(find_objects(labels), labels.shape).objects
    assert len(objects.masks) > 65_535
    np.testing.assert_array_equal(whole(objects, labels.shape), labels)


def test_no_labels_are_no_objects() -> None:
    for labels in (np.zeros((5, 5), int), np.zeros((0, 5), int)):
        assert len(find_objects(labels).masks) == 0
    found = arrange(no_objects(3), (4, 5, 6))
    assert not whole(found.objects, (4, 5, 6)).any()


def test_anchor_lies_in_the_object() -> None:
    ring = np.ones((7, 7), bool)
    ring[1:6, 1:6] = False
    assert ring[tuple(anchor_of(ring))]
    np.testing.assert_array_equal(anchor_of(ring), [0, 3])


def test_object_at_the_side_of_a_window_may_be_cut() -> None:
    labels = np.zeros((10, 10), np.int64)
    labels[0:2, 4:6], labels[8:10, 4:6], labels[4:6, 4:6] = 1, 2, 3
    objects = find_objects(labels)
    assert touches_edge(objects, [0, 0], [10, 10], (20, 20)).tolist() == [
        False,
        True,
        False,
    ]
    moved = objects.moved([10, 0])
    assert touches_edge(moved, [10, 0], [20, 10], (20, 20)).tolist() == [
        True,
        False,
        False,
    ]
