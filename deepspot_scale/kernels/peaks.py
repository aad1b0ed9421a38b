"""From pixels above a threshold to spots: peaks, objects, positions, intensities.

Everything works on one window of a field. Sub-pixel positions are coordinates of the
field: adding a window's origin to a fraction later would round differently in each
window. Pixels are compared by value and, if values are equal, by raster order, so there
are no ties, and a window has the same order as the whole field. Sums over neighbours
have a fixed order, pixel by pixel, so a spot's numbers do not depend on other spots.
Nothing here knows thresholds, blocks or tables.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Real = NDArray[np.float64]


def _square(distance: int) -> Index:
    side = np.arange(-distance, distance + 1)
    square: Index = np.stack(np.meshgrid(side, side, indexing="ij"), -1)
    return square.reshape(-1, 2)


def _offsets(inner: float, outer: float) -> Index:
    """Return the (k, 2) pixels from `inner` to `outer` px away, in raster order."""
    around = _square(int(outer))
    distance = (around**2).sum(axis=1)
    ring: Index = around[(inner**2 <= distance) & (distance <= outer**2)]
    return ring


def _pushed_out(ring: Index, inner: float, outer: float) -> Index:
    """Return as many pixels farther away, in the same directions."""
    away = np.hypot(*ring.T)
    share = (away - away.min()) / (away.max() - away.min())
    factor = (inner + share * (outer - inner)) / away
    farther: Index = np.rint(ring * factor[:, None]).astype(np.int64)
    return farther


_RING = _offsets(4.5, 6.2)
_RINGS = (_RING, _pushed_out(_RING, 7, 9), _pushed_out(_RING, 12, 14.3))
"""Pixels that give the background of spots up to a standard deviation of 1.5, 2.3 and
3.5 px: 3 standard deviations away, where a spot has 1 % of its light."""
_TOO_WIDE = (0.19, 0.42)
"""Of a spot that needs the next ring: what its flank has of the light of its middle."""
_FLANK = _offsets(2.2, 3.7)
"""Offsets of the 32 pixels that tell a spot's width, 2.2 to 3.6 px away."""
_DOUBT = 0.85
"""Noise of one pixel by which a flank must be brighter than the ring: three standard
errors of the difference of their medians. Dim narrow spots keep the narrow ring."""
_CROWDED = 1.5
"""A ring with more noise than this times the narrower one's lies on other spots."""
RING_REACH = 14
"""Largest offset in pixels that `photometry` and `refine` read, for `step` 1."""


class Objects(NamedTuple):
    """Spots found in one window."""

    y: Index
    """(n,) row of each peak in the window."""
    x: Index
    """(n,) column of each peak."""
    area: Index
    """(n,) pixels of the object."""
    extent: Index
    """(n,) largest Chebyshev distance of the object's pixels from its peak."""


def climb(mask: NDArray[np.bool_], response: NDArray[np.float32]) -> Objects:
    """Split a mask into objects: each pixel belongs to the peak that it climbs to.

    From a pixel the next step is to its neighbour of largest response among the eight
    inside the mask; a pixel without larger neighbour is a peak. Touching spots are
    split at the valley.
    """
    width = mask.shape[1] + 2
    padded_mask = np.pad(mask, 1)
    values = np.pad(response, 1).ravel()
    pixels = np.flatnonzero(padded_mask)
    place = np.full(padded_mask.size, -1, np.int64)
    place[pixels] = np.arange(pixels.size)
    best = np.arange(pixels.size)
    best_value = values[pixels]
    for step in (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1):
        neighbour = place[pixels + step]
        value = values[pixels + step]
        # Of equal values, the later one in raster order counts as larger.
        larger = (neighbour >= 0) & (
            (value > best_value) | ((value == best_value) & (neighbour > best))
        )
        best = np.where(larger, neighbour, best)
        best_value = np.where(larger, value, best_value)
    while not np.array_equal(further := best[best], best):
        best = further
    return _objects(pixels, best, width)


def _objects(pixels: Index, root: Index, width: int) -> Objects:
    """Measure the object of each root; `pixels` are indices in the padded window."""
    peaks = np.flatnonzero(root == np.arange(root.size))
    number = np.zeros(root.size, np.int64)
    number[peaks] = np.arange(peaks.size)
    owner = number[root]
    rows, columns = np.divmod(pixels, width)
    distance = np.maximum(
        np.abs(rows - rows[peaks][owner]), np.abs(columns - columns[peaks][owner])
    )
    extent = np.zeros(peaks.size, np.int64)
    np.maximum.at(extent, owner, distance)
    area = np.bincount(owner, minlength=peaks.size)
    return Objects(rows[peaks] - 1, columns[peaks] - 1, area, extent)


