"""Integer sums over labelled regions, which merge exactly.

Label images come in, one row of sums per label goes out. Two tables of the same columns
merge by adding the rows of equal labels, in any order and grouping. Nothing here knows
cells, nuclei or blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError

Integers = NDArray[np.int64]
Region = tuple[int, tuple[slice, ...]]
"""A label and its bounding box: rows and columns, in a stack planes before them."""
DENSE_LABELS = 1 << 22
"""Below this labels are counted in a dense table; larger ones are sorted."""
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


def _is_dense(values: NDArray[np.integer]) -> bool:
    """Return whether all values are from 0 to below `DENSE_LABELS`."""
    if not values.size:
        return False
    return int(values.min()) >= 0 and int(values.max()) < DENSE_LABELS


class Runs(NamedTuple):
    """The pixels of labelled regions as runs along the rows of an image.

    Runs are grouped by label, and in the order of their pixels within one.
    """

    labels: Integers
    """(k,), ascending, without 0."""
    first: Integers
    """(k + 1,), index of each label's first run; the last is the number of runs."""
    row: Integers
    """(n,)"""
    start: Integers
    """(n,), first column."""
    stop: Integers
    """(n,), one more than the last column."""

    def sums(self, values: Sequence[Integers]) -> Integers:
        """Return the (k, m) sums by label of m numbers of each run, exact in int64."""
        if not self.labels.size:
            return np.zeros((0, len(values)), np.int64)
        columns = [np.add.reduceat(each, self.first[:-1]) for each in values]
        return np.stack(columns, axis=1)

    def regions(self) -> list[Region]:
        """Return each label with its bounding box."""
        if not self.labels.size:
            return []
        first, last = self.first[:-1], self.first[1:] - 1
        top, bottom = self.row[first], self.row[last] + 1
        left = np.minimum.reduceat(self.start, first)
        right = np.maximum.reduceat(self.stop, first)
        ends = (each.tolist() for each in (self.labels, top, bottom, left, right))
        return [
            (label, (slice(y0, y1), slice(x0, x1)))
            for label, y0, y1, x0, x1 in zip(*ends, strict=True)
        ]

    def pixels(self, place: int) -> tuple[Integers, Integers]:
        """Return rows and columns of the pixels of label number `place`, in order."""
        own = slice(self.first[place], self.first[place + 1])
        start, lengths = self.start[own], self.stop[own] - self.start[own]
        ends = np.cumsum(lengths)
        before = start - (ends - lengths)
        columns = np.arange(ends[-1]) + np.repeat(before, lengths)
        return np.repeat(self.row[own], lengths), columns


def find_runs(labels: NDArray[np.integer]) -> Runs:
    """Return the runs of all labels but 0 of a (y, x) image."""
    width = labels.shape[1]
    flat = np.ascontiguousarray(labels).ravel()
    begins = np.empty(flat.shape, bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    begins[:: max(width, 1)] = True
    begin = np.flatnonzero(begins)
    length = np.diff(begin, append=flat.size)
    values = flat[begin]
    begin, length, values = (each[values != 0] for each in (begin, length, values))
    order = np.argsort(values, kind="stable")
    begin, length, values = begin[order], length[order], values[order]
    first = np.flatnonzero(np.diff(values, prepend=0) != 0)
    row, start = np.divmod(begin, max(width, 1))
    own = values[first].astype(np.int64)
    return Runs(own, np.append(first, values.size), row, start, start + length)


def find_boxes(stack: NDArray[np.integer]) -> list[Region]:
    """Return the bounding boxes of all labels but 0 of a (z, y, x) stack, ascending."""
    ends: dict[int, list[tuple[int, int]]] = {}
    for z, plane in enumerate(stack):
        for label, box in find_runs(plane).regions():
            here = [(z, z + 1), *((side.start, side.stop) for side in box)]
            known = ends.setdefault(label, here)
            ends[label] = [
                (min(one[0], other[0]), max(one[1], other[1]))
                for one, other in zip(known, here, strict=True)
            ]
    return [
        (label, tuple(slice(*side) for side in sides))
        for label, sides in sorted(ends.items())
    ]
