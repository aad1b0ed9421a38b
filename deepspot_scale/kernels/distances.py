"""Distances of a cell's pixels from its nucleus and from its edge.

Masks of one cell come in; whole numbers of 1/64 pixel go out, so that their sums do not
depend on the order. The distance is to the nearest pixel of the cell's nucleus,
or to the nearest pixel outside the cell; pixels beyond the box are neither.
Distances are limited to `REACH` pixels along the shorter side of a pixel: a window with
that margin around a pixel gives the same result as the whole field. Where pixels are
not square, distances are in square pixels of the same area. Nothing here knows blocks
or spots.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.pixel_shape import PixelShape

REACH: Final = 512
"""Largest distance in pixels, more than the radius of nearly all cells."""
PARTS: Final = 64
"""Units of distance per pixel; `REACH` then fits in 16 bits."""

Distances = NDArray[np.uint16]
_EXACT_DIGITS: Final = 6
_OF_SQUARE: Final = np.rint(np.sqrt(np.arange(REACH**2 + 1)) * PARTS).astype(np.uint16)
"""Distance in units, by the squared distance in pixels."""


class CellDistances(NamedTuple):
    """Distances of the pixels of a cell's box, in 1/64 pixel."""

    to_edge: Distances
    """0 outside the cell."""
    to_nucleus: Distances
    """Known inside the cell; the largest distance if it has no nucleus."""


def measure_distances(
    inside: NDArray[np.bool_],
    nucleus: NDArray[np.bool_] | None,
    pixel: PixelShape = PixelShape(),
) -> CellDistances:
    """Return the distances in one cell.

    Parameters
    ----------
    inside
        (y, x), the cell's pixels, with a margin of one pixel that does not belong to
        it, except where the window of known labels ends.
    nucleus
        The pixels of its nucleus; None: no nucleus.
    pixel
        Shape of a pixel.
    """
    most = int(REACH * PARTS * min(pixel))
    to_edge = _distances_in(inside, pixel, most)
    if nucleus is None or not nucleus.any():
        return CellDistances(to_edge, np.full(inside.shape, most, np.uint16))
    return CellDistances(to_edge, _distances_in(~nucleus, pixel, most))


def _distances_in(free: NDArray[np.bool_], pixel: PixelShape, most: int) -> Distances:
    """Return the distance of each free pixel from the nearest that is not; else 0."""
    import cv2

    if free.all():
        return np.full(free.shape, most, np.uint16)
    if pixel != PixelShape():
        return _oblong_distances_in(free, pixel, most)
    bytes_ = np.ascontiguousarray(free).view(np.uint8)
    square = cv2.distanceTransform(bytes_, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Squared distances are integers: rounding removes the error of float32.
    np.multiply(square, square, out=square)
    np.rint(square, out=square)
    np.minimum(square, REACH**2, out=square)
    return np.asarray(_OF_SQUARE[square.astype(np.int32)], np.uint16)


def _oblong_distances_in(
    free: NDArray[np.bool_], pixel: PixelShape, most: int
) -> Distances:
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(free, sampling=pixel)
    # Pixels that are equally far may differ in the last digits, by the window's origin.
    parts = np.rint(np.round(distance * PARTS, _EXACT_DIGITS))
    return np.asarray(np.minimum(parts, most), np.uint16)
