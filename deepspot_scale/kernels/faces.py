"""Faces of the voxels of labelled regions, by label.

Labels of voxels and of the next voxels along one axis come in; how many faces each
label has there goes out, in sums that merge exactly. Nothing here knows cells, sizes
or blocks.

    labels    0 5 5 7 7 0        faces of 5: two, one of them with another label
              |   |   |          faces of 7: two, one of them with another label
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.regions import LabelSums, number_labels


def count_faces(one: NDArray[Any], other: NDArray[Any]) -> LabelSums:
    """Return two counts for each label: faces, and of these those with other labels.

    `one` and `other` are labels of one shape, each voxel and its next along an axis. A
    face lies between two voxels of different labels and counts for both; 0 is
    background and has no row.

    Examples
    --------
    >>> row = np.array([0, 5, 5, 7, 7, 0])
    >>> found = count_faces(row[:-1], row[1:])
    >>> found.labels, found.sums.tolist()
    (array([5, 7]), [[2, 1], [2, 1]])
    """
    at = np.nonzero(one != other)
    pair = np.stack([one[at], other[at]]).astype(np.int64)
    labels, place = number_labels(pair)
    contact = np.tile(np.all(pair > 0, axis=0), 2)
    n = labels.size
    faces = np.bincount(place, minlength=n)
    shared = np.bincount(place[contact], minlength=n)
    sums = np.stack([faces, shared], axis=1).astype(np.int64)
    return LabelSums(labels[labels > 0], sums[labels > 0])
