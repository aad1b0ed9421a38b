"""The shift between two channels: positions of spots in both in, a transform out.

Lenses send two colours to slightly different places, cameras and filters add to it. If
enough light is in both channels (beads, or spots that really coincide), the shift shows
itself: of all displacements from a point of the one channel to the points of the other
near it, those of true partners are alike and the others are spread evenly.

    displacements within the search radius -> counts in windows of 2 to 6 px -> a peak
    -> translation: median about the peak, then trimmed mean of one-to-one pairs
    -> affine in the plane, if there are enough pairs and it fits better than chance

A peak that does not stand out, see `displacements`, is no shift: the answer then says
that it could not be measured, and moves nothing. The answer depends neither on the
order of the images nor on that of the points, except where points lie equally well.
Nothing here knows tables or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.kernels.displacements import SEARCH, Common, Images, iter_common
from deepspot_scale.kernels.pairing import Points, pair_one_to_one

How = Literal["measured", "given", "none", "not measurable"]
TOLERANCE: Final = (1.5, 2.0, 2.0)
"""Half axes of the ellipsoid in which points are paired to fit the shift."""
_LEAST_P: Final = 1e-3
"""Of an affine fit over a translation."""
FEWEST: Final = 8
"""Fewest pairs of a translation."""
FEWEST_AFFINE: Final = 20
"""Fewest pairs for an affine fit, whose F test is strict with few."""
_LEAST_SHARE: Final = 0.7
"""Of the points that share a displacement, so many must be paired in the end."""
_STEEPEST: Final = 20.0
"""Largest change of a shift from the centre, in pixels."""
_ROUNDS: Final = 50
_TRIM: Final = 3.0
"""Pairs whose residual is more than so many robust deviations do not count in fits."""
_RAYLEIGH: Final = 1.1774
"""Median length of a vector of two standard normal numbers."""


@dataclass(frozen=True)
class Shift:
    """Where the other channel shows what the one channel shows at a place.

    At the place (y, x) of the other channel, the displacement is ``dy + dy_y * (y -
    centre_y) + dy_x * (x - centre_x)`` along y, likewise along x, and `dz` along z. All
    are in pixels and planes.
    """

    how: How = "none"
    """``measured``, ``given`` by the user, ``none`` was wanted, ``not measurable``."""
    dy: float = 0.0
    """Displacement at the centre; above 0: the other channel lies lower."""
    dx: float = 0.0
    """Above 0: the other channel lies further right."""
    dz: float = 0.0
    """In planes."""
    centre_y: float = 0.0
    """Where `dy` and `dx` hold; elsewhere they change with the place."""
    centre_x: float = 0.0
    dy_y: float = 0.0
    """Change of dy for each pixel along y; all four are 0 in a translation."""
    dy_x: float = 0.0
    dx_y: float = 0.0
    dx_x: float = 0.0
    n_pairs: int = 0
    """Pairs that it was measured on."""
    residual_before: float = np.nan
    """Root mean square distance of these pairs in the plane, in pixels."""
    residual_after: float = np.nan
    """The same once the shift is undone."""
    median_after: float = np.nan
    """Median distance of these pairs in the plane once the shift is undone."""

    @property
    def is_affine(self) -> bool:
        """Whether it changes with the place."""
        return any((self.dy_y, self.dy_x, self.dx_y, self.dx_x))

    def undo(self, places: Points) -> Points:
        """Return places (n, 2 or 3) of the other channel as the one channel has them.

        Examples
        --------
        >>> Shift(dy=1.0, dx=-4.0).undo(np.array([[11.0, 16.0]])).tolist()
        [[10.0, 20.0]]
        """
        moved = np.array(places, np.float64)
        y, x = moved[:, -2] - self.centre_y, moved[:, -1] - self.centre_x
        moved[:, -2] -= self.dy + self.dy_y * y + self.dy_x * x
        moved[:, -1] -= self.dx + self.dx_y * y + self.dx_x * x
        if moved.shape[1] == 3:
            moved[:, 0] -= self.dz
        return moved


def near_points(
    one: Points, other: Points, most: int, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Return at most so many points of the one set, and those of the other near them.

    They are all that `measure_shift` needs of a large image: what remains has the
    density of the whole around each chosen point.
    """
    if len(one) > most:
        one = one[np.sort(rng.choice(len(one), most, replace=False))]
    if len(one) == 0 or len(other) == 0:
        return one, other[:0]
    reach = np.array(SEARCH[-one.shape[1] :])
    # As far again as a shift, so that no rival of a pair is missing.
    far = 1.0 + max(np.array(TOLERANCE[-one.shape[1] :]) / reach)
    distance, _ = KDTree(one / reach).query(
        other / reach, p=np.inf, distance_upper_bound=far
    )
    return one, other[np.isfinite(distance)]


