"""How well found objects match true ones: two label images in, scores out.

A label image holds 0 for the background and one whole number above 0 for each object;
it has any number of axes, and numbers need not follow each other. The overlap of two
label images is kept as the list of pairs that share a pixel, so memory grows with the
pixels and never with the square of the objects. A pair is a match where its
intersection over union (IoU) reaches a threshold; matches are one to one, as many as
there can be, and then those of the largest IoU.

An image without true and without found objects is right: its scores are 1 and its count
error is 0. Where only one side has objects the scores are 0. Nothing here knows how
objects are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.sparse import coo_array
from skimage.segmentation import find_boundaries

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.pairing import choose_pairs

Labels = NDArray[np.integer]
THRESHOLDS: Final = (0.5, 0.6, 0.7, 0.8, 0.9)
"""The IoUs at which objects are usually scored."""


@dataclass(frozen=True)
class Overlaps:
    """The objects of two label images, and the pairs that share a pixel."""

    true_ids: NDArray[np.int64]
    """(n,) labels of the true objects, ascending."""
    found_ids: NDArray[np.int64]
    """(m,) labels of the found objects, ascending."""
    true_sizes: NDArray[np.int64]
    """(n,) pixels of each true object."""
    found_sizes: NDArray[np.int64]
    """(m,) pixels of each found object."""
    i: NDArray[np.int64]
    """(k,) places in `true_ids`, of the pairs."""
    j: NDArray[np.int64]
    """(k,) places in `found_ids`; pairs are ordered by i, then j."""
    shared: NDArray[np.int64]
    """(k,) pixels that both objects of a pair hold, at least 1."""

    @property
    def iou(self) -> NDArray[np.float64]:
        """(k,) intersection over union of each pair, above 0, at most 1."""
        union = self.true_sizes[self.i] + self.found_sizes[self.j] - self.shared
        return np.asarray(self.shared / union, np.float64)

    @property
    def matrix(self) -> coo_array:
        """IoU as a sparse (n, m) matrix; pairs without a shared pixel are 0."""
        shape = (len(self.true_ids), len(self.found_ids))
        return coo_array((self.iou, (self.i, self.j)), shape=shape)


class Matches(NamedTuple):
    """Matched objects, one to one."""

    true: NDArray[np.int64]
    """(k,) places in `Overlaps.true_ids`, ascending."""
    found: NDArray[np.int64]
    """(k,) places in `Overlaps.found_ids`."""
    iou: NDArray[np.float64]
    """(k,) intersection over union."""


class PanopticQuality(NamedTuple):
    """PQ and its two factors; Kirillov et al. 2019, doi:10.1109/CVPR.2019.00963."""

    panoptic: float
    """Sum of the matches' IoU over TP + FP / 2 + FN / 2."""
    segmentation: float
    """Mean IoU of the matches; 0 without a match."""
    recognition: float
    """F1 of the objects: TP over TP + FP / 2 + FN / 2."""


def overlap_labels(
    true: Labels, found: Labels, *, ignore: int | None = None
) -> Overlaps:
    """Return the objects of both images and the pairs that share a pixel.

    Parameters
    ----------
    true, found
        Label images of one shape, with any number of axes; whole numbers, 0 is the
        background.
    ignore
        A value of `true` (often -1) where it is not known what there is. These pixels
        count for no object, and found objects with more than half of their pixels
        there are left out.

    Raises
    ------
    SettingsError
        The shapes differ, values are not whole numbers, or one is below 0.

    Examples
    --------
    >>> true, found = np.array([[1, 1, 0, 2]]), np.array([[5, 5, 5, 0]])
    >>> overlap_labels(true, found).iou.round(2).tolist()
    [0.67]
    """
    true, found = _without_ignored(*_checked(true, found), ignore)
    some = (true != 0) | (found != 0)
    one, other = true[some], found[some]
    true_ids, i, true_sizes = _identify(one)
    found_ids, j, found_sizes = _identify(other)
    both = (i >= 0) & (j >= 0)
    width = max(len(found_ids), 1)
    pairs, shared = np.unique(i[both] * width + j[both], return_counts=True)
    return Overlaps(
        true_ids, found_ids, true_sizes, found_sizes, *np.divmod(pairs, width), shared
    )


def match_objects(overlaps: Overlaps, threshold: float = 0.5) -> Matches:
    """Return as many one-to-one matches as there can be, of the largest summed IoU.

    A pair may match where its IoU is `threshold` or more; `threshold` is above 0 and at
    most 1. From above 0.5 on no object has two candidates. Two candidates that lie
    equally well are decided by the order of their labels.
    """
    if not 0 < threshold <= 1:
        raise SettingsError(
            f"expected a threshold of IoU above 0, at most 1, got {threshold}"
        )
    iou = overlaps.iou
    enough = iou >= threshold
    fields = [("i", np.intp), ("j", np.intp), ("v", np.float64)]
    near = np.empty(int(enough.sum()), fields)
    near["i"], near["j"] = overlaps.i[enough], overlaps.j[enough]
    near["v"] = 1.0 - iou[enough]
    pairs = choose_pairs(near)
    width = max(len(overlaps.found_ids), 1)
    listed = overlaps.i * width + overlaps.j
    place = np.searchsorted(listed, pairs[:, 0] * width + pairs[:, 1])
    return Matches(pairs[:, 0], pairs[:, 1], iou[place])


