"""Integer sums over labelled regions, which merge exactly.

Label images come in, one row of sums per label goes out. Two tables of the same columns
merge by adding the rows of equal labels, in any order and grouping. Nothing here knows
cells, nuclei or blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError

Integers = NDArray[np.int64]
Region = tuple[int, tuple[slice, slice]]
"""A label and its bounding box, rows and columns."""
DENSE_LABELS = 1 << 22
"""Below this labels are counted in a dense table; larger ones are sorted."""
LISTED_LABELS = 1 << 16
"""Below this scipy lists every label; larger ones are renumbered first."""
_LARGEST = 2**63 - 1
"""Largest label that tables can hold: they store int64."""


def check_label_values(labels: NDArray[Any], what: str) -> NDArray[Any]:
    """Return `labels`; FieldError if any is below 0 or more than a table can hold."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > _LARGEST:
        raise FieldError(
            f"{what} go from {low} to {high}; expected 0 for background and labels up "
            f"to {_LARGEST}. Number them again."
        )
    return labels


@dataclass(frozen=True)
class LabelSums:
    """Sums by label."""

    labels: Integers
    """(n,), ascending and unique."""
    sums: Integers
    """(n, k), one row of sums per label."""

    def __add__(self, other: LabelSums) -> LabelSums:
        """Merge two tables; the one without labels is the identity."""
        labels = np.union1d(self.labels, other.labels)
        sums = np.zeros((labels.size, self.sums.shape[1]), np.int64)
        for part in (self, other):
            sums[np.searchsorted(labels, part.labels)] += part.sums
        return LabelSums(labels, sums)


def no_labels(n_sums: int) -> LabelSums:
    """Return the table without labels, the identity of merging."""
    return LabelSums(np.zeros(0, np.int64), np.zeros((0, n_sums), np.int64))


def number_labels(values: NDArray[np.integer]) -> tuple[Integers, Integers]:
    """Return the unique labels, ascending, and each value's index among them."""
    flat = values.ravel()
    if _is_dense(flat):
        present = np.bincount(flat)
        labels = np.flatnonzero(present)
        place = np.cumsum(present > 0) - 1
        return labels, place[flat]
    labels, inverse = np.unique(flat, return_inverse=True)
    return labels.astype(np.int64), inverse.astype(np.int64)


def _is_dense(values: NDArray[np.integer], most: int = DENSE_LABELS) -> bool:
    """Return whether all values are from 0 to below `most`."""
    return bool(values.size) and int(values.min()) >= 0 and int(values.max()) < most


def find_regions(labels: NDArray[np.integer]) -> list[Region]:
    """Return each label but 0, ascending, with its bounding box."""
    from scipy import ndimage

    if _is_dense(labels, LISTED_LABELS):
        found = ndimage.find_objects(labels)
        return [(label, box) for label, box in enumerate(found, 1) if box is not None]
    keys, place = number_labels(labels)
    # Numbered from 1 in the order of labels; 0 is background.
    ranks = np.where(keys != 0, np.cumsum(keys != 0), 0).astype(np.int32)
    boxes = ndimage.find_objects(ranks[place].reshape(labels.shape))
    return [(int(key), box) for key, box in zip(keys[keys != 0], boxes, strict=True)]


def iter_regions(
    labels: NDArray[np.integer],
) -> Iterator[tuple[int, tuple[slice, slice], NDArray[np.bool_]]]:
    """Yield each label but 0, ascending, with its bounding box and its mask there."""
    for label, box in find_regions(labels):
        yield label, box, labels[box] == label


def count_along(mask: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Return how many pixels of a mask lie in each row and in each column."""
    import cv2

    bytes_ = mask.view(np.uint8)
    rows = cv2.reduce(bytes_, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    columns = cv2.reduce(bytes_, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
    return rows.ravel().astype(np.int64), columns.ravel().astype(np.int64)
