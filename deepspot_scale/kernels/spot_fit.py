"""Where between voxels spots lie, and how high they are: Gaussians fitted to a stack.

Peaks of a raw stack (z, y, x) come in, places and heights go out. A spot is fitted
voxel by voxel, and the light of others is taken off, in a fixed order; so blocks change
no bit of it. Nothing here knows blocks, fields or tables.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.kernels.volumes import Index, Real, SpotWidths

FIT_REACH: Final = 2
"""Voxels to each side that a fit reads along each axis."""
_FIT_STEPS: Final = 6
_MOST_STEP: Final = 0.5
FARTHEST: Final = 1.3
"""Voxels along an axis that a fit may move a spot: farther it has gone astray."""
PIXEL_VARIANCE: Final = 1 / 12
"""What the width of a pixel adds to a spot's variance."""


def light_reach(width: SpotWidths) -> tuple[int, int, int]:
    """Return the voxels along each axis at which a spot's light reaches a fit."""
    z, yx = (FIT_REACH + int(np.ceil(3 * sigma)) for sigma in width)
    return z, yx, yx


def seen_widths(width: SpotWidths) -> Real:
    """Return the standard deviations along z, y and x with the pixel's own width."""
    return np.array([width.z, *[np.hypot(width.yx, PIXEL_VARIANCE**0.5)] * 2])


class FittedSpots(NamedTuple):
    """Gaussians fitted to n spots."""

    places: Real
    """(n, 3) in voxels of the field."""
    heights: Real
    """(n,) counts above the background, without the light of other spots."""
    alone: NDArray[np.bool_]
    """(n,) whether no other spot's light reaches the fit."""

    def only(self, chosen: NDArray[np.bool_]) -> FittedSpots:
        """Return some of them."""
        return FittedSpots(
            self.places[chosen], self.heights[chosen], self.alone[chosen]
        )


