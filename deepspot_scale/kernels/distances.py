"""How far each pixel of a cell is from its nucleus and from its edge: labels in.

Label images of a window come in, whole numbers of 1/64 pixel go out, so that sums of
them do not depend on their order. A distance is that to the nearest pixel of the own
nucleus, or to the nearest pixel that is not of the cell; what lies beyond the window
is neither. Distances are cut at `REACH`, so a window that reaches as far around a
pixel gives the pixel's answer for the whole field. Nothing here knows blocks or spots.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.regions import Region

REACH: Final = 512
"""Largest distance in pixels, beyond the radius of nearly all cells."""
PARTS: Final = 64
"""Parts of a pixel that distances are counted in; `REACH` then fits in 16 bits."""

Distances = NDArray[np.uint16]
_OF_SQUARE: Final = np.rint(np.sqrt(np.arange(REACH**2 + 1)) * PARTS).astype(np.uint16)
"""Distance of each whole square."""


class CellDistances(NamedTuple):
    """Distances of a window's pixels in 1/64 pixel; 0 outside cells."""

    to_edge: Distances
    to_nucleus: Distances


def measure_distances(
    cells: NDArray[np.integer],
    nuclei: NDArray[np.integer] | None,
    regions: Iterable[Region],
) -> CellDistances:
    """Return the distances of the pixels of some cells.

    Parameters
    ----------
    cells, nuclei
        Label images (y, x) of the window; any label of `nuclei` inside a cell is that
        cell's nucleus. None: no nuclei, all distances from one are `REACH`.
    regions
        Cells to measure, as `find_regions` gives them; the others stay 0.
    """
    answer = CellDistances(
        np.zeros(cells.shape, np.uint16), np.zeros(cells.shape, np.uint16)
    )
    for label, found in regions:
        box = _grown(found, cells.shape)
        inside = cells[box] == label
        np.copyto(answer.to_edge[box], _distances_from(~inside), where=inside)
        nucleus = np.zeros_like(inside)
        if nuclei is not None:
            nucleus = inside & (nuclei[box] > 0)
        np.copyto(answer.to_nucleus[box], _distances_from(nucleus), where=inside)
    return answer


def _grown(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Return the box with one pixel more on each side, cut to the window."""
    return tuple(
        slice(max(side.start - 1, 0), min(side.stop + 1, length))
        for side, length in zip(box, shape, strict=True)
    )


def _distances_from(target: NDArray[np.bool_]) -> Distances:
    """Return the distance of each pixel from the nearest one of the target."""
    import cv2

    if not target.any():
        return np.full(target.shape, REACH * PARTS, np.uint16)
    distance = cv2.distanceTransform(
        (~target).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    # Squares are whole: rounding them frees the answer from single precision.
    squares = np.minimum(np.rint(distance * distance), REACH**2).astype(np.int32)
    return np.asarray(_OF_SQUARE[squares], np.uint16)