def measure_shift(images: Iterable[tuple[Points, Points]]) -> Shift:
    """Return the shift of the other channel against the one, of one or many images.

    Parameters
    ----------
    images
        Points of both channels of each image, all with two or all with three axes.

    Returns
    -------
    Shift
        ``measured``, or ``not measurable`` where no displacement stands out.
    """
    given = [(one, other) for one, other in images if len(one) and len(other)]
    found = iter_common(given) if given else iter(())
    shifts = (_fit_about(given, common) for common in found)
    shift = next((each for each in shifts if each is not None), None)
    if shift is None:
        return Shift("not measurable")
    one, other = _paired(given, shift)
    after, before = _length(shift.undo(other) - one), _length(other - one)
    return replace(
        shift,
        n_pairs=len(one),
        residual_before=_root_mean_square(before),
        residual_after=_root_mean_square(after),
        median_after=float(np.median(after)),
    )


def _fit_about(images: Images, common: Common) -> Shift | None:
    """Return the shift about a common displacement; None if it explains too little."""
    start = common.gap.tolist()
    first = Shift("measured", dy=start[-2], dx=start[-1])
    first = replace(first, dz=start[0]) if len(start) == 3 else first
    shift = _refine(images, first, affine=False)
    if shift is None:
        return None
    better = _refine(images, shift, affine=True)
    if better is not None and _is_better(images, better):
        shift = better
    # A fit that has lost the partners which it began with has gone astray.
    n_pairs = len(_paired(images, shift)[0])
    return shift if n_pairs >= _LEAST_SHARE * common.n_points else None


def _length(gaps: Points) -> Points:
    """Return the lengths in the plane."""
    return np.hypot(gaps[:, -2], gaps[:, -1])


def _root_mean_square(lengths: Points) -> float:
    return float(np.sqrt((lengths**2).mean()))


# -- fits ------------------------------------------------------------------------------


def _paired(images: Images, shift: Shift) -> tuple[Points, Points]:
    """Return all points that are partners once the shift is undone, in one order."""
    reach = np.array(TOLERANCE[-images[0][0].shape[1] :])
    ones, others = [], []
    for one, other in images:
        pairs = pair_one_to_one(one / reach, shift.undo(other) / reach, 1.0)
        ones.append(one[pairs[:, 0]])
        others.append(other[pairs[:, 1]])
    left, right = np.concatenate(ones), np.concatenate(others)
    order = np.lexsort((*left.T, *right.T))  # sums must not depend on the images' order
    return left[order], right[order]


def _trimmed(one: Points, other: Points, shift: Shift) -> NDArray[np.bool_]:
    """Return which pairs are near enough to count in a fit."""
    gaps = shift.undo(other) - one
    kept = np.ones(len(gaps), bool)
    parts: list[tuple[Any, float]] = [(_length(gaps), _RAYLEIGH)]
    if gaps.shape[1] == 3:
        parts.append((np.abs(gaps[:, 0]), 0.6745))
    for length, share in parts:
        limit = _TRIM * float(np.median(length)) / share
        kept &= length <= max(limit, 1e-9)
    return kept


def _refine(images: Images, shift: Shift, *, affine: bool) -> Shift | None:
    """Pair and fit in turn until nothing changes; None: too few pairs, or no fit."""
    fewest = FEWEST_AFFINE if affine else FEWEST
    for _ in range(_ROUNDS):
        one, other = _paired(images, shift)
        if len(one) < fewest:
            return None
        kept = _trimmed(one, other, shift)
        if kept.sum() < fewest:
            return None
        new = _fit(one[kept], other[kept], affine=affine)
        if new is None:
            return None
        moved = np.abs(new.undo(other) - shift.undo(other)).max()
        shift = new
        if moved < 1e-6:
            break
    return shift


def _fit(one: Points, other: Points, *, affine: bool) -> Shift | None:
    """Return the shift of least squares; None if the pairs do not determine it."""
    gaps = other - one
    found = Shift("measured", *gaps[:, -2:].mean(axis=0).tolist())
    if gaps.shape[1] == 3:
        found = replace(found, dz=float(gaps[:, 0].mean()))
    if not affine:
        return found
    centre = other[:, -2:].mean(axis=0)
    places = other[:, -2:] - centre
    slopes, _, rank, _ = np.linalg.lstsq(places, gaps[:, -2:], rcond=1e-6)
    if rank < 2 or np.abs(places @ slopes).max() > _STEEPEST:
        return None  # on a line, or more than any lens does
    (dy_y, dx_y), (dy_x, dx_x) = slopes.tolist()
    y, x = centre.tolist()
    ends = {"dy_y": dy_y, "dy_x": dy_x, "dx_y": dx_y, "dx_x": dx_x}
    return replace(found, centre_y=y, centre_x=x, **ends)


def _is_better(images: Images, shift: Shift) -> bool:
    """Return whether an affine shift fits better than a translation could by chance.

    An F test of its four slopes, on the pairs that it was fitted to.
    """
    from scipy.stats import f

    one, other = _paired(images, shift)
    kept = _trimmed(one, other, shift)
    one, other = one[kept], other[kept]
    gaps = (other - one)[:, -2:]
    plain = float(((gaps - gaps.mean(axis=0)) ** 2).sum())
    rest = float((_length(shift.undo(other) - one) ** 2).sum())
    freedom = 2 * len(one) - 6
    if rest <= 0.0:
        return plain > 0.0
    value = (plain - rest) / 4 / (rest / freedom)
    return bool(f.sf(value, 4, freedom) < _LEAST_P)
