"""Gaussians of free width fitted to spots of a stack.

Peaks of a raw stack (z, y, x) and the widths that spots usually have come in; height,
place, widths and background of each go out, if its fit came to rest. All spots are
fitted at the same time, each by itself and voxel by voxel in a fixed order, so a spot's
numbers do not depend on other spots. Nothing here knows blocks, fields or tables.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.kernels.spot_fit import PIXEL_VARIANCE, gather, seen_widths, solve
from deepspot_scale.kernels.volumes import Index, Real, SpotWidths

_REACH: Final = 2.5
"""Voxels that are fitted, in usual sigmas to each side."""
_STEPS: Final = 12
_MOST_STEP: Final = 0.5
"""Voxels that one step may move a place."""
_MOST_GROWTH: Final = 0.2
"""Share by which one step may change a width."""
_AT_REST: Final = 0.01
"""A fit has come to rest when its last step moved it by less, in voxels and shares."""
_FARTHEST: Final = 2.0
"""Usual sigmas from the peak, and times of the usual width, beyond which a fit is
lost."""
_DAMPING: Final = 1e-3
NEIGHBOUR_LIGHT: Final = 2.7
"""Sigmas at which a neighbour's light ends."""


class GaussianFits(NamedTuple):
    """What was fitted to n spots; NaN where a fit did not come to rest."""

    off: Real
    """(n, 3) voxels from the peaks."""
    height: Real
    """(n,) counts above the background, at the centre."""
    background: Real
    """(n,) counts."""
    sigma_z: Real
    """(n,) standard deviation in planes."""
    sigma_yx: Real
    """(n,) in pixels, without the pixel's own width."""
    residual: Real
    """(n,) standard deviation of what the fit leaves, counts."""


def reach_of(width: SpotWidths) -> tuple[int, ...]:
    """Return the voxels along each axis that a fit reads to each side of its peak."""
    return tuple(int(r) for r in np.ceil(_REACH * seen_widths(width)))


class Neighbours(NamedTuple):
    """The spots of a window, whose light is taken off before others are fitted."""

    voxels: Index
    """(m, 3) peaks in the field, whole voxels."""
    places: Real
    """(m, 3) places in the field."""
    heights: Real
    """(m,) counts above the background."""
    own: Index
    """(n,) index of each spot that is fitted among them."""


