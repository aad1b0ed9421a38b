"""Molecules in a fine map: its local maxima, refined between the pixels.

A map that is high at molecules comes in; positions and heights go out, in fine pixels
and in camera pixels. What is a maximum depends only on the pixels within `reach`, so
blocks give the same ones as whole maps. Nothing here knows networks or frames.

Source of the quadratic: Haralick, https://doi.org/10.1109/TPAMI.1984.4767475 (least
squares over 3x3 pixels).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_FLAT: Final = 1e-12
"""Curvature, over the height, below which a quadratic has no summit."""


def reach(radius: int) -> int:
    """Return how many fine pixels around one decide whether it is a maximum."""
    return max(radius, 1)


def neighbours(radius: int) -> list[tuple[int, int]]:
    """Return the steps to the pixels within `radius`, nearest first.

    Those leave few pixels to be compared with the others.
    """
    steps = range(-radius, radius + 1)
    around = sorted(product(steps, steps), key=lambda at: at[0] ** 2 + at[1] ** 2)
    return around[1:]


def local_maxima(
    heat: NDArray[Any], threshold: float, radius: int = 1
) -> NDArray[np.intp]:
    """Return the maxima above `threshold`, (n, 2), rows and columns in their order.

    A maximum has no higher pixel within `radius` rows and columns, and no equal one
    that comes before it, row by row; so of two equal neighbours the first counts,
    wherever a block begins. NaN is no maximum.
    """
    framed = np.pad(heat, radius, constant_values=-np.inf)
    place = maxima_among(
        framed.ravel(), np.flatnonzero(framed > threshold), framed.shape[1], radius
    )
    rows, columns = np.divmod(place, framed.shape[1])
    return np.stack([rows - radius, columns - radius], axis=1)


def maxima_among(
    flat: NDArray[Any], place: NDArray[np.intp], width: int, radius: int
) -> NDArray[np.intp]:
    """Return those of some places of a map that are maxima, see `local_maxima`.

    The map is flat, `width` pixels a row, and the places lie `radius` pixels or more
    from its border, in their order.
    """
    height = flat[place]
    for dy, dx in neighbours(radius):
        other = flat[place + dy * width + dx]
        keep = height > other if (dy, dx) < (0, 0) else height >= other
        place, height = place[keep], height[keep]
    return place


def _quadratic(around: Floats) -> Floats:
    """Return the summit of the quadratic nearest to 3x3 values (n, 3, 3): (n, 2)."""
    low, middle, high = (around[:, row].sum(axis=1) for row in range(3))
    left, centre, right = (around[:, :, column].sum(axis=1) for column in range(3))
    dy, dx = (high - low) / 6, (right - left) / 6
    dyy, dxx = (high - 2 * middle + low) / 3, (right - 2 * centre + left) / 3
    dxy = (around[:, 2, 2] - around[:, 2, 0] - around[:, 0, 2] + around[:, 0, 0]) / 4
    determinant = dyy * dxx - dxy**2
    steep = np.maximum(np.abs(around).max(axis=(1, 2)), 1e-300)
    summit = (determinant > (_FLAT * steep) ** 2) & (dyy < 0)
    safe = np.where(summit, determinant, 1.0)
    shift = np.stack([dxy * dx - dxx * dy, dxy * dy - dyy * dx], axis=1)
    shift = shift / safe[:, None]
    return np.where(summit[:, None], np.clip(shift, -1, 1), 0.0)


def _centroid(around: Floats) -> Floats:
    """Return the centre of mass of 3x3 values (n, 3, 3), those below 0 as 0: (n, 2)."""
    mass = np.maximum(around, 0)
    total = np.maximum(mass.sum(axis=(1, 2)), 1e-300)
    dy = mass[:, 2].sum(axis=1) - mass[:, 0].sum(axis=1)
    dx = mass[:, :, 2].sum(axis=1) - mass[:, :, 0].sum(axis=1)
    return np.stack([dy / total, dx / total], axis=1)


_REFINEMENTS: Final[dict[str, Callable[[Floats], Floats]]] = {
    "quadratic": _quadratic,
    "centroid": _centroid,
}


class Maxima(NamedTuple):
    """Maxima of a map: whole pixels apart from fractions, so that sums are exact."""

    pixels: NDArray[np.intp]
    """(n, 2) row and column of the highest pixel, in their order."""
    shifts: Floats
    """(n, 2) from its centre to the summit, at most one pixel."""
    heights: Floats
    """(n,) of the highest pixel."""


def refine_maxima(
    heat: NDArray[Any],
    threshold: float,
    *,
    radius: int = 1,
    refine: Literal["quadratic", "centroid"] = "quadratic",
) -> Maxima:
    """Return the maxima of a map (fine y, fine x) above `threshold`.

    At the border of the map, values are repeated.
    """
    return refine_pixels(heat, local_maxima(heat, threshold, radius), refine)


def refine_pixels(
    heat: NDArray[Any],
    pixels: NDArray[np.intp],
    refine: Literal["quadratic", "centroid"] = "quadratic",
) -> Maxima:
    """Return given pixels (n, 2) of a map as maxima, with their fractions.

    At the border of the map, values are repeated.
    """
    steps = np.arange(-1, 2)
    rows, columns = (
        np.clip(pixels[:, axis, None] + steps, 0, heat.shape[axis] - 1)
        for axis in range(2)
    )
    around = heat[rows[:, :, None], columns[:, None, :]].astype(np.float64)
    return Maxima(pixels, _REFINEMENTS[refine](around), around[:, 1, 1])


def find_molecules(
    heat: NDArray[Any],
    threshold: float,
    *,
    radius: int = 1,
    refine: Literal["quadratic", "centroid"] = "quadratic",
) -> Floats:
    """Return the molecules of a map (fine y, fine x): (n, 3), row, column, height.

    Rows and columns are fine pixels with fractions, see `refine_maxima`.
    """
    found = refine_maxima(heat, threshold, radius=radius, refine=refine)
    return np.column_stack([found.pixels + found.shifts, found.heights])


def to_camera_pixels(fine: Floats, scale: int) -> Floats:
    """Return fine coordinates (n, 2) in camera pixels: (i + 0.5) / scale - 0.5."""
    return np.asarray((np.asarray(fine, np.float64) + 0.5) / scale - 0.5)
