"""Spots of a z-stack: which voxels are their peaks, and where between voxels they lie.

A stack (z, y, x) and its enhanced planes come in, peaks and fitted places go out. A
spot is brightest where the network is sure of it and the raw stack has a bump: the
certainty alone is as high in several planes of a bright spot, and the bump alone is
noise. What is compared are sums of whole numbers, and a spot is fitted by itself, voxel
by voxel in a fixed order; so neither blocks nor other spots change a bit of an answer.
Nothing here knows blocks, fields or tables.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Real = NDArray[np.float64]
Image = NDArray[np.float32]

_UNIT: Final = 64
"""Sum of the whole weights along z: with 16 bits of an image they fit into float32."""
_BLUR: Final = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
"""A binomial, nearly a Gaussian of a standard deviation of 1 px."""
_BEND: Final = np.array([1.0, 0.0, -2.0, 0.0, 1.0])
"""The second difference of the binomial."""
BUMP_REACH: Final = 2
"""Pixels to each side that `bumps` reads."""
FIT_REACH: Final = 2
"""Voxels to each side that a fit reads along each axis."""
_FIT_STEPS: Final = 6
_MOST_STEP: Final = 0.5
_FARTHEST: Final = 1.3
"""Voxels along an axis that a fit may move a spot: farther it has gone astray."""
_PIXEL_VARIANCE: Final = 1 / 12
"""What the width of a pixel adds to a spot's variance."""


def planes_reach(sigma: float) -> int:
    """Return the planes to each side that a Gaussian along z reads."""
    return len(_weights(sigma)) // 2


def _weights(sigma: float) -> NDArray[np.float32]:
    """Return whole weights whose sum is `_UNIT`, an odd number of them."""
    if sigma <= 0:
        return np.array([_UNIT], np.float32)
    reach = int(np.ceil(3 * sigma))
    share = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    whole = np.rint(_UNIT * share / share.sum())
    whole[reach] += _UNIT - whole.sum()
    used = np.flatnonzero(whole)
    return np.asarray(whole[used[0] : used[-1] + 1], np.float32)


def average_planes(stack: NDArray[np.generic], sigma: float, own: slice) -> Image:
    """Return the Gaussian mean along z, in planes; beyond the stack its last plane.

    Parameters
    ----------
    stack
        (z, y, x) with `planes_reach` planes around the wanted ones, fewer at the ends
        of the whole stack.
    sigma
        Standard deviation in planes.
    own
        The planes that are wanted.
    """
    weights = _weights(sigma)
    reach, n = len(weights) // 2, len(stack)
    start, stop, _ = own.indices(n)
    answer = np.zeros((stop - start, *stack.shape[1:]), np.float32)
    for place, z in enumerate(range(start, stop)):
        for off, weight in enumerate(weights, -reach):
            answer[place] += weight * stack[min(max(z + off, 0), n - 1)]
        answer[place] /= _UNIT
    return answer


def bumps(plane: Image) -> Image:
    """Return how far each pixel of whole numbers stands out of those around it; or 0.

    It is the negative Laplacian of the plane smoothed by one pixel, in whole numbers.
    """
    import cv2

    border = cv2.BORDER_REFLECT
    both = [
        cv2.sepFilter2D(plane, cv2.CV_64F, across, down, borderType=border)
        for across, down in ((_BEND, _BLUR), (_BLUR, _BEND))
    ]
    return np.asarray(np.maximum(-(both[0] + both[1]), 0), np.float32)


def find_peaks(response: Image, could: NDArray[np.bool_]) -> Index:
    """Return the (n, 3) voxels that are largest among their 26 neighbours.

    Of equal ones the last in reading order is the largest. Only voxels that could be
    peaks are looked at.
    """
    flat = np.ascontiguousarray(response).ravel()
    place = np.flatnonzero(could)
    value = flat[place]
    for dz, dy, dx in np.ndindex(3, 3, 3):
        if (dz, dy, dx) == (1, 1, 1):
            continue
        z, y, x = np.unravel_index(place, response.shape)
        z, y, x = (
            np.clip(at + off - 1, 0, n - 1)
            for at, off, n in zip((z, y, x), (dz, dy, dx), response.shape, strict=True)
        )
        other = np.ravel_multi_index((z, y, x), response.shape)
        there = flat[other]
        keep = ~((there > value) | ((there == value) & (other > place)))
        place, value = place[keep], value[keep]
    return np.stack(np.unravel_index(place, response.shape), axis=1)


