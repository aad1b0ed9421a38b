"""The distribution of spots within a cell: sums over points in, three indices out.

The indices are those of the RNA distribution calculator (Stueland et al. 2019, RDI
calculator, Scientific Reports 9:8267), as in Big-FISH, but every spot and every pixel
has the same weight instead of its brightness. With the mean square distance
D(points, centre)::

    polarization  distance of the centroids of spots and cell / sqrt D(cell, its own)
    dispersion    D(spots, centroid of spots)    / D(cell, centroid of spots)
    peripheral    D(spots, centroid of nucleus)  / D(cell, centroid of nucleus)

All follow from sums of coordinates and of their squares, which add up over blocks.
Nothing here knows images or tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Moments(NamedTuple):
    """Sums over the points of each cell, relative to a common origin near the cell."""

    n: Floats
    """Number of points."""
    y: Floats
    """Sum of y."""
    x: Floats
    """Sum of x."""
    square: Floats
    """Sum of y squared plus x squared."""

    def centroid(self) -> tuple[Floats, Floats]:
        """Return the mean point; NaN without points."""
        return _ratio(self.y, self.n), _ratio(self.x, self.n)

    def mean_square(self, y: Floats, x: Floats) -> Floats:
        """Return the mean square distance of the points from (y, x)."""
        total = self.square - 2 * (y * self.y + x * self.x)
        return np.maximum(_ratio(total, self.n) + y**2 + x**2, 0.0)


class Dispersion(NamedTuple):
    """Three indices of each cell; NaN without spots, or if the cell is one pixel."""

    polarization: Floats
    """0: spots are centred in the cell; 1: offset by the cell's root mean square
    radius."""
    dispersion: Floats
    """1: spread like the cell's pixels; below 1: clustered."""
    peripheral: Floats
    """1: as far from the nucleus as the cell's pixels; above 1: farther."""


def measure_dispersion(
    cells: Moments, spots: Moments, centre_y: Floats, centre_x: Floats
) -> Dispersion:
    """Return the three indices of n cells, from the moments of pixels and spots.

    The (n,) centroids of nuclei are relative to the origin of the moments; NaN: none.
    """
    spot_yx, cell_yx = spots.centroid(), cells.centroid()
    nucleus_yx = (centre_y, centre_x)
    offset = np.hypot(spot_yx[0] - cell_yx[0], spot_yx[1] - cell_yx[1])
    return Dispersion(
        _ratio(offset, np.sqrt(cells.mean_square(*cell_yx))),
        _ratio(spots.mean_square(*spot_yx), cells.mean_square(*spot_yx)),
        _ratio(spots.mean_square(*nucleus_yx), cells.mean_square(*nucleus_yx)),
    )


def _ratio(total: Floats, n: Floats) -> Floats:
    answer: Floats = np.full(np.shape(total), np.nan)
    return np.divide(total, n, out=answer, where=n > 0)
