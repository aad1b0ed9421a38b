"""How well found spots match true ones: two point sets in, a score out.

There are two rules. `match_nearest` is the rule of the DeepSpot paper: every true spot
takes its nearest detection. `match_one_to_one` is stricter, and later papers use it:
each detection serves one true spot at most. Points have any number of axes; a radius
for each axis makes the sphere of a match an ellipsoid. Nothing here knows tables or
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import KDTree

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels import pairing
from deepspot_scale.kernels.pairing import count_most_pairs, find_neighbours

RADIUS: Final = 3.0
"""Largest distance of a match in pixels, in the paper and in later ones."""
Radius = float | Sequence[float]
"""Largest distance of a match, in pixels, itself included. One number for each axis:
the half axes of an ellipsoid; all distances are then in units of it."""
Points = NDArray[np.float64]


class Reach(NamedTuple):
    """Largest distance of a match, in planes and in stacks."""

    pixels: float = RADIUS
    """Along y and x."""
    planes: float = 2.0
    """Along z, in stacks only."""

    def radius(self, n_axes: int) -> Radius:
        """Return the radius for points (y, x), or (z, y, x)."""
        flat = n_axes == 2
        return self.pixels if flat else (self.planes, self.pixels, self.pixels)

    @property
    def words(self) -> str:
        """The distance in words."""
        return f"{self.pixels:g} px, in stacks {self.planes:g} planes along z"


REACH: Final = Reach()
"""That of the papers, and two planes."""


@dataclass(frozen=True)
class Score:
    """Counts of one comparison; the scores of several images add up."""

    n_true: int = 0
    n_found: int = 0
    n_matched: int = 0
    """True spots that have a detection within the radius."""
    n_ambiguous: int = 0
    """True spots whose detection already belongs to another true spot."""

    def __add__(self, other: Score) -> Score:
        """Pool two images; `Score()` is the identity."""
        return Score(
            self.n_true + other.n_true,
            self.n_found + other.n_found,
            self.n_matched + other.n_matched,
            self.n_ambiguous + other.n_ambiguous,
        )

    @property
    def precision(self) -> float:
        """Share of the detections that match a true spot; 1 if all is empty."""
        return self._share(self.n_matched - self.n_ambiguous, self.n_found)

    @property
    def recall(self) -> float:
        """Share of the true spots that have a detection; 1 if all is empty."""
        return self._share(self.n_matched, self.n_true)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if all is empty, 0 if one is."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0

    def _share(self, n: int, total: int) -> float:
        if self.n_true == self.n_found == 0:
            return 1.0
        return n / total if total else 0.0


def match_nearest(found: ArrayLike, true: ArrayLike, radius: Radius = RADIUS) -> Score:
    """Score as the DeepSpot paper does: every true spot takes its nearest detection.

    Points are (n, d) and (m, d) positions in pixels. Two true spots that share a
    detection are both matched and count as one ambiguous match; precision counts the
    detection once. Bouilhol et al. 2021, https://doi.org/10.1101/2021.11.25.469984.
    """
    found, true, most = _comparable(found, true, radius)
    if len(found) == 0 or len(true) == 0:
        return Score(len(true), len(found))
    distance, nearest = KDTree(found).query(true)
    taken = nearest[distance <= most]
    shared = len(taken) - len(np.unique(taken))
    return Score(len(true), len(found), len(taken), shared)


def match_one_to_one(
    found: ArrayLike, true: ArrayLike, radius: Radius = RADIUS
) -> Score:
    """Score with each detection serving at most one true spot.

    Points are (n, d) and (m, d) positions in pixels.

    Examples
    --------
    >>> match_one_to_one([(5, 5), (9, 9)], [(5, 6)]).precision
    0.5
    """
    pairs = pair_one_to_one(found, true, radius)
    return Score(len(np.asarray(true)), len(np.asarray(found)), len(pairs))


def pair_one_to_one(
    found: ArrayLike, true: ArrayLike, radius: Radius = RADIUS
) -> NDArray[np.int64]:
    """Return as many pairs within `radius` as there can be, the closest such ones.

    Returns
    -------
    ndarray
        (k, 2), index into `found` and into `true`, ordered by the former.

    Notes
    -----
    See `kernels.pairing`: a linear assignment inside each group of neighbours.
    """
    found, true, most = _comparable(found, true, radius)
    return pairing.pair_one_to_one(found, true, most)


def integrate_f1(
    found: ArrayLike, true: ArrayLike, radius: Radius = RADIUS, n_cutoffs: int = 50
) -> float:
    """Return the one-to-one F1 averaged over all radii from 0 to `radius`, 0 to 1.

    Points are (n, d) and (m, d) positions in pixels. F1 is taken at `n_cutoffs` radii,
    and the trapezoids between them are summed. This is deepBlink's score: it separates
    a detector that is right to a tenth of a pixel from one that is two pixels off.
    Eichenberger et al. 2021, https://doi.org/10.1093/nar/gkab546.
    """
    found, true, most = _comparable(found, true, radius)
    near = find_neighbours(found, true, most)
    near = near[np.argsort(near["v"])]
    cutoffs = np.linspace(0.0, most, n_cutoffs)
    n_near = np.searchsorted(near["v"], cutoffs, side="right")
    shape = len(found), len(true)
    counts = Score(n_true=shape[1], n_found=shape[0])
    f1 = {
        n: replace(counts, n_matched=count_most_pairs(near[:n], shape)).f1
        for n in n_near
    }
    values = [f1[n] for n in n_near]
    return float(np.trapezoid(values, cutoffs) / most)


def nearest_distances(points: ArrayLike) -> NDArray[np.float64]:
    """Return each point's distance to the nearest other one, inf if it is alone."""
    places = np.asarray(points, np.float64)
    if len(places) < 2:
        return np.full(len(places), np.inf)
    distance: NDArray[np.float64] = KDTree(places).query(places, k=2)[0][:, 1]
    return distance


def brightness_at(image: NDArray[Any], points: ArrayLike) -> NDArray[Any]:
    """Return the largest of the 3x3 pixels about each point, fewer at the edges.

    The image has d axes, points are (n, d) positions in pixels. The pixel with the
    nearest centre counts; for a point outside the image, the nearest pixel inside.
    """
    places = np.reshape(np.asarray(points, np.float64), (-1, image.ndim))
    pixels = np.floor(places + 0.5).astype(np.int64)
    inside = np.clip(pixels, 0, np.array(image.shape) - 1)
    # The repeated edge adds no value that is not in the window.
    around = maximum_filter(image, size=3, mode="nearest")
    return np.asarray(around[tuple(inside.T)])


def _comparable(
    found: ArrayLike, true: ArrayLike, radius: Radius
) -> tuple[Points, Points, float]:
    """Return points and radius in units in which a match is a sphere."""
    sets = [np.asarray(points, np.float64) for points in (found, true)]
    reach = np.asarray(radius, np.float64)
    axes = {points.shape[1:] for points in sets if len(points)} or {reach.shape or (2,)}
    d = axes.pop()
    fits = len(d) == 1 and not axes and reach.shape in ((), d)
    if not fits or not (reach >= 0).all() or (reach.ndim and not reach.all()):
        raise SettingsError(
            "expected (n, d) and (m, d) points and a radius, or d radii above 0; got "
            f"{sets[0].shape}, {sets[1].shape} and {radius}"
        )
    one, other = (points.reshape(-1, *d) for points in sets)
    if reach.ndim:
        return one / reach, other / reach, 1.0
    return one, other, float(reach)