class SpotWidths(NamedTuple):
    """Standard deviations of a spot."""

    z: float
    """In planes."""
    yx: float
    """In pixels, before the pixel's own width is added."""


class Fits(NamedTuple):
    """Places of n spots."""

    z: Real
    y: Real
    x: Real


def fit_places(
    stack: NDArray[np.generic], peaks: Index, origin: Index, width: SpotWidths
) -> Fits:
    """Return where a Gaussian of known width fits best around each peak.

    The fit has a height, a background and three coordinates (Gauss and Newton, on
    5 x 5 x 5 voxels of the raw stack). A fit that moves away keeps its peak's voxel.

    Parameters
    ----------
    stack
        Raw counts (z, y, x) of a window.
    peaks
        (n, 3) voxels of the window.
    origin
        (3,), the window's first voxel in the field; answers are places in the field.
    width
        Of a spot.
    """
    n = len(peaks)
    sigmas = np.array([width.z, *[np.hypot(width.yx, _PIXEL_VARIANCE**0.5)] * 2])
    reaches = [min(FIT_REACH, size - 1) for size in stack.shape]
    offsets = [np.arange(-reach, reach + 1) for reach in reaches]
    grid = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = np.array([len(each) // 2 for each in offsets])
    counts, there = _gather(stack, peaks, grid)
    off = np.zeros((3, n))
    for _ in range(_FIT_STEPS):
        profiles = []
        for axis, (sigma, along) in enumerate(zip(sigmas, offsets, strict=True)):
            away = (along[:, None] - off[axis]) / sigma
            profiles.append((away, np.exp(-0.5 * away**2)))
        step = _fit_step(counts, there, grid + corners, profiles, sigmas)
        off += np.clip(step, -_MOST_STEP, _MOST_STEP)
    astray = (~np.isfinite(off) | (np.abs(off) > _FARTHEST)).any(axis=0)
    off[:, astray] = 0.0
    flat = [axis for axis, size in enumerate(stack.shape) if size == 1]
    off[flat] = 0.0
    places = peaks.T + origin[:, None] + off
    return Fits(*places)


def _gather(
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


def _fit_step(
    counts: list[Real],
    there: list[NDArray[np.bool_]],
    places: Index,
    profiles: list[tuple[Real, Real]],
    sigmas: Real,
) -> Real:
    """Return the (3, n) steps to the best places, all else held.

    Sums go voxel by voxel, so that a spot's numbers do not depend on other spots.
    """
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
    height = (ones * both - shape * light) / spread
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
    return _solve(normal, right)[2:]


def _solve(normal: Real, right: Real) -> Real:
    """Solve n symmetric systems of five equations, each by itself; NaN: singular."""
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


# -- the width of spots ----------------------------------------------------------------


def measure_widths(stack: NDArray[np.generic], peaks: Index, ground: Real) -> Real:
    """Return the (2, n) standard deviations along z and in the plane; NaN: not told.

    From three points along each axis through a peak, as of a Gaussian above a known
    background; of z the points are means of 3 x 3 pixels, of y and x of three planes.
    A peak next to the stack's end tells nothing.
    """
    sizes = np.array(stack.shape)
    inner = ((peaks > 1) & (peaks < sizes - 2)).all(axis=1)
    at = np.clip(peaks, 1, sizes - 2)
    flat = np.ascontiguousarray(stack).ravel()

    def mean(offsets: list[tuple[int, int, int]]) -> Real:
        total = np.zeros(len(at))
        for offset in offsets:
            there = np.clip(at + np.array(offset), 0, sizes - 1)
            total += flat[np.ravel_multi_index(tuple(there.T), stack.shape)]
        return total / len(offsets) - ground

    side = (-1, 0, 1)
    along_z = [mean([(z, y, x) for y in side for x in side]) for z in side]
    along_y = [mean([(z, y, 0) for z in side]) for y in side]
    along_x = [mean([(z, 0, x) for z in side]) for x in side]
    yx = [_width(*values) ** 2 for values in (along_y, along_x)]
    widths = np.stack([_width(*along_z), np.sqrt((yx[0] + yx[1]) / 2)])
    return np.where(inner, widths, np.nan)


def _width(before: Real, at: Real, after: Real) -> Real:
    with np.errstate(invalid="ignore", divide="ignore"):
        bend = 2 * np.log(at) - np.log(before) - np.log(after)
        return np.where(bend > 0, 1 / np.sqrt(bend), np.nan)
