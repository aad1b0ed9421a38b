r"""Sector polarity: spots and area per degree around the nucleus in, an index out.

Everything is derived from 360 one-degree bins around the nucleus centroid::

                90
          \     1     /        Bin 0 starts AT the reference direction; bins follow
            \       /          counter-clockwise as seen on the screen (y points
              \   /            down, so towards smaller y first).
        2      (n) ----> 0     Sector 0 is centred on the reference: of 4 sectors,
              /   \            as drawn, it has bins 315..359 and 0..44, of 3 it
            /       \          has 300..359 and 0..59, sixty degrees to either
          /     3     \        side.

Bins are summed over blocks; any number of sectors, any rotation and any null model are
computed from them. The arithmetic is that of DypFISH (Savulescu et al. 2021, Cell
Reports Methods) with fixed, centred sectors. Nothing here knows images or tables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_N_BINS = 360
_EXACT_DIGITS = 9
"""Angles are rounded to this many digits before binning: the order of summation may
change the last bits of a centroid, but must not move a pixel on a bin's edge."""


def angle_deg(dy: ArrayLike, dx: ArrayLike) -> Floats:
    """Return the direction of (dy, dx) as seen on the screen, in [0, 360) degrees.

    0 is along +x, 90 towards smaller y; the direction of (0, 0) is 0.
    """
    # Contiguous copies: numpy's vector and scalar loops differ in the last bit, and the
    # caller's slicing must not decide which one runs. Adding 0 turns -0 into 0, which
    # would otherwise flip the direction of (0, 0).
    up, right = 0.0 - np.asarray(dy, np.float64), np.asarray(dx, np.float64) + 0.0
    shape = np.broadcast_shapes(up.shape, right.shape)
    sides = (np.ascontiguousarray(np.broadcast_to(side, shape)) for side in (up, right))
    return _wrap(np.degrees(np.arctan2(*sides))).reshape(shape)


def angle_bins(
    dy: ArrayLike, dx: ArrayLike, reference_deg: ArrayLike
) -> NDArray[np.int64]:
    """Return the one-degree bin, 0 to 359, of each direction from the reference.

    Bin b contains the directions from b up to b + 1 degrees counter-clockwise of the
    reference, which is as `angle_deg` gives it, finite, in any range. Offsets from the
    nucleus centroid are in pixels; y points down. Each element depends on its own
    inputs only.

    Examples
    --------
    >>> angle_bins([0, -1, 0, 1], [1, 0, -1, 0], 0.0)
    array([  0,  90, 180, 270])
    """
    relative = _wrap(angle_deg(dy, dx) - np.asarray(reference_deg, np.float64))
    return np.asarray(np.floor(relative), np.int64)


def _wrap(angle: Floats) -> Floats:
    """Map degrees to [0, 360) and remove rounding noise."""
    # `numpy.mod` up to the last digits, but several times as fast.
    wrapped = np.round(angle - 360.0 * np.floor(angle / 360.0), _EXACT_DIGITS)
    return np.where(wrapped >= 360.0, 0.0, wrapped)


def nearest_on_line(points: ArrayLike, corners: ArrayLike) -> Floats:
    """Return the point of a polyline that is nearest to each of (n, 2) points (y, x).

    The line has (m, 2) corners (y, x) in order; a single corner is a point. Among
    equally near points, the one on the first segment is returned.
    """
    p = np.reshape(np.asarray(points, np.float64), (-1, 1, 2))
    line = np.reshape(np.asarray(corners, np.float64), (-1, 2))
    start = line[:-1] if len(line) > 1 else line
    step = np.diff(line, axis=0) if len(line) > 1 else np.zeros((1, 2))
    squared = (step**2).sum(axis=1)
    along = ((p - start) * step).sum(axis=2) / np.where(squared > 0, squared, 1.0)
    feet = start + np.clip(along, 0.0, 1.0)[:, :, None] * step
    best = ((p - feet) ** 2).sum(axis=2).argmin(axis=1)
    return np.asarray(feet[np.arange(len(feet)), best])