def average_precision(
    overlaps: Overlaps, thresholds: Sequence[float] = THRESHOLDS
) -> NDArray[np.float64]:
    """Return TP / (TP + FP + FN) at each threshold of IoU, 0 to 1.

    This is the score of the 2018 Data Science Bowl and of StarDist, there also called
    accuracy; it is not the area under a precision-recall curve. Caicedo et al. 2019,
    doi:10.1038/s41592-019-0612-7. Without any object it is 1.

    Examples
    --------
    >>> true, found = np.array([[1, 1, 0, 2]]), np.array([[5, 5, 5, 0]])
    >>> average_precision(overlap_labels(true, found), (0.5, 0.7)).tolist()
    [0.5, 0.0]
    """
    n, m = len(overlaps.true_ids), len(overlaps.found_ids)
    if n == m == 0:
        return np.ones(len(thresholds))
    matched = [len(match_objects(overlaps, each).true) for each in thresholds]
    return np.array([k / (n + m - k) for k in matched], np.float64)


def count_error(overlaps: Overlaps) -> float:
    """Return (found - true) / true objects: below 0 where objects are missed.

    It is 0 where neither image has an object, and infinite where only the found one
    has.
    """
    n, m = len(overlaps.true_ids), len(overlaps.found_ids)
    if n == 0:
        return 0.0 if m == 0 else float("inf")
    return (m - n) / n


def panoptic_quality(overlaps: Overlaps, threshold: float = 0.5) -> PanopticQuality:
    """Return the panoptic quality of one class of objects at a threshold of IoU.

    A match here needs an IoU of `threshold` or more; the paper asks for more than 0.5.
    """
    n, m = len(overlaps.true_ids), len(overlaps.found_ids)
    if n == m == 0:
        return PanopticQuality(1.0, 1.0, 1.0)
    iou = match_objects(overlaps, threshold).iou
    mean = float(iou.mean()) if len(iou) else 0.0
    recognition = 2 * len(iou) / (n + m)
    return PanopticQuality(mean * recognition, mean, recognition)


def boundary_f(
    true: Labels, found: Labels, tolerance: float = 2.0, *, ignore: int | None = None
) -> float:
    """Return how well outlines agree: the F-measure of boundary pixels, 0 to 1.

    A boundary pixel belongs to an object and has a neighbour across a face with another
    value; the image's edge makes no boundary. Precision is the share of the found
    boundary pixels with a true one at most `tolerance` pixels away (Euclidean), recall
    the same the other way round, and F their harmonic mean. Csurka et al. 2013,
    doi:10.5244/C.27.32. Parameters and errors are as in `overlap_labels`; where
    neither image has a boundary the score is 1.
    """
    if not 0 <= tolerance < np.inf:
        raise SettingsError(f"expected a tolerance of 0 or more, got {tolerance}")
    true, found = _checked(true, found)
    unknown = np.zeros(true.shape, bool) if ignore is None else true == ignore
    outlines = []
    for labels in _without_ignored(true, found, ignore):
        outline = find_boundaries(labels, 1, "inner")
        # The edge of what is not known is no outline of an object.
        outlines.append(outline & ~binary_dilation(unknown))
    one, other = outlines
    if not one.any() and not other.any():
        return 1.0
    recall = _share_near(one, other, tolerance)
    precision = _share_near(other, one, tolerance)
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _share_near(
    outline: NDArray[np.bool_], other: NDArray[np.bool_], tolerance: float
) -> float:
    """Return the share of the pixels of one outline with the other one near."""
    if not outline.any() or not other.any():
        return 0.0
    distance = distance_transform_edt(~other)
    return float((distance[outline] <= tolerance).mean())


def _checked(true: Labels, found: Labels) -> tuple[Labels, Labels]:
    one, other = np.asarray(true), np.asarray(found)
    kinds = {one.dtype.kind, other.dtype.kind}
    if one.shape != other.shape or not kinds <= set("iu"):
        raise SettingsError(
            "expected two label images of whole numbers and one shape, got "
            f"{one.dtype} {one.shape} and {other.dtype} {other.shape}"
        )
    return one, other


def _without_ignored(
    true: Labels, found: Labels, ignore: int | None
) -> tuple[Labels, Labels]:
    """Return both with the background where the truth is not known."""
    if ignore is not None:
        unknown = true == ignore
        ids, place, sizes = _identify(found.ravel())
        hidden = np.bincount(place[unknown.ravel() & (place >= 0)], minlength=len(ids))
        gone = unknown | np.isin(found, ids[2 * hidden > sizes])
        true, found = np.where(unknown, 0, true), np.where(gone, 0, found)
    for name, labels in (("true", true), ("found", found)):
        if labels.size and int(labels.min()) < 0:
            raise SettingsError(
                f"{name} labels hold {int(labels.min())}; expected 0 for the "
                "background and objects above it"
            )
    return true, found


def _identify(
    values: NDArray[Any],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels of a line of pixels, each pixel's place among them, sizes.

    The place of the background is -1.
    """
    ids, place, sizes = np.unique(values, return_inverse=True, return_counts=True)
    at = int(np.searchsorted(ids, 0))
    if at < len(ids) and ids[at] == 0:
        ids, sizes = np.delete(ids, at), np.delete(sizes, at)
        place = np.where(place == at, -1, place - (place > at))
    return ids.astype(np.int64), place.astype(np.int64), sizes.astype(np.int64)
