"""Distances of a cell's pixels from its nucleus and from its edge.

Label images of a window come in; whole numbers of 1/64 pixel go out, so that their sums
do not depend on the order. The distance is to the nearest pixel of the cell's nucleus,
or to the nearest pixel outside the cell; pixels beyond the window are neither.
Distances are limited to `REACH` pixels along the shorter side of a pixel: a window with
that margin around a pixel gives the same result as the whole field. Where pixels are
not square, distances are in square pixels of the same area. Nothing here knows blocks
or spots.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.regions import Region

REACH: Final = 512
"""Largest distance in pixels, more than the radius of nearly all cells."""
PARTS: Final = 64
"""Units of distance per pixel; `REACH` then fits in 16 bits."""

Distances = NDArray[np.uint16]
_EXACT_DIGITS: Final = 6
_OF_SQUARE: Final = np.rint(np.sqrt(np.arange(REACH**2 + 1)) * PARTS).astype(np.uint16)
"""Distance in units, by the squared distance in pixels."""


class CellDistances(NamedTuple):
    """Distances of a window's pixels in 1/64 pixel; 0 outside cells."""

    to_edge: Distances
    to_nucleus: Distances


def measure_distances(
    cells: NDArray[np.integer],
    nuclei: NDArray[np.integer] | None,
    regions: Iterable[Region],
    pixel: PixelShape = PixelShape(),
) -> CellDistances:
    """Return the distances of the pixels of the cells in `regions`; others are 0.

    Any label of `nuclei` inside a cell is that cell's nucleus. None: no nuclei;
    distances to them are the largest. Both label images are (y, x) of the window.
    """
    answer = CellDistances(*np.zeros((2, *cells.shape), np.uint16))
    for label, found in regions:
        # One pixel more to each side; numpy cuts a box at the window's far edges.
        box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in found)
        inside = cells[box] == label
        np.copyto(answer.to_edge[box], _distances_from(~inside, pixel), where=inside)
        nucleus = np.zeros_like(inside)
        if nuclei is not None:
            nucleus = inside & (nuclei[box] > 0)
        np.copyto(answer.to_nucleus[box], _distances_from(nucleus, pixel), where=inside)
    return answer


def _distances_from(target: NDArray[np.bool_], pixel: PixelShape) -> Distances:
    """Return the distance of each pixel from the nearest pixel of the target."""
    import cv2

    most = int(REACH * PARTS * min(pixel))
    if not target.any():
        return np.full(target.shape, most, np.uint16)
    if pixel != PixelShape():
        return _oblong_distances_from(target, pixel, most)
    outside = (~target).astype(np.uint8)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are integers: rounding removes the error of float32.
    squares = np.minimum(np.rint(distance * distance), REACH**2).astype(np.int32)
    return np.asarray(_OF_SQUARE[squares], np.uint16)


def _oblong_distances_from(
    target: NDArray[np.bool_], pixel: PixelShape, most: int
) -> Distances:
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~target, sampling=pixel)
    # Pixels that are equally far may differ in the last digits, by the window's origin.
    parts = np.rint(np.round(distance * PARTS, _EXACT_DIGITS))
    return np.asarray(np.minimum(parts, most), np.uint16)