def highest_near(
    response: NDArray[np.float32],
    taken: NDArray[np.bool_],
    y: Index,
    x: Index,
    distance: int,
) -> tuple[Index, Index]:
    """Return those of some pixels that are highest, and alone, up to a distance.

    In the square of `distance` pixels to each side no pixel of the (y, x) response is
    larger, and none is taken; of equal ones the last in raster order is highest.
    """
    place, value = y * response.shape[1] + x, response[y, x]
    for dy, dx in _square(distance):
        rows = (y + dy).clip(0, response.shape[0] - 1)
        columns = (x + dx).clip(0, response.shape[1] - 1)
        other, at = response[rows, columns], rows * response.shape[1] + columns
        larger = (other > value) | ((other == value) & (at > place))
        keep = ~(larger | taken[rows, columns])
        y, x, place, value = y[keep], x[keep], place[keep], value[keep]
    return y, x


def count_near(mask: NDArray[np.bool_], y: Index, x: Index, distance: int) -> Index:
    """Return how many pixels of a mask lie in the square around each of (n,) pixels."""
    padded = np.pad(mask, distance)
    count = np.zeros(y.size, np.int64)
    for dy, dx in _square(distance):
        count += padded[y + dy + distance, x + dx + distance]
    return count


class Components(NamedTuple):
    """Connected components of one window."""

    y: Real
    """(n,) centre of mass, rows in the field."""
    x: Real
    """(n,) centre of mass, columns in the field."""
    area: Index
    """(n,) pixels."""
    extent: Index
    """(n,) larger edge of the bounding box minus one, in pixels."""
    of_peak: Index
    """(peaks,) component of each given peak."""


def connect(
    mask: NDArray[np.bool_],
    weight: NDArray[np.float32],
    peaks: Objects,
    origin: tuple[int, int] = (0, 0),
) -> Components:
    """Return the 8-connected components of a (y, x) mask, with their centres of mass.

    Weights, the mass of each pixel, are whole numbers from 0; `peaks` are of the same
    mask; `origin` is the row and column of the window's first pixel in the field.
    """
    import cv2

    n, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    rows, columns = np.nonzero(mask)
    owner = labels[rows, columns].astype(np.int64) - 1
    mass = weight[rows, columns].astype(np.float64) + 1  # avoids a total mass of 0
    count = n - 1
    total = np.bincount(owner, mass, count)
    box = np.full((4, count), -(1 << 40), np.int64)
    edges: tuple[Index, ...] = (-rows, rows, -columns, columns)
    for number, values in enumerate(edges):
        np.maximum.at(box[number], owner, values)
    return Components(
        y=np.bincount(owner, mass * (rows + origin[0]), count) / total,
        x=np.bincount(owner, mass * (columns + origin[1]), count) / total,
        area=np.bincount(owner, minlength=count),
        extent=np.maximum(box[0] + box[1], box[2] + box[3]),
        of_peak=labels[peaks.y, peaks.x].astype(np.int64) - 1,
    )


def _gather(
    image: NDArray[np.generic], y: Index, x: Index, around: Index, step: int
) -> Real:
    """Read the pixels around others; outside the image the border pixel is repeated.

    For pixels (...) and (k, 2) offsets in units of `step` the answer is (k, ...).
    """
    dy, dx = step * around.reshape(-1, 2, *(1 for _ in y.shape)).swapaxes(0, 1)
    rows = (y + dy).clip(0, image.shape[0] - 1)
    columns = (x + dx).clip(0, image.shape[1] - 1)
    # One index is several times faster than two.
    pixels = image.ravel().take(rows * image.shape[1] + columns)
    return np.asarray(pixels, np.float64)


def beside(image: NDArray[np.generic], y: Index, x: Index, value: float) -> Any:
    """Return which (n,) pixels have one of a value among their 5x5 pixels."""
    near = _gather(np.ascontiguousarray(image), y, x, _SPLINE_AT, 1)
    return (near == value).any(axis=0)


def _smoothed(image: NDArray[np.generic], y: Index, x: Index, step: int) -> Real:
    """Filter with the 5x5 B3 spline, taps `step` apart; return values at pixels."""
    total = np.zeros(y.shape)
    for at, weight in zip(_SPLINE_AT, _SPLINE, strict=True):
        total += weight * _gather(image, y, x, at, step)[0]
    return total / 256


