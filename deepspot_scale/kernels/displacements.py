"""The displacement that two point sets share: many images in, one vector or none out.

All displacements from a point of the one set to the points of the other near it are
counted in windows. Those of true partners gather in one window, which counts only if so
many places of the images agree on it that chance would not give it in any window.
Nothing here knows channels, fits or tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.kernels.pairing import Points

SEARCH: Final = (3.0, 10.0, 10.0)
"""Largest shift that is looked for, in planes and pixels along z, y, x."""
_BIN: Final = 0.5
"""Width of the histogram's bins, in pixels and planes."""
_WIDTHS: Final = (4, 8, 12)
"""Bins of a window along y and x, tried in turn: a shift that changes with the place
spreads its partners. Two pixels, the least, hold as many whole positions wherever the
window begins, so points on whole pixels make no peaks of their own."""
_DEPTH: Final = 4
"""Bins of a window along z."""
_TILE: Final = 10.0
"""Edge in pixels of the tiles of an image that must agree on a peak. One cluster of
spots near another one makes many displacements that are alike, but in one tile."""
_LEAST_T: Final = 5.0
"""Of a peak's excess over the tiles; chance gives as much in one window with the tail
of a normal distribution, 3e-7, however points gather inside tiles. There are some
thousand windows. 25 tiles with one pair each are the fewest that can reach it."""
_ROUNDS: Final = 50

Images = Sequence[tuple[Points, Points]]
"""Of each image the points of the one channel and those of the other, (n, d) and (m,
d); d is 2 for y and x, or 3 with z, in pixels and planes."""


class Common(NamedTuple):
    """A displacement that many points share."""

    gap: Points
    """(d,)."""
    n_points: float
    """Points that have it beyond what chance gives, at least."""


def iter_common(images: Images) -> Iterator[Common]:
    """Yield displacements that stand out of all others, in narrow windows first."""
    d = images[0][0].shape[1]
    reach = np.array(SEARCH[-d:])
    found = [_displacements(*image, reach) for image in images]
    gaps = np.concatenate([each.gaps for each in found])
    starts, tiles = (
        _number_on([getattr(each, name) for each in found])
        for name in ("starts", "tiles")
    )
    if len(gaps) == 0:
        return
    edges = [np.arange(-most, most + _BIN / 2, _BIN) for most in reach]
    counts = np.histogramdd(gaps, edges)[0]
    for width in _WIDTHS:
        widths = np.array((_DEPTH, width, width)[-d:])
        low = _fullest_window(counts, widths) * _BIN - reach
        within = (gaps >= low) & (gaps < low + widths * _BIN)
        inside: NDArray[np.bool_] = np.asarray(within.all(axis=1))
        share = float(np.prod(widths * _BIN / (2 * reach)))
        if _is_shared(tiles, inside, share):
            middle = np.median(gaps[inside], axis=0)
            centre = _settle(gaps, middle, widths * _BIN / 2)
            n_points = len(np.unique(starts[inside])) - share * len(gaps)
            yield Common(centre, n_points)


def _fullest_window(
    counts: NDArray[np.float64], widths: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the first bin along each axis of the window with the most counts."""
    windows = counts
    for axis, width in enumerate(widths):
        total = np.cumsum(np.insert(windows, 0, 0, axis), axis)
        ends = np.arange(width, total.shape[axis])
        windows = total.take(ends, axis) - total.take(ends - width, axis)
    return np.array(np.unravel_index(int(windows.argmax()), windows.shape))


class _Displacements(NamedTuple):
    gaps: Points
    """(n, d)."""
    starts: NDArray[np.int64]
    """(n,), number of the point that each starts from."""
    tiles: NDArray[np.int64]
    """(n,), number of the tile that this point is in."""


def _displacements(one: Points, other: Points, reach: Points) -> _Displacements:
    """Return all displacements from the one to the other within a box."""
    near = KDTree(one / reach).sparse_distance_matrix(
        KDTree(other / reach), 1.0, p=np.inf, output_type="ndarray"
    )
    gaps = other[near["j"]] - one[near["i"]]
    inside = (gaps < reach).all(axis=1)
    starts = near["i"][inside].astype(np.int64)
    places = np.floor(one[starts][:, -2:] / _TILE)
    _, tiles = np.unique(places, axis=0, return_inverse=True)
    return _Displacements(gaps[inside], starts, tiles.reshape(-1))


def _number_on(numbers: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the numbers of all images, each image's after those of the one before."""
    ends = np.cumsum([0, *(int(own.max(initial=-1)) + 1 for own in numbers)])
    return np.concatenate([own + n for own, n in zip(numbers, ends, strict=False)])


def _is_shared(
    tiles: NDArray[np.int64], inside: NDArray[np.bool_], share: float
) -> bool:
    """Return whether many tiles have more displacements in a window than an even share.

    The excess of all tiles over its own root of squares: such a self-normalised sum has
    the tails of the normal distribution, whatever single tiles do: de la Pena et al.
    2009, https://doi.org/10.1007/978-3-540-85636-8.
    """
    total = np.bincount(tiles)
    excess = np.bincount(tiles, inside, len(total)) - share * total
    return bool(excess.sum() >= _LEAST_T * np.sqrt((excess**2).sum()))


def _settle(gaps: Points, centre: Points, half: Points) -> Points:
    """Return the fixed point of the median about a centre, in a window's half width."""
    for _ in range(_ROUNDS):
        new = np.median(gaps[(np.abs(gaps - centre) <= half).all(axis=1)], axis=0)
        if np.array_equal(new, centre):
            break
        centre = new
    return np.asarray(centre)
