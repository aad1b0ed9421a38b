"""Light and background of molecules at known places, also where they overlap.

Frames and the places of their molecules come in; counts above the background, the
background and the noise of each go out. To each molecule belongs a small window, whose
pixels are explained by a constant background and by Gaussians of known width, one for
the molecule and one for each of its neighbours. All windows are solved at the same
time, every sum in a fixed order: the answer for a molecule depends on nothing beyond
`reach` of it, to the last bit. Nothing here knows blocks, cameras or tables.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import erf

Real = NDArray[np.float64]
Index = NDArray[np.int64]
_WINDOW: Final = 2.5
"""Sigmas of a window to each side."""
_MOST: Final = 20
"""Neighbours of a molecule that are told apart, the nearest ones. More share a few
pixels only where the light no longer tells them apart anyway."""
_RIDGE: Final = 0.01
"""Share added to the diagonal. Molecules on the same place get equal shares of their
light, instead of huge ones of either sign."""
_REFINED: Final = 3
"""Steps that take the ridge's bias off what the light does tell."""
_AT_A_TIME: Final = 512
"""Molecules that are solved together, which bounds the memory."""


class LocalLight(NamedTuple):
    """What was found at n places."""

    intensity: Real
    """(n,) counts of the whole molecule above the background; may be below 0."""
    background: Real
    """(n,) counts per pixel."""
    noise: Real
    """(n,) standard deviation of what is left of a window, counts; NaN: its pixels are
    no more than the numbers that explain it."""


def window(sigma: float) -> int:
    """Return the pixels of a molecule's window to each side, for a width in pixels."""
    return int(np.ceil(_WINDOW * sigma))


def reach(sigma: float) -> int:
    """Return the pixels to each side of a place that its answer depends on.

    Pixels, and places of other molecules.
    """
    return 2 * window(sigma) + 1


def measure_light(
    frames: NDArray[Any],
    places: Real,
    sigma: float,
    *,
    origin: tuple[int, int, int] = (0, 0, 0),
) -> LocalLight:
    """Return light and background of molecules.

    Parameters
    ----------
    frames
        Counts (t, y, x) of a part of a movie, `reach` pixels around the molecules that
        are asked for, fewer at the edges of whole frames. Finite.
    places
        (n, 3) frame, y and x of all molecules in it, in the whole movie, so that no
        rounding depends on the part; the centre of the first pixel is 0. Frames are
        whole numbers. Places must lie on the part.
    sigma
        Standard deviation of the point spread function in pixels, above 0.
    origin
        Frame and pixel of the movie that is the first of the part.

    Notes
    -----
    Least squares over (2 w + 1)^2 pixels, w = ceil(2.5 sigma), of a constant and of
    Gaussians that are integrated over pixels, for the molecule and its at most 20
    neighbours within 2 w pixels. The shares of molecules that lie nearer than the light
    can tell are held together by a ridge, whose bias on their sum is taken off by
    repeated steps (iterated Tikhonov).
    """
    found = [np.zeros(len(places)) for _ in LocalLight._fields]
    if len(places):
        near = _neighbours(places, 2.0 * window(sigma))
        size = np.count_nonzero(near >= 0, axis=1)
        order = np.argsort(size, kind="stable")  # a batch is as wide as its largest
        for first in range(0, len(places), _AT_A_TIME):
            some = order[first : first + _AT_A_TIME]
            chosen = near[some, : size[some].max()]
            own = _Windows.cut(frames, places, chosen, sigma, origin)
            for whole, part in zip(found, own.solve(), strict=True):
                whole[some] = part
    return LocalLight(*found)