def refine(
    image: NDArray[np.generic],
    y: Index,
    x: Index,
    origin: tuple[int, int] = (0, 0),
    *,
    step: int = 1,
) -> tuple[Real, Real]:
    """Move whole-pixel peaks to the sub-pixel maximum of the smoothed raw image.

    One step to the largest of the eight neighbours, then to the maximum of the parabola
    through three points along each axis, at most half a step away. The image has the
    raw counts (y, x) of a window, whose first pixel is `origin` in the field; the (n,)
    peaks are in the window, the answers in the field. `step` is the distance of sampled
    pixels, more than 1 for wide spots.
    """

    def at(offsets: Index) -> Real:
        """Return smoothed values (k, n) at (k, 2) offsets around the best pixels."""
        dy, dx = step * offsets.T[:, :, None]
        return _smoothed(image, best_y + dy, best_x + dx, step)

    image = np.ascontiguousarray(image)
    best_y, best_x = y, x
    values = at(_NEIGHBOURS)
    # Of equal values the first wins: the peak itself, then the listed order.
    largest = values.argmax(axis=0)
    best = values[largest, np.arange(y.size)]
    off_y, off_x = step * _NEIGHBOURS[largest].T
    best_y = np.clip(y + off_y, 0, image.shape[0] - 1)
    best_x = np.clip(x + off_x, 0, image.shape[1] - 1)
    above, left, right, below = at(_NEIGHBOURS[1:5])
    at_y = best_y + origin[0] + step * _summit(above, best, below)
    return at_y, best_x + origin[1] + step * _summit(left, best, right)


_NEIGHBOURS = np.array(
    [(0, 0), (-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]
)
_SPLINE_AT = np.array([(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)])
_SPLINE = np.multiply.outer((1, 4, 6, 4, 1), (1, 4, 6, 4, 1)).ravel()


def _summit(before: Real, at: Real, after: Real) -> Real:
    """Return the position of the parabola's maximum, from -0.5 to 0.5."""
    bend = 2 * at - before - after
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = (after - before) / (2 * bend)
    return np.where(bend > 0, np.clip(offset, -0.5, 0.5), 0.0)


def mean_near(image: NDArray[np.generic], y: Index, x: Index, *, step: int = 1) -> Real:
    """Return the mean of the 3x3 pixels at each of (n,) pixels of a (y, x) image."""
    near = _gather(np.ascontiguousarray(image), y, x, _NEIGHBOURS, step)
    total = np.zeros(y.size)
    for values in near:
        total += values
    return total / len(near)


def photometry(
    image: NDArray[np.generic], y: Index, x: Index, *, least_noise: float, step: int = 1
) -> tuple[Real, Real]:
    """Return the background-subtracted intensity and the SNR of spots.

    Intensity is the mean of the 3x3 pixels at the peak minus the median of a ring
    around it; the noise is 1.4826 times the median absolute deviation in that ring, or
    `least_noise`, in counts above 0: a saturated ring has no noise. The image has raw
    counts (y, x); `step` is as in `refine`.

    The ring is the narrowest of `_RINGS` that does not lie on the spot itself, up to a
    standard deviation of 3.5 steps: as long as the flank of the spot is too bright for
    its ring, the next one is taken.
    """
    image = np.ascontiguousarray(image)
    middle = mean_near(image, y, x, step=step)
    flank = np.median(_gather(image, y, x, _FLANK, step), axis=0)
    background, noise = _ground(image, y, x, _RINGS[0], step)
    for share, ring in zip(_TOO_WIDE, _RINGS[1:], strict=True):
        light = flank - background
        wide = np.flatnonzero(
            (light > share * (middle - background))
            & (light > _DOUBT * np.maximum(noise, least_noise))
        )
        wider, spread = _ground(image, y[wide], x[wide], ring, step)
        clean = spread <= _CROWDED * np.maximum(noise[wide], least_noise)
        background[wide[clean]], noise[wide[clean]] = wider[clean], spread[clean]
    intensity = middle - background
    return intensity, intensity / np.maximum(noise, least_noise)


def _ground(
    image: NDArray[np.generic], y: Index, x: Index, ring: Index, step: int
) -> tuple[Real, Real]:
    """Return the median of each spot's ring, and the noise in it."""
    values = _gather(image, y, x, ring, step)
    background = np.median(values, axis=0)
    return background, 1.4826 * np.median(np.abs(values - background), axis=0)