def fit_spots(
    stack: NDArray[np.generic], peaks: Index, origin: Index, width: SpotWidths
) -> FittedSpots:
    """Return where a Gaussian of known width fits best around each peak.

    The fit has a height, a background and three coordinates (Gauss and Newton, on
    5 x 5 x 5 voxels of the raw stack). It is done twice, the second time without the
    light of the other spots as the first fit has them. A fit that moves away keeps its
    peak's voxel.

    Parameters
    ----------
    stack
        Raw counts (z, y, x) of a window.
    peaks
        (n, 3) voxels of the window, in reading order.
    origin
        (3,), the window's first voxel in the field; answers are places in the field.
    width
        Of a spot.
    """
    sigmas = seen_widths(width)
    reaches = [min(FIT_REACH, size - 1) for size in stack.shape]
    offsets = [np.arange(-reach, reach + 1) for reach in reaches]
    grid = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    corner = np.array([len(each) // 2 for each in offsets])
    counts, there = gather(stack, peaks, grid)
    fit = _Fit(counts, there, grid + corner, offsets, sigmas)
    off, height = fit.solve()
    clean, alone = _without_others(fit, peaks, off, height, light_reach(width))
    off, height = clean.solve()
    places = np.asarray(peaks + origin + off.T, np.float64)
    return FittedSpots(places, height, alone)


class _Fit(NamedTuple):
    """The voxels around n peaks."""

    counts: list[Real]
    """(n,) at each voxel of the grid."""
    there: list[NDArray[np.bool_]]
    places: Index
    """(k, 3), index of each voxel of the grid along each axis."""
    offsets: list[Index]
    """Voxels along each axis, from the peak."""
    sigmas: Real

    def profiles(self, off: Real) -> list[tuple[Real, Real]]:
        """Return distance in sigmas and light along each axis, (voxels, n) each."""
        answer = []
        for axis, (sigma, along) in enumerate(
            zip(self.sigmas, self.offsets, strict=True)
        ):
            away = (along[:, None] - off[axis]) / sigma
            answer.append((away, np.exp(-0.5 * away**2)))
        return answer

    def solve(self) -> tuple[Real, Real]:
        """Return the (3, n) offsets from the peaks and the (n,) heights."""
        n = self.counts[0].size
        off = np.zeros((3, n))
        for _ in range(_FIT_STEPS):
            step, _ = _fit_step(self, self.profiles(off))
            off += np.clip(step, -_MOST_STEP, _MOST_STEP)
        off[:, (~np.isfinite(off) | (np.abs(off) > FARTHEST)).any(axis=0)] = 0.0
        off[[len(along) == 1 for along in self.offsets]] = 0.0
        _, height = _fit_step(self, self.profiles(off))
        return off, np.maximum(height, 0)


def _without_others(
    fit: _Fit, peaks: Index, off: Real, height: Real, reach: tuple[int, int, int]
) -> tuple[_Fit, NDArray[np.bool_]]:
    """Return the voxels without the light of other spots, and where there is none."""
    n = len(peaks)
    if n < 2:
        return fit, np.ones(n, bool)
    tree = KDTree(peaks / np.array(reach))
    pairs = tree.query_pairs(1.01, p=np.inf, output_type="ndarray")
    # In whole voxels: divided, the same distance differs in the last bit by the window.
    gaps = np.abs(peaks[pairs[:, 0]] - peaks[pairs[:, 1]])
    pairs = pairs[(gaps <= np.array(reach)).all(axis=1)]
    own, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((other, own))  # sums in this order, whatever the window
    own, other = own[order], other[order]
    away = (peaks[other] - peaks[own]).T + off[:, other]
    profiles = fit.profiles(away)
    counts = []
    for value, (z, y, x) in zip(fit.counts, fit.places, strict=True):
        light = profiles[0][1][z] * profiles[1][1][y] * profiles[2][1][x]
        counts.append(value - np.bincount(own, light * height[other], n))
    return fit._replace(counts=counts), np.bincount(own, minlength=n) == 0


def gather(
    stack: NDArray[np.generic], peaks: Index, grid: Index
) -> tuple[list[Real], list[NDArray[np.bool_]]]:
    """Return the counts at each offset from the peaks, and whether they are there."""
    sizes = np.array(stack.shape)
    flat = np.ascontiguousarray(stack).ravel()
    counts, there = [], []
    for offset in grid:
        at = peaks + offset
        there.append(((at >= 0) & (at < sizes)).all(axis=1))
        index = np.ravel_multi_index(tuple(np.clip(at, 0, sizes - 1).T), stack.shape)
        counts.append(flat[index].astype(np.float64))
    return counts, there


def _fit_step(fit: _Fit, profiles: list[tuple[Real, Real]]) -> tuple[Real, Real]:
    """Return the (3, n) steps to the best places, and the (n,) heights here.

    Sums go voxel by voxel, so that a spot's numbers do not depend on other spots.
    """
    counts, there, places, _, sigmas = fit
    n = counts[0].size
    ones, shape, square, light, both = (np.zeros(n) for _ in range(5))
    shapes = []
    for value, known, (z, y, x) in zip(counts, there, places, strict=True):
        bell = profiles[0][1][z] * profiles[1][1][y] * profiles[2][1][x]
        shapes.append(bell)
        ones += known
        shape += known * bell
        square += known * bell * bell
        light += known * value
        both += known * bell * value
    spread = ones * square - shape * shape
    spread = np.where(spread > 0, spread, np.inf)
    height: Real = (ones * both - shape * light) / spread
    ground = (square * light - shape * both) / spread
    normal, right = np.zeros((5, 5, n)), np.zeros((5, n))
    for value, known, bell, at in zip(counts, there, shapes, places, strict=True):
        slopes = [
            known * height * bell * profiles[axis][0][place] / sigmas[axis]
            for axis, place in enumerate(at)
        ]
        row = (known.astype(np.float64), known * bell, *slopes)
        rest = value - ground - height * bell
        for i, one in enumerate(row):
            right[i] += one * rest
            for j in range(i + 1):
                normal[i, j] += one * row[j]
    return solve(normal, right)[2:], height


def solve(normal: Real, right: Real) -> Real:
    """Solve n symmetric systems of equations, each by itself; NaN: singular."""
    size = len(right)
    lower = np.zeros_like(normal)
    with np.errstate(invalid="ignore", divide="ignore"):
        for i in range(size):
            for j in range(i + 1):
                total = normal[i, j].copy()
                for k in range(j):
                    total -= lower[i, k] * lower[j, k]
                lower[i, j] = np.sqrt(total) if i == j else total / lower[j, j]
        answer = right.copy()
        for i in range(size):
            for k in range(i):
                answer[i] -= lower[i, k] * answer[k]
            answer[i] /= lower[i, i]
        for i in reversed(range(size)):
            for k in range(i + 1, size):
                answer[i] -= lower[k, i] * answer[k]
            answer[i] /= lower[i, i]
    return np.where(np.isfinite(answer), answer, 0.0)