def fit_gaussians(
    stack: NDArray[np.generic],
    peaks: Index,
    width: SpotWidths,
    neighbours: Neighbours | None = None,
) -> GaussianFits:
    """Fit a Gaussian of its own width to each of n peaks.

    Parameters
    ----------
    stack
        Raw counts (z, y, x) of a window, `reach_of` voxels around the peaks, fewer at
        the ends of the whole stack.
    peaks
        (n, 3) voxels of the window.
    width
        That spots usually have, from which the fits begin.
    neighbours
        Spots whose light is taken off first, those of `peaks` among them; None: none.

    Notes
    -----
    Steps of Gauss and Newton, damped, of seven numbers: background, height, three
    coordinates and the two widths. A pixel's own width is taken as a variance of 1/12.
    """
    usual = seen_widths(width)
    axes = [np.arange(-reach, reach + 1) for reach in reach_of(width)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    counts, there = gather(stack, peaks, grid)
    if neighbours is not None:
        counts = _without(counts, grid, neighbours, usual)
    state = _State.begin(len(peaks), usual)
    left = np.arange(len(peaks))  # a fit that has come to rest is not moved again
    for _ in range(_STEPS):
        if not left.size:
            break
        own = state.only(left)
        parts = ([values[left] for values in each] for each in (counts, there))
        moved = own.take(_System.of(own, grid, *parts).step())
        state.put(left, own)
        left = left[moved >= _AT_REST]
    known = state.is_near(usual)
    known[left] = False
    system = _System.of(state, grid, counts, there)
    height, background = system.height, system.background
    values = (
        state.off,
        height,
        background,
        state.sigma[0],
        np.sqrt(np.maximum(state.sigma[1] ** 2 - PIXEL_VARIANCE, 0)),
        system.spread(),
    )
    off, *others = (np.where(known, value, np.nan) for value in values)
    return GaussianFits(off.T, *others)


def _without(
    counts: list[Real], grid: Index, spots: Neighbours, sigmas: Real
) -> list[Real]:
    """Return the counts at each offset without the light of other spots.

    What lies between two spots is told in whole voxels and fractions of their own, so
    that it does not depend on the window.
    """
    reach = np.ceil(_REACH * sigmas) + np.ceil(NEIGHBOUR_LIGHT * sigmas)
    tree = KDTree(spots.voxels / reach)
    near = KDTree(spots.voxels[spots.own] / reach).query_ball_tree(tree, 1.01, p=np.inf)
    sizes = [len(each) for each in near]
    fitted = np.repeat(np.arange(len(near)), sizes)
    other = np.fromiter(chain.from_iterable(map(sorted, near)), np.int64, sum(sizes))
    gap = spots.voxels[spots.own][fitted] - spots.voxels[other]
    lit = (np.abs(gap) <= reach).all(axis=1) & (spots.own[fitted] != other)
    fitted, other, gap = fitted[lit], other[lit], gap[lit]
    away = gap - (spots.places[other] - spots.voxels[other])
    height, n = spots.heights[other], len(near)
    answer = []
    for offset, value in zip(grid, counts, strict=True):
        far = (((away + offset) / sigmas) ** 2).sum(axis=1)
        light = np.bincount(fitted, height * np.exp(-0.5 * far), n)
        answer.append(value - light)
    return answer


class _State(NamedTuple):
    """Where the fits stand."""

    off: Real
    """(3, n) from the peaks."""
    sigma: Real
    """(2, n) along z and in the plane, pixels included."""

    @classmethod
    def begin(cls, n: int, usual: Real) -> _State:
        return cls(np.zeros((3, n)), np.repeat(usual[:2, None], n, axis=1))

    def only(self, chosen: Index) -> _State:
        """Return some of the fits."""
        return _State(self.off[:, chosen], self.sigma[:, chosen])

    def put(self, chosen: Index, own: _State) -> None:
        """Write some of the fits back."""
        self.off[:, chosen], self.sigma[:, chosen] = own

    def take(self, step: Real) -> Real:
        """Move by (5, n) steps; return how far, in voxels and shares."""
        shift = np.clip(step[:3], -_MOST_STEP, _MOST_STEP)
        growth = np.clip(step[3:] / self.sigma, -_MOST_GROWTH, _MOST_GROWTH)
        self.off[...] += shift
        self.sigma[...] *= 1 + growth
        return np.asarray(np.abs(np.concatenate([shift, growth])).max(axis=0))

    def is_near(self, usual: Real) -> NDArray[np.bool_]:
        """Return which fits are still those of spots at their peaks."""
        share = self.sigma / usual[:2, None]
        near = (np.abs(self.off) <= _FARTHEST * usual[:, None]).all(axis=0)
        near &= ((share < _FARTHEST) & (share > 1 / _FARTHEST)).all(axis=0)
        return np.asarray(near, bool)

    def light(self, offset: Index) -> tuple[Real, list[Real], list[Real]]:
        """Return light at a voxel, its slopes and what it gains by wider spots."""
        z, y, x = ((offset[axis] - self.off[axis]) for axis in range(3))
        s_z, s_yx = self.sigma
        bell = np.exp(-0.5 * ((z / s_z) ** 2 + (y**2 + x**2) / s_yx**2))
        slopes = [z / s_z**2, y / s_yx**2, x / s_yx**2]
        return bell, slopes, [z**2 / s_z**3, (y**2 + x**2) / s_yx**3]


class _System(NamedTuple):
    """The equations of the next step."""

    height: Real
    background: Real
    normal: Real
    """(7, 7, n), its lower half."""
    right: Real
    """(7, n)"""
    squares: Real
    """(n,) of what the fit leaves."""
    n: Real
    """(n,) voxels."""

    @classmethod
    def of(cls, state: _State, grid: Index, counts: Any, there: Any) -> _System:
        n = counts[0].size
        ones, shape, square, light, both = (np.zeros(n) for _ in range(5))
        for offset, value, known in zip(grid, counts, there, strict=True):
            bell = known * state.light(offset)[0]
            ones += known
            shape += bell
            square += bell * bell
            light += known * value
            both += bell * value
        spread = ones * square - shape * shape
        spread = np.where(spread > 0, spread, np.inf)
        height = (ones * both - shape * light) / spread
        ground = (square * light - shape * both) / spread
        normal, right, rest = np.zeros((7, 7, n)), np.zeros((7, n)), np.zeros(n)
        for offset, value, known in zip(grid, counts, there, strict=True):
            bell, slopes, gains = state.light(offset)
            left = known * (value - ground - height * bell)
            of_height = known * height * bell
            row = (
                known.astype(np.float64),
                known * bell,
                *(of_height * change for change in (*slopes, *gains)),
            )
            rest += left**2
            for i, one in enumerate(row):
                right[i] += one * left
                for j in range(i + 1):
                    normal[i, j] += one * row[j]
        return cls(height, ground, normal, right, rest, ones)

    def step(self) -> Real:
        """Return the (5, n) steps of places and widths."""
        normal = self.normal.copy()
        for i in range(len(normal)):
            normal[i, i] *= 1 + _DAMPING
        return solve(normal, self.right)[2:]

    def spread(self) -> Real:
        """Return the standard deviation of what the fits leave."""
        return np.sqrt(self.squares / np.maximum(self.n - 7, 1))
