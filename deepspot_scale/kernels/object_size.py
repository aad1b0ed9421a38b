"""What a whole plane says before its objects are looked for: brightness and size.

A plane of counts goes in; the scale to a network's range, and the typical diameter of
bright round objects, come out. Nothing here finds an object.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LOW, HIGH = 1.0, 99.8
"""Percentiles of a plane that become 0 and 1."""
RANGE: Final = (-0.5, 4.0)
"""Where normalised values are cut."""
_EDGE: Final = 1024
"""Longest edge of the plane, reduced, on which sizes are measured."""
_LEAST: Final = 3.0
"""Least diameter that can be measured, pixels of the reduced plane."""
_EACH: Final = 2
"""Of so many pixels along each axis one tells of the background's level."""
_CONTRAST: Final = 4.0
"""Objects stand out of the background by this many of its spreads, or none is seen."""


_WIDEST: Final = 1 / 2
"""Of the plane's shorter side: a larger diameter is not believed."""
_DOUBTFUL: Final = 1 / 6
"""Of the plane's shorter side: a larger one may be that of a flare."""
_BACKGROUND: Final = (1 / 4, 1 / 8)
"""Of the plane's shorter side: what is wider is background, where there is doubt."""
_KEPT: Final = 0.35
"""Of the plane's contrast: so much is left without the background if objects are."""


