"""Objects are matched by their overlap, one to one, in linear memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import ndimage as ndi
from scipy.optimize import linear_sum_assignment

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.label_matching import (
    average_precision,
    boundary_f,
    count_error,
    match_objects,
    overlap_labels,
    panoptic_quality,
)


def _two(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return blobs and other blobs that resemble them, in a plane or a stack."""
    rng = np.random.default_rng(seed)
    shape = (60, 70) if seed % 2 else (12, 25, 25)
    field = rng.normal(size=shape)
    moved = field + 0.4 * rng.normal(size=shape)
    true, _ = ndi.label(ndi.gaussian_filter(field, 1.7) > 0.02)
    found, _ = ndi.label(ndi.gaussian_filter(moved, 1.7) > 0.02)
    return true, found


def _dense_iou(true: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Compare every pair of masks."""
    rows = [i for i in np.unique(true) if i]
    columns = [j for j in np.unique(found) if j]
    iou = [
        [((true == i) & (found == j)).sum() / ((true == i) | (found == j)).sum()]
        for i in rows
        for j in columns
    ]
    return np.array(iou, np.float64).reshape(len(rows), len(columns))


@pytest.mark.parametrize("seed", range(6))
def test_iou_is_that_of_every_pair_of_masks(seed: int) -> None:
    true, found = _two(seed)
    overlaps = overlap_labels(true, found)
    np.testing.assert_array_equal(
        overlaps.matrix.toarray(), _dense_iou(true, found), strict=True
    )
    np.testing.assert_array_equal(overlaps.true_sizes, np.bincount(true.ravel())[1:])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.5, 0.75])
def test_matches_are_the_most_and_then_the_best(seed: int, threshold: float) -> None:
    true, found = _two(seed)
    matches = match_objects(overlap_labels(true, found), threshold)
    iou = _dense_iou(true, found)
    worth = np.where(iou >= threshold, len(iou) + iou, 0.0)  # the most, then the best
    rows, columns = linear_sum_assignment(worth, maximize=True)
    taken = iou[rows, columns]
    assert len(matches.iou) == (taken >= threshold).sum()
    assert matches.iou.sum() == pytest.approx(taken[taken >= threshold].sum())
    np.testing.assert_array_equal(matches.iou, iou[matches.true, matches.found])
    assert len(np.unique(matches.true)) == len(np.unique(matches.found))


def test_two_halves_of_an_object_match_it_once_at_one_half() -> None:
    true, found = np.array([[3, 3, 3, 3]]), np.array([[7, 7, 9, 9]])
    matches = match_objects(overlap_labels(true, found), 0.5)
    assert (matches.true.tolist(), matches.found.tolist()) == ([0], [0])


def test_average_precision_counts_matches_over_all_objects() -> None:
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3]])
    found = np.array([[1, 1, 1, 0, 0, 5, 5, 0, 0]])
    found[0, 7] = 6
    overlaps = overlap_labels(true, found)
    # Matches of IoU 3/4 and 1; one true object and one found object are left over.
    np.testing.assert_array_equal(average_precision(overlaps, (0.75, 0.8)), [0.5, 0.2])


def test_numbers_of_labels_do_not_matter() -> None:
    true, found = _two(1)
    shuffled = np.random.default_rng(0).permutation(10**9 // 2 + np.arange(500) * 7)
    other = np.where(found > 0, shuffled[found], 0)
    expected = average_precision(overlap_labels(true, found))
    np.testing.assert_array_equal(
        average_precision(overlap_labels(true, other)), expected
    )
    assert 0 < expected[0] < 1


def test_a_hundred_thousand_objects_need_linear_memory() -> None:
    true = np.arange(1, 100_001, dtype=np.int64).repeat(9).reshape(-1, 900)
    found = np.roll(true, 1, axis=1).astype(np.uint32)
    tracemalloc.start()
    overlaps = overlap_labels(true, found)
    matches = match_objects(overlaps, 0.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(overlaps.true_ids) == 100_000
    assert len(matches.true) == 100_000
    assert peak < 60 * true.nbytes


@pytest.mark.parametrize(
    ("true", "found", "precision", "error"),
    [(0, 0, 1.0, 0.0), (0, 1, 0.0, np.inf), (1, 0, 0.0, -1.0), (1, 1, 1.0, 0.0)],
)
def test_empty_images_have_the_stated_scores(
    true: int, found: int, precision: float, error: float
) -> None:
    images = [np.zeros((8, 9), np.int32) for _ in range(2)]
    images[0][2:5, 2:6], images[1][2:5, 2:6] = true, found
    overlaps = overlap_labels(*images)
    np.testing.assert_array_equal(average_precision(overlaps), np.full(5, precision))
    assert count_error(overlaps) == error
    assert panoptic_quality(overlaps) == (precision, precision, precision)
    assert boundary_f(*images) == precision


def test_missed_objects_make_the_count_error_negative() -> None:
    true, found = np.array([[1, 2, 3, 4]]), np.array([[1, 2, 3, 0]])
    assert count_error(overlap_labels(true, found)) == -0.25
    assert count_error(overlap_labels(found, true)) == pytest.approx(1 / 3)


def test_panoptic_quality_is_the_iou_of_matches_over_objects() -> None:
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3]])
    found = np.array([[1, 1, 1, 0, 0, 5, 5, 6, 0]])
    quality = panoptic_quality(overlap_labels(true, found))
    # Two matches of IoU 3/4 and 1, one false object, one missed object.
    assert quality.segmentation == pytest.approx(0.875)
    assert quality.recognition == pytest.approx(2 / 3)
    assert quality.panoptic == pytest.approx(1.75 / 3)


def test_ignored_pixels_count_for_no_object() -> None:
    true = np.array([[1, 1, 1, -1, -1, -1, -1, 0]])
    found = np.array([[4, 4, 4, 4, 0, 8, 8, 0]])
    overlaps = overlap_labels(true, found, ignore=-1)
    assert overlaps.found_ids.tolist() == [4]
    assert overlaps.iou.tolist() == [1.0]
    assert boundary_f(true, found, 0, ignore=-1) == 1.0


def test_the_edge_of_ignored_pixels_is_no_outline() -> None:
    true, found = np.zeros((2, 6, 8), np.int64)
    true[1:5, 1:4], found[1:5, 1:5] = 1, 1
    true[:, 5:] = -1
    # Of the ten pixels of the true outline two are not found, and none is wrong.
    assert boundary_f(true, found, 0, ignore=-1) == pytest.approx(2 * 0.8 / 1.8)


def test_a_found_object_mostly_in_ignored_pixels_is_left_out_whole() -> None:
    true = np.array([[-1, -1, -1, 0, 0, 0, 2, 2]])
    found = np.array([[6, 6, 6, 6, 0, 0, 2, 2]])
    assert overlap_labels(true, found, ignore=-1).found_ids.tolist() == [2]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1.5, 3.0])
def test_boundary_f_is_that_of_all_pairs_of_pixels(seed: int, tolerance: float) -> None:
    true, found = _two(seed)
    places = [_outline(labels) for labels in (true, found)]
    gaps = np.linalg.norm(places[0][:, None] - places[1][None], axis=2)
    recall = (gaps.min(1) <= tolerance).mean()
    precision = (gaps.min(0) <= tolerance).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f(true, found, tolerance) == pytest.approx(expected)


def _outline(labels: np.ndarray) -> np.ndarray:
    """Look at every face of every pixel."""
    places = []
    for place in np.argwhere(labels):
        for axis in range(labels.ndim):
            for step in (-1, 1):
                other = place.copy()
                other[axis] += step
                inside = 0 <= other[axis] < labels.shape[axis]
                if inside and labels[tuple(other)] != labels[tuple(place)]:
                    places.append(tuple(place))
    return np.array(sorted(set(places)))


def test_touching_objects_have_an_outline_between_them() -> None:
    two = np.ones((8, 8), np.int64)
    two[:, 4:] = 2
    assert boundary_f(two, np.ones_like(two)) == 0.0
    assert boundary_f(two, np.roll(two, 1, axis=1)) > 0.0


@pytest.mark.parametrize(
    ("true", "found", "said"),
    [
        (np.zeros((3, 3), int), np.zeros((3, 4), int), r"\(3, 4\)"),
        (np.zeros((3, 3), int), np.zeros((3, 3)), "float64"),
        (np.full((3, 3), -1), np.zeros((3, 3), int), "true labels hold -1"),
        (np.zeros((3, 3), int), np.full((3, 3), -2), "found labels hold -2"),
    ],
)
def test_what_is_no_pair_of_label_images_is_refused(
    true: np.ndarray, found: np.ndarray, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        overlap_labels(true, found)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.01, np.nan])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    labels = np.ones((2, 2), int)
    with pytest.raises(SettingsError, match="above 0, at most 1"):
        match_objects(overlap_labels(labels, labels), threshold)


def test_a_negative_tolerance_is_refused() -> None:
    labels = np.ones((2, 2), int)
    with pytest.raises(SettingsError, match="tolerance of 0 or more"):
        boundary_f(labels, labels, -1.0)
