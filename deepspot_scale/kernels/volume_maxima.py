"""Molecules in a fine volume: its local maxima, placed by the centroid around them.

Heights (z, y, x) come in; places in voxels and heights go out. Only the voxels within
`radius` of a maximum decide on it and on its place, so blocks that overlap by `radius`
fine pixels give what the whole gives, also where voxels are equal. Nothing here knows
networks or micrometres.

Source: Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class VolumeMaxima(NamedTuple):
    """Maxima of a volume: whole voxels apart from fractions, so that sums are exact."""

    voxels: NDArray[np.intp]
    """(n, 3) z, y and x of the highest voxel."""
    shifts: Floats
    """(n, 3) from its centre to the centroid."""
    heights: Floats
    """(n,) of the highest voxel."""


def volume_maxima(
    volume: NDArray[Any], threshold: float, radius: int | tuple[int, int] = 4
) -> Floats:
    """Return the maxima, (n, 4): z, y, x in voxels, and height; see `find_maxima`."""
    found = find_maxima(volume, threshold, radius)
    return np.column_stack([found.voxels + found.shifts, found.heights])


def find_maxima(
    volume: NDArray[Any], threshold: float, radius: int | tuple[int, int] = 4
) -> VolumeMaxima:
    """Return the maxima above `threshold`.

    A maximum has no higher voxel within `radius`, and no equal one that comes before it
    in the order of z, y, x. Of several in one column along z only the highest counts,
    the first of equal ones: a molecule shines at one depth.

    Parameters
    ----------
    volume
        (z, y, x), 0 where there is nothing; voxels below 0 have no weight. NaN is no
        maximum and has no weight.
    threshold
        Least height of a maximum, not itself enough.
    radius
        Of the window, in voxels; or (along z, along y and x).

    Returns
    -------
    VolumeMaxima
        In the order of the maxima's columns, y then x. The centre of the first voxel is
        (0, 0, 0). A place is the centroid of the heights in the window; beyond the
        volume is nothing. On a grid of `r` fine pixels for one of the camera, y is
        (y + 0.5) / r - 0.5 camera pixels, and so is x.
    """
    deep, flat = radius if isinstance(radius, tuple) else (radius, radius)
    radii = (deep, flat, flat)
    places = _local_maxima(volume, threshold, radii)
    heights = volume[tuple(places.T)].astype(np.float64)
    kept = _one_in_a_column(places, heights)
    places, heights = places[kept], heights[kept]
    centroids = _centroids(_windows(volume, places, radii))
    return VolumeMaxima(places, centroids, heights)


def _local_maxima(
    volume: NDArray[Any], threshold: float, radii: tuple[int, int, int]
) -> NDArray[np.intp]:
    """Return the maxima (n, 3), in the order of z, y, x.

    Volumes are empty almost everywhere, so the few voxels above the threshold are
    compared with their neighbours, nearest first: after some, few are left. That is
    faster than three passes of a maximum filter over the whole volume.
    """
    places = np.argwhere(volume > threshold)
    heights = volume[tuple(places.T)]
    steps = product(*(range(-radius, radius + 1) for radius in radii))
    for step in sorted(steps, key=lambda each: sum(a * a for a in each))[1:]:
        others, inside = _at(volume, places + np.array(step))
        beaten = others >= heights if step < (0, 0, 0) else others > heights
        keep = ~(beaten & inside)
        places, heights = places[keep], heights[keep]
    return places


def _at(
    volume: NDArray[Any], places: NDArray[np.intp]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the voxels at places (..., 3), and which of these are inside."""
    inside = np.all((places >= 0) & (places < volume.shape), axis=-1)
    nearest = np.clip(places, 0, np.array(volume.shape) - 1)
    return volume[tuple(np.moveaxis(nearest, -1, 0))], np.asarray(inside)


def _windows(
    volume: NDArray[Any], places: NDArray[np.intp], radii: tuple[int, int, int]
) -> Floats:
    """Return the heights (n, 2 radius + 1, ...) around voxels, 0 if there is none."""
    sizes = [2 * radius + 1 for radius in radii]
    steps = np.moveaxis(np.indices(sizes), 0, -1) - radii
    heights, inside = _at(volume, places[:, None, None, None] + steps)
    return np.where(inside & (heights > 0), heights, 0).astype(np.float64)


def _one_in_a_column(places: NDArray[np.intp], heights: Floats) -> NDArray[np.intp]:
    """Return the highest, then first, voxel of each (y, x), in the order of these."""
    z, y, x = places.T
    order = np.lexsort((z, -heights, x, y))
    columns = places[order, 1:]
    new = np.ones(len(order), np.bool_)
    new[1:] = (columns[1:] != columns[:-1]).any(axis=1)
    return order[new]


def _centroids(windows: Floats) -> Floats:
    """Return the centroids (n, 3) of windows from their middles."""
    total = windows.sum(axis=(1, 2, 3))
    means = []
    for axis in (1, 2, 3):
        steps = np.arange(windows.shape[axis]) - windows.shape[axis] // 2
        others = tuple({1, 2, 3} - {axis})
        means.append(windows.sum(axis=others) @ steps / total)
    return np.stack(means, axis=1)