class PlaneScale(NamedTuple):
    """The scale of a plane to a network's range."""

    low: float
    """Counts that become 0."""
    high: float
    """Counts that become 1; above `low`."""

    def __call__(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Return normalised counts of any shape."""
        span = np.float32(self.high - self.low)
        scaled = (counts.astype(np.float32) - np.float32(self.low)) / span
        return np.asarray(np.clip(scaled, *RANGE), np.float32)


def scale_plane(plane: NDArray[Any]) -> PlaneScale:
    """Return the scale of a plane or stack of finite counts; no contrast becomes 0."""
    low, high = np.percentile(plane, [LOW, HIGH])
    if high <= low:
        high = max(float(plane.max()), float(low) + 1.0)
    return PlaneScale(float(low), float(high))


def bin_plane(plane: NDArray[Any], binning: int) -> NDArray[np.float32]:
    """Return the means of squares of `binning` pixels; sides are filled by repetition.

    The answer has the shape of the plane over `binning`, rounded up.
    """
    if binning == 1:
        return plane.astype(np.float32)
    height, width = (-length % binning for length in plane.shape)
    if height or width:
        plane = np.pad(plane, ((0, height), (0, width)), mode="edge")
    rows, columns = (length // binning for length in plane.shape)
    sums = np.zeros((rows, columns))
    for y in range(binning):
        for x in range(binning):
            sums += plane[y::binning, x::binning]
    return np.asarray(sums / binning**2, np.float32)


def enlarge_plane(
    plane: NDArray[Any], times: int, start: tuple[int, int], stop: tuple[int, int]
) -> NDArray[np.float32]:
    """Return a part of a plane with `times` as many pixels along y and x.

    Values are interpolated linearly between the centres of pixels; beyond the sides the
    plane is repeated. `start` and `stop` are pixels of the enlarged plane; the part is
    equal to that of the whole, to the bit.
    """
    if times == 1:
        return plane[start[0] : stop[0], start[1] : stop[1]].astype(np.float32)
    part = plane.astype(np.float32)
    for axis in (0, 1):
        at = np.arange(start[axis], stop[axis])
        # Where the centre of a pixel lies, in pixels of the plane: lower + share.
        lower, phase = np.divmod(2 * at + 1 - times, 2 * times)
        last = plane.shape[axis] - 1
        near = part.take(lower.clip(0, last), axis)
        far = part.take((lower + 1).clip(0, last), axis)
        share = (phase / (2 * times)).astype(np.float32)
        part = near + (far - near) * np.expand_dims(share, 1 - axis)
    return part


def typical_diameter(plane: NDArray[Any]) -> float | None:
    """Return the typical diameter of bright round objects in pixels.

    Half of the objects' area belongs to larger ones. Objects are what exceeds Otsu's
    threshold; those that touch are taken for as many as their distance transform has
    maxima. Where none is seen, or they are so large that they may be stray light, the
    background is taken away first. None: no object stands out.
    """
    binning = max(1, -(-max(plane.shape) // _EDGE))
    small = _smooth(bin_plane(plane, binning))
    side = min(small.shape)
    diameter = _diameter(small)
    if diameter is None or diameter > _DOUBTFUL * side:
        diameter = _diameter_on_background(small) or diameter
    # What fills half of the plane is light behind the objects, not an object.
    if diameter is None or diameter > _WIDEST * side:
        return None
    return float(diameter * binning)


def fill_holes(
    mask: NDArray[np.bool_], largest: float | None = None
) -> NDArray[np.bool_]:
    """Return a mask (y, x) with the holes that it encloses; diagonal gaps enclose.

    Holes of more than `largest` pixels stay; None: none stays.
    """
    outside = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    cv2.floodFill(outside, None, (0, 0), 2)
    filled = np.asarray(outside[1:-1, 1:-1] != 2)
    if largest is None:
        return filled
    holes = (filled & ~mask).astype(np.uint8)
    _, numbers, measures, _ = cv2.connectedComponentsWithStats(holes, connectivity=4)
    small = measures[:, cv2.CC_STAT_AREA] <= largest
    small[0] = False
    return np.asarray(mask | small[numbers])


def _smooth(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a plane blurred by a Gaussian of one pixel."""
    whole = np.ascontiguousarray(plane)
    blurred = cv2.GaussianBlur(whole, (9, 9), 1.0, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def _diameter_on_background(small: NDArray[np.float32]) -> float | None:
    for share in _BACKGROUND:
        flat = small - _background(small, max(3, round(share * min(small.shape))))
        if _contrast(flat) < _KEPT * _contrast(small):
            return None
        diameter = _diameter(flat)
        if diameter is not None:
            return diameter
    return None


def _background(small: NDArray[np.float32], wide: int) -> NDArray[np.float32]:
    """Return what is wider than so many pixels, smoothed."""
    opened = ndimage.grey_opening(small, wide)
    smooth = ndimage.gaussian_filter(opened, wide / 4)
    return np.asarray(np.minimum(small, smooth), np.float32)


def _contrast(small: NDArray[np.float32]) -> float:
    low, high = np.percentile(small, [LOW, HIGH])
    return float(high - low)


def _diameter(small: NDArray[Any]) -> float | None:
    """Return the typical diameter in pixels of a smooth plane."""
    from skimage.filters import threshold_otsu

    high = np.percentile(small, HIGH)
    small = np.minimum(small, high)
    if small.max() <= small.min():
        return None
    # Dim objects beside bright ones count too: roots bring them closer.
    rooted = np.sqrt(small - small.min())
    cut = threshold_otsu(rooted)
    above = rooted > cut
    some = rooted[::_EACH, ::_EACH]
    dark, bright = some[some <= cut], some[some > cut]
    level = np.median(dark) if dark.size else cut
    spread = 1.4826 * float(np.median(np.abs(dark - level))) if dark.size else 0.0
    if not bright.size or np.median(bright) - level < _CONTRAST * spread:
        return None
    padded = np.pad(fill_holes(above), 1, mode="edge").astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = _smooth(np.asarray(depth[1:-1, 1:-1], np.float32)).astype(np.float64)
    peaks = depth == cv2.dilate(depth, np.ones((5, 5), np.uint8))
    radii = np.sort(depth[peaks & above & (depth >= _LEAST / 2)])
    if not radii.size:
        return None
    area = np.cumsum(radii**2)
    return float(2 * radii[np.searchsorted(area, area[-1] / 2)])
