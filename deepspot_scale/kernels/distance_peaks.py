r"""Molecules in a distance transform, also those that are no maxima of their own.

A map of exp(alpha (1 - d / d_max)) - 1, where d is the distance to the nearest
molecule, comes in; molecules go out. Where molecules are near each other, their peaks
melt into ridges and plateaus with few maxima. But every value says how near a molecule
is: a pixel that is higher than the molecules found so far explain lies nearer to one
that is not found. So the maxima are found first, then those of what they leave
unexplained, and so on, a fixed number of times: what is found depends only on the
pixels within `reach`. Nothing here knows networks or frames.

    map         /\________/\     a ridge between two maxima
    explained   /\        /\     by the cones of the two maxima
    left          \______/       a third molecule, or more
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.heat_maxima import Maxima, maxima_among, refine_pixels


@dataclass(frozen=True)
class Cones:
    """What one molecule explains of a map whose heights are 0 to 1."""

    alpha: float = 7.0
    """Steepness of the distance transform."""
    d_max: float = 35.0
    """Distance at which it becomes 0, fine pixels."""
    extent: int = 8
    """Fine pixels around a molecule beyond which it explains nothing."""
    least: float = 0.2
    """Height left unexplained that shows another molecule."""
    rounds: int = 3
    """How often molecules are looked for in what is left."""

    def cone(self) -> NDArray[np.float32]:
        """Return the peak of one molecule, (2 extent + 1, 2 extent + 1)."""
        steps = np.arange(-self.extent, self.extent + 1)
        near = 1 - np.hypot(steps[:, None], steps) / self.d_max
        rise = np.expm1(self.alpha * np.maximum(near, 0)) / math.expm1(self.alpha)
        return rise.astype(np.float32)

    def reach(self, radius: int) -> int:
        """Return how many fine pixels around one decide whether it is a molecule."""
        return max(radius, 1) + self.rounds * (self.extent + max(radius, 1))


def find_distance_peaks(
    heat: NDArray[np.float32],
    threshold: float,
    cones: Cones,
    *,
    radius: int = 2,
) -> Maxima:
    """Return the molecules of a distance transform (fine y, fine x), heights 0 to 1.

    All are pixels above `threshold`: maxima within `radius`, and maxima, by more than
    `cones.least`, of what is left after `cones`. They are in the order of their pixels,
    and refined by a quadratic of the map.
    """
    cone, rim = cones.cone(), max(cones.extent, radius)
    steps = np.arange(-cones.extent, cones.extent + 1)
    framed = np.pad(heat, rim, constant_values=-np.inf)
    width = framed.shape[1]
    flat, place = framed.ravel(), np.flatnonzero(framed > threshold)
    new = maxima_among(flat, place, width, radius)
    found, height = [new], flat[place]
    explained = np.zeros(framed.size, np.float32)
    left = np.full(framed.size, -1, np.float32)
    for _ in range(cones.rounds):
        if len(new) == 0:
            break
        around = new[:, None, None] + steps[:, None] * width + steps
        np.maximum.at(explained, around, cone)
        left[place] = height - explained[place]
        unexplained = place[left[place] > cones.least]
        new = maxima_among(left, unexplained, width, radius)
        found.append(new)
    rows, columns = np.divmod(np.sort(np.concatenate(found)), width)
    return refine_pixels(heat, np.stack([rows - rim, columns - rim], axis=1))