def _neighbours(places: Real, radius: float) -> Index:
    """Return (n, k) the molecule itself, then its neighbours in one order; -1: none.

    Those within `radius` pixels along y and x in the same frame, the nearest first.
    """
    spaced = places * (4 * radius, 1.0, 1.0)
    pairs = KDTree(spaced).query_pairs(radius, p=np.inf, output_type="ndarray")
    one, other = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64).T
    gap = places[other] - places[one]
    far = gap[:, 1] ** 2 + gap[:, 2] ** 2
    # Ties go by direction, which no part of a movie changes.
    order = np.lexsort((gap[:, 2], gap[:, 1], far, one))
    one, other = one[order], other[order]
    sizes = np.bincount(one, minlength=len(places))
    rank = np.arange(one.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = rank < _MOST
    near = np.full((len(places), 1 + min(_MOST, int(sizes.max()))), -1)
    near[:, 0] = np.arange(len(places))
    near[one[kept], 1 + rank[kept]] = other[kept]
    return near


class _Windows(NamedTuple):
    """Windows of n molecules of w x w pixels, each with k molecules."""

    counts: Real
    """(w, w, n), 0 outside of the frame."""
    there: Real
    """(2, w, n) 1 where a row, a column is in the frame, else 0."""
    shapes: Real
    """(2, w, 1 + k, n) share of light in each row and column; first the background's,
    which is 1. 0 outside of the frame and for molecules that are not there."""
    level: Real
    """(n,) counts that were taken off, so that large backgrounds cost no digits."""

    @classmethod
    def cut(
        cls,
        frames: NDArray[Any],
        places: Real,
        near: Index,
        sigma: float,
        origin: tuple[int, int, int],
    ) -> _Windows:
        here = places[near[:, 0]]
        anchor = np.rint(here).astype(np.int64)
        offsets = np.arange(-window(sigma), window(sigma) + 1)[:, None]
        pixels = [anchor[:, axis] + offsets for axis in (1, 2)]
        local = [each - origin[1 + axis] for axis, each in enumerate(pixels)]
        sizes = frames.shape[1:]
        there = np.stack(
            [
                ((a >= 0) & (a < n)).astype(float)
                for a, n in zip(local, sizes, strict=True)
            ]
        )
        rows, columns = (
            np.clip(a, 0, n - 1) for a, n in zip(local, sizes, strict=True)
        )
        frame = anchor[:, 0] - origin[0]
        counts = frames[frame, rows[:, None], columns[None]].astype(np.float64)
        level = frames[frame, rows[offsets.size // 2], columns[offsets.size // 2]]
        counts = (counts - level) * there[0][:, None] * there[1][None]
        shapes = np.ones((2, len(offsets), 1 + near.shape[1], len(near)))
        known = (near >= 0).T
        for axis in range(2):
            centre = places[near, 1 + axis].T
            shapes[axis, :, 1:] = known * _bell(pixels[axis][:, None], centre, sigma)
        shapes *= there[:, :, None]
        return cls(counts, there, shapes, level.astype(np.float64))

    def solve(self) -> tuple[Real, Real, Real]:
        """Return intensity, background and noise."""
        factor = _Factor.of(self._normal())
        right = self._right()
        heights = factor.solve(right)
        for _ in range(_REFINED):
            heights = heights + factor.solve(right - factor.times(heights))
        return heights[1], heights[0] + self.level, self._noise(heights)

    def _normal(self) -> Real:
        """Return (1 + k, 1 + k, n) the products of shapes."""
        normal = 1.0
        for shape in self.shapes:
            along = 0.0
            for line in shape:
                along = along + line[:, None] * line[None]
            normal = normal * along
        return np.asarray(normal)

    def _right(self) -> Real:
        """Return (1 + k, n) the products of shapes with the counts."""
        right = np.zeros(self.shapes.shape[2:])
        for row, counts in zip(self.shapes[0], self.counts, strict=True):
            along = np.zeros_like(right)
            for column, count in zip(self.shapes[1], counts, strict=True):
                along += column * count
            right += row * along
        return right

    def _noise(self, heights: Real) -> Real:
        """Return (n,) the standard deviation of what is left."""
        squares, pixels = (np.zeros(heights.shape[1]) for _ in range(2))
        for i, counts in enumerate(self.counts):
            high = heights * self.shapes[0, i]
            for j, count in enumerate(counts):
                left = count
                for one, other in zip(high, self.shapes[1, j], strict=True):
                    left = left - one * other
                inside = self.there[0, i] * self.there[1, j]
                squares += inside * left * left
                pixels += inside
        lit = self.shapes.max(axis=1).min(axis=0) > 0
        free = pixels - np.count_nonzero(lit, axis=0)
        return np.sqrt(squares / np.where(free > 0, free, np.nan))


def _bell(pixels: Index, centre: Real, sigma: float) -> Real:
    """Return the share of a Gaussian's light in each pixel of an axis."""
    # The difference first: whole movies and parts then round alike.
    away = pixels - centre
    scale = sigma * np.sqrt(2.0)
    return np.asarray((erf((away + 0.5) / scale) - erf((away - 0.5) / scale)) / 2)


class _Factor(NamedTuple):
    """Equations of n windows, and the Cholesky factor of them and their ridge."""

    normal: Real
    """(k, k, n)"""
    lower: Real
    """(k, k, n)"""

    @classmethod
    def of(cls, normal: Real) -> _Factor:
        k = len(normal)
        lower = normal.copy()
        for i in range(k):
            # Molecules that are not there get the equation x = 0.
            own = normal[i, i]
            ridge = own * (0.0 if i == 0 else _RIDGE)
            lower[i, i] += np.where(own > 0, ridge, 1.0)
        for i in range(k):
            for j in range(i):
                lower[i:, i] -= lower[i:, j] * lower[i, j]
            lower[i:, i] /= np.sqrt(lower[i, i])
        return cls(normal, lower)

    def solve(self, right: Real) -> Real:
        """Return (k, n) the solution with the ridge."""
        found = right.copy()
        for i in range(len(found)):
            found[i] /= self.lower[i, i]
            found[i + 1 :] -= self.lower[i + 1 :, i] * found[i]
        for i in reversed(range(len(found))):
            found[i] /= self.lower[i, i]
            found[:i] -= self.lower[i, :i] * found[i]
        return found

    def times(self, heights: Real) -> Real:
        """Return (k, n) the counts that these heights explain."""
        product = np.zeros_like(heights)
        for column, height in zip(self.normal, heights, strict=True):
            product += column * height
        return product
