"""Distances of a cell's pixels from its nucleus and from its edge.

Masks of one cell come in; whole numbers of 1/64 pixel go out, so that their sums do not
depend on the order. The distance is to the nearest pixel of the cell's nucleus,
or to the nearest pixel outside the cell; pixels beyond the box are neither.
Distances are limited to `REACH` times the shortest side of a pixel or voxel: a window
with that margin around a pixel gives the same result as the whole field. Where pixels
are not square, distances are in square pixels of the same area; in a stack they go
through all planes, of which the height of a voxel tells how far they are apart. Nothing
here knows blocks or spots.

    in a stack    nearest in each plane (y, x), squared
                  + (planes apart x height) squared, the least over all planes
"""

from __future__ import annotations

from functools import partial
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
_SLAB_VOXELS: Final = 1 << 18
"""Voxels that are looked at together along z: they stay in the processor's cache."""
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
    height: float = 1.0,
) -> CellDistances:
    """Return the distances in one cell, flat or in a stack.

    Parameters
    ----------
    inside
        (y, x) or (z, y, x), the cell's pixels, with a margin of one pixel that does not
        belong to it, except where the window of known labels ends.
    nucleus
        The pixels of its nucleus; None: no nucleus.
    pixel
        Shape of a pixel.
    height
        Of a stack: the distance of its planes, in sides of a square of a pixel's area.
    """
    if inside.ndim == 3:
        most = int(REACH * PARTS * min(*pixel, height))
        measure = partial(_distances_in_stack, pixel=pixel, height=height, most=most)
    else:
        most = int(REACH * PARTS * min(pixel))
        measure = partial(_distances_in, pixel=pixel, most=most)
    to_edge = measure(inside)
    if nucleus is None or not nucleus.any():
        return CellDistances(to_edge, np.full(inside.shape, most, np.uint16))
    return CellDistances(to_edge, measure(~nucleus))


def _distances_in(free: NDArray[np.bool_], pixel: PixelShape, most: int) -> Distances:
    """Return the distance of each free pixel from the nearest that is not; else 0."""
    if free.all():
        return np.full(free.shape, most, np.uint16)
    if pixel != PixelShape():
        return _oblong_distances_in(free, pixel, most)
    square = _squares_in(free)
    np.minimum(square, REACH**2, out=square)
    return np.asarray(_OF_SQUARE[square.astype(np.int32)], np.uint16)


def _squares_in(free: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the squared distances of square pixels, which are whole numbers."""
    import cv2

    bytes_ = np.ascontiguousarray(free).view(np.uint8)
    square = cv2.distanceTransform(bytes_, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Rounding removes the error of float32.
    np.multiply(square, square, out=square)
    return np.asarray(np.rint(square, out=square), np.float32)


def _oblong_distances_in(
    free: NDArray[np.bool_], pixel: PixelShape, most: int
) -> Distances:
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(free, sampling=pixel)
    # Pixels that are equally far may differ in the last digits, by the window's origin.
    parts = np.rint(np.round(distance * PARTS, _EXACT_DIGITS))
    return np.asarray(np.minimum(parts, most), np.uint16)


def _distances_in_stack(
    free: NDArray[np.bool_], pixel: PixelShape, height: float, most: int
) -> Distances:
    squares = _squares_by_plane(free, pixel)
    answer = np.empty(free.shape, np.uint16)
    rows = max(1, _SLAB_VOXELS // max(free[:, :1].size, 1))
    for first in range(0, free.shape[1], rows):
        slab = slice(first, first + rows)
        nearest = _nearest_along_z(squares[:, slab], height, (most / PARTS) ** 2)
        # As of oblong pixels: equally far may differ in the last digits.
        parts = np.rint(np.round(np.sqrt(nearest) * PARTS, _EXACT_DIGITS))
        answer[:, slab] = np.minimum(parts, most)
    return answer


def _squares_by_plane(
    free: NDArray[np.bool_], pixel: PixelShape
) -> NDArray[np.floating]:
    """Return squared distances within each plane; infinite in one that is all free."""
    from scipy import ndimage

    square = pixel == PixelShape()
    squares = np.full(free.shape, np.inf, np.float32 if square else np.float64)
    for own, plane in zip(squares, free, strict=True):
        if plane.all():
            continue
        if square:
            own[:] = _squares_in(plane)
        else:
            own[:] = ndimage.distance_transform_edt(plane, sampling=pixel) ** 2
    return squares


def _nearest_along_z(
    squares: NDArray[np.floating], height: float, most: float
) -> NDArray[np.float64]:
    """Return the least squared distance over all planes; at least `most` is cut off."""
    within = squares.astype(np.float64)
    nearest = within.copy()
    for apart in range(1, len(within)):
        further = (apart * height) ** 2
        if further >= min(float(nearest.max()), most):
            break  # no plane as far as this is nearer than what is found
        np.minimum(nearest[apart:], within[:-apart] + further, out=nearest[apart:])
        np.minimum(nearest[:-apart], within[apart:] + further, out=nearest[:-apart])
    return nearest
