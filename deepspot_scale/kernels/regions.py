"""Sums over labelled regions that merge exactly: whole numbers keyed by label.

Label images come in, one row of sums for each label goes out. Two tables of the same
columns merge by adding the rows of equal labels, in any order and grouping. Nothing
here knows cells, nuclei or blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
DENSE_LABELS = 1 << 22
"""Labels up to this are counted in a table of all labels, larger ones are sorted."""


@dataclass(frozen=True)
class LabelSums:
    """Sums by label."""

    labels: Integers
    """(n,) labels, ascending, none twice."""
    sums: Integers
    """(n, k) one row of sums for each label."""

    def __add__(self, other: LabelSums) -> LabelSums:
        """Merge; the identity has no labels."""
        labels = np.union1d(self.labels, other.labels)
        sums = np.zeros((labels.size, self.sums.shape[1]), np.int64)
        for part in (self, other):
            sums[np.searchsorted(labels, part.labels)] += part.sums
        return LabelSums(labels, sums)


def no_labels(n_sums: int) -> LabelSums:
    """Return the identity of merging."""
    return LabelSums(np.zeros(0, np.int64), np.zeros((0, n_sums), np.int64))


def number_labels(values: NDArray[np.integer]) -> tuple[Integers, Integers]:
    """Return the labels that occur, ascending, and each value's place among them."""
    flat = values.ravel()
    if flat.size and int(flat.min()) >= 0 and int(flat.max()) < DENSE_LABELS:
        present = np.bincount(flat)
        labels = np.flatnonzero(present)
        place = np.cumsum(present > 0) - 1
        return labels, place[flat]
    labels, inverse = np.unique(flat, return_inverse=True)
    return labels.astype(np.int64), inverse.astype(np.int64)


def sum_by_label(labels: NDArray[np.integer], columns: list[Integers]) -> LabelSums:
    """Sum whole-number columns by label.

    Parameters
    ----------
    labels
        (n,) labels.
    columns
        k arrays of n whole numbers; their sums stay below 2^53.
    """
    if labels.size == 0:
        return no_labels(len(columns))
    keys, place = number_labels(labels)
    sums = [np.bincount(place, column, keys.size) for column in columns]
    return LabelSums(keys, np.stack(sums, axis=1).astype(np.int64))