def sector_sums(bins: ArrayLike, n_sectors: int) -> NDArray[np.int64]:
    """Sum (..., 360) one-degree bins to (..., n_sectors) equal sectors.

    Sector 0 is centred on the reference, the others follow counter-clockwise.
    `n_sectors` divides 180, so that half a sector is a whole number of bins.
    """
    counts = np.asarray(bins, np.int64)
    width = _N_BINS // n_sectors
    centred = np.roll(counts, width // 2, axis=-1)
    return np.asarray(centred.reshape(*counts.shape[:-1], n_sectors, width).sum(-1))


def sums_from_each_bin(bins: ArrayLike, n_sectors: int) -> NDArray[np.int64]:
    """Sum the bins of a sector that starts at each bin: the sector in any rotation.

    Of (..., 360) counts; a sector has ``360 / n_sectors`` bins, and element s is the
    sum of bins s, s + 1, ... around the circle.
    """
    counts = np.asarray(bins, np.int64)
    width = _N_BINS // n_sectors
    nothing = np.zeros_like(counts[..., :1])
    around = np.concatenate([nothing, counts, counts[..., : width - 1]], axis=-1)
    running = np.cumsum(around, axis=-1)
    return np.asarray(running[..., width:] - running[..., :-width])


def relative_concentration(spots: ArrayLike, areas: ArrayLike) -> Floats:
    """Return each sector's spot density relative to the whole cytoplasm; 1: uniform.

    Cytoplasmic spots and pixels, (..., n_sectors) each, are broadcast against each
    other; NaN in a sector without area, and for a cell without spots.
    """
    n, area = np.broadcast_arrays(
        np.asarray(spots, np.float64), np.asarray(areas, np.float64)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        density = n.sum(-1, keepdims=True) / area.sum(-1, keepdims=True)
        relative = n / area / density
    return np.where((area > 0) & np.isfinite(relative), relative, np.nan)


def polarity_index(concentrations: ArrayLike) -> Floats:
    """Return the polarity index of a group of cells.

    It is ``2 * #{m > median(Q)} / n - 1``, where M are the concentrations in the
    reference sectors of n cells and Q those in all other sectors, pooled: from -1 (away
    from the reference) to 1 (towards it); NaN if M or Q is empty. Of (..., n_cells,
    n_sectors) relative concentrations, sector 0 is the reference; NaN (a sector without
    area) belongs neither to M nor to Q.
    """
    values = np.asarray(concentrations)
    reference = values[..., 0]
    others = values[..., 1:].reshape(*values.shape[:-2], -1)
    n = np.isfinite(reference).sum(-1)
    middle = _median_of_finite(others)
    above = (reference > middle[..., None]).sum(-1)
    known = (n > 0) & np.isfinite(middle)
    return np.where(known, 2.0 * above / np.maximum(n, 1) - 1.0, np.nan)


def _median_of_finite(values: NDArray[np.floating]) -> Floats:
    """Return medians along the last axis, without NaN; `numpy.nanmedian` is slow."""
    size = values.shape[-1]
    if size == 0:
        return np.full(values.shape[:-1], np.nan)
    if np.isfinite(values).all():
        # Partitioning at one index is vectorised; at two it is ten times slower.
        ordered = np.partition(values, size // 2, axis=-1)
        upper = ordered[..., size // 2].astype(np.float64)
        if size % 2:
            return np.asarray(upper)
        return np.asarray((ordered[..., : size // 2].max(axis=-1) + upper) / 2)
    ordered = np.sort(values, axis=-1)  # NaN last
    n = np.isfinite(values).sum(-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0) // 2, -1).astype(np.float64)
    high = np.take_along_axis(ordered, np.minimum(n // 2, values.shape[-1] - 1), -1)
    return np.where(n > 0, (low + high) / 2, np.nan)[..., 0]


def resultant(
    cosines: ArrayLike, sines: ArrayLike, n: ArrayLike
) -> tuple[Floats, Floats]:
    """Return length and direction of the mean of n unit vectors, from their sums.

    The length is 0 (no direction) to 1 (all the same direction), NaN without vectors;
    the direction is in [0, 360) degrees, NaN without vectors or if they cancel.
    """
    sums = (np.asarray(each, np.float64) for each in (cosines, sines, n))
    c, s, count = np.broadcast_arrays(*sums)
    length = np.where(count > 0, np.hypot(c, s) / np.maximum(count, 1), np.nan)
    length = np.minimum(length, 1.0)  # may exceed 1 by rounding
    known = length > 10.0**-_EXACT_DIGITS
    return length, np.where(known, angle_deg(-s, c), np.nan)
