"""Spots of a z-stack: which voxels are their peaks, and how wide they are.

A stack (z, y, x) and its enhanced planes come in, peaks and widths go out. A spot is
brightest where the network is sure of it and the raw stack has a bump: the certainty
alone is as high in several planes of a bright spot, and the bump alone is noise. What
is compared are sums of whole numbers; so blocks change no bit of it. Nothing here knows
blocks, fields or tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.kernels.peaks import mean_near

Index = NDArray[np.int64]
Real = NDArray[np.float64]
Image = NDArray[np.float32]

MOST_SIGMA_Z: Final = 4.0
"""Largest standard deviation of a spot along z, in planes."""
MOST_SIGMA_YX: Final = 3.5
"""Largest standard deviation of a spot in the plane, in pixels."""
_UNIT: Final = 64
"""Sum of the whole weights along z: with 16 bits of an image they fit into float32."""
_BLUR: Final = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
"""A binomial, nearly a Gaussian of a standard deviation of 1 px."""
_BEND: Final = np.array([1.0, 0.0, -2.0, 0.0, 1.0])
"""The second difference of the binomial."""
BUMP_REACH: Final = 2
"""Pixels to each side that `bumps` reads."""


def by_plane(
    measure: Callable[[Any, Index, Index], Any], stack: NDArray[np.generic], at: Index
) -> Real:
    """Return the (..., n) measures of (n, 3) voxels, each taken in its own plane.

    `measure` takes a plane and rows and columns in it.
    """
    parts, order = [], []
    for z in np.unique(at[:, 0]):
        here = np.flatnonzero(at[:, 0] == z)
        parts.append(np.asarray(measure(stack[z], at[here, 1], at[here, 2])))
        order.append(here)
    if not parts:
        return np.asarray(measure(stack[0], at[:, 1], at[:, 2]), np.float64)
    together = np.concatenate(parts, axis=-1)
    answer = np.empty(together.shape)
    answer[..., np.concatenate(order)] = together
    return answer


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
    part = np.empty(stack.shape[1:], np.float32)
    for place, z in enumerate(range(start, stop)):
        for off, weight in enumerate(weights, -reach):
            np.multiply(stack[min(max(z + off, 0), n - 1)], weight, out=part)
            answer[place] += part
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


def are_double(places: Real, rank: NDArray[np.generic], width: SpotWidths) -> Any:
    """Return which of some spots are the same as one of a higher rank.

    Two (n, 3) places within one standard deviation of each other are those of one spot.
    Of equal ranks the later one is higher.
    """
    double = np.zeros(len(places), bool)
    if len(places) < 2:
        return double
    scaled = places / (width.z, width.yx, width.yx)
    one, other = KDTree(scaled).query_pairs(1.0, output_type="ndarray").T
    lower = np.where(rank[one] > rank[other], other, one)  # the first index is smaller
    double[lower] = True
    return double


# -- the width of spots ----------------------------------------------------------------

PROFILE_REACH: Final = 8
"""Planes to each side that tell the width along z."""
_SIGMAS: Final = np.exp(np.linspace(np.log(0.4), np.log(4.5), 121))


def profile_along_z(stack: NDArray[np.generic], peaks: Index, ground: Real) -> Real:
    """Return the light of n peaks in the planes around, (n, 17); NaN: no such plane.

    It is the mean of 3 x 3 pixels above the ground of the peak's own plane.
    """
    planes = np.arange(-PROFILE_REACH, PROFILE_REACH + 1)
    answer = np.full((len(peaks), planes.size), np.nan)
    for column, off in enumerate(planes):
        there = peaks + np.array([off, 0, 0])
        here = (there[:, 0] >= 0) & (there[:, 0] < len(stack))
        answer[here, column] = by_plane(mean_near, stack, there[here]) - ground[here]
    return answer


def width_along_z(profiles: Real, *, with_peak: bool) -> tuple[float, float]:
    """Return the standard deviation of a Gaussian in planes, and what tells of it.

    It is fitted to the medians of the profiles at each distance, which a few bright
    or crowded peaks do not move. Peaks that were chosen for their height are higher by
    their noise than their neighbours tell: `with_peak` says whether that is little. The
    second number is the light one plane away, as a share of the peak's.
    """
    distance = np.arange(PROFILE_REACH + 1)
    light = np.full(distance.size, np.nan)
    for k in distance:
        both = profiles[:, [PROFILE_REACH - k, PROFILE_REACH + k]]
        known = both[np.isfinite(both)]
        if known.size:  # a thin stack has no planes so far away
            light[k] = np.median(known)
    used = (distance >= (0 if with_peak else 1)) & np.isfinite(light)
    bells = np.exp(-0.5 * (distance[used] / _SIGMAS[:, None]) ** 2)
    heights = (bells * light[used]).sum(axis=1) / (bells**2).sum(axis=1)
    errors = ((light[used] - heights[:, None] * bells) ** 2).sum(axis=1)
    best = int(np.argmin(np.where(heights > 0, errors, np.inf)))
    near = float(light[1] / light[0]) if light[0] > 0 else 0.0
    return float(_SIGMAS[best]), near


def width_in_plane(stack: NDArray[np.generic], peaks: Index, ground: Real) -> Real:
    """Return the (n,) standard deviations in the plane, in pixels; NaN: not told.

    From three pixels along y and along x, as of a Gaussian above a known ground.
    """
    sizes = np.array(stack.shape[1:])
    y, x = (np.clip(peaks[:, n], 1, sizes[n - 1] - 2) for n in (1, 2))
    z, squares = peaks[:, 0], np.zeros(len(peaks))
    for dy, dx in ((1, 0), (0, 1)):
        before, at, after = (
            stack[z, y + k * dy, x + k * dx].astype(np.float64) - ground
            for k in (-1, 0, 1)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            bend = 2 * np.log(at) - np.log(before) - np.log(after)
            squares += np.where(bend > 0, 1 / bend, np.nan) / 2
    return np.sqrt(squares)
