"""How precisely molecules were localised, by those that are seen in the next frame too.

Frames and places come in, in the order of frames and in parts as they arrive; counts of
distances to the nearest localisation of the next frame go out, and from them one
precision. No fit's own word, and no photons, are needed. Nothing here knows tables.

Source: NeNA, Endesfelder, Malkusch, Fricke, Heilemann 2014
(doi:10.1007/s00418-014-1192-3).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.spatial import KDTree

Real = NDArray[np.float64]
Index = NDArray[np.int64]
BINS_NM: Final = 200
"""Bins of a nanometre; farther neighbours are other molecules."""
LEAST_PAIRS: Final = 200
"""With fewer distances no precision is told."""
_SURE: Final = 5.0
"""Standard errors that the precision, and the molecules it stands on, must be above 0;
the far neighbours of other molecules alone fit a wide curve by chance."""


class NearestDistances(NamedTuple):
    """Distances so far, and the frame that the next one is compared with."""

    counts: Index
    """(BINS_NM,) distances in each nanometre."""
    frame: int
    """Last frame; below 0: none yet."""
    places_nm: Real
    """(m, 2) its localisations."""


def no_distances() -> NearestDistances:
    """Return the state before the first frame."""
    return NearestDistances(np.zeros(BINS_NM, np.int64), -2, np.zeros((0, 2)))


def count_distances(
    state: NearestDistances, frames: Index, places_nm: Real
) -> NearestDistances:
    """Return the state after more frames.

    Parameters
    ----------
    state
        State after the frames before.
    frames
        (n,) ascending, all after those of earlier parts: a part has whole frames.
    places_nm
        (n, 2) finite.
    """
    counts, last, before = state.counts.copy(), state.frame, state.places_nm
    starts = np.flatnonzero(np.diff(frames, prepend=-1))
    for first, stop in pairwise([*starts, len(frames)]):
        frame, places = int(frames[first]), places_nm[first:stop]
        if frame == last + 1 and len(before):
            away, _ = KDTree(places).query(before, distance_upper_bound=BINS_NM)
            near = np.floor(away[away < BINS_NM]).astype(np.int64)
            counts += np.bincount(near, minlength=BINS_NM)
        last, before = frame, places
    return NearestDistances(counts, last, before)


def nearest_precision_nm(counts: Index) -> float:
    """Return the standard deviation of places along one axis; NaN: not to be told.

    Fitted are the distances of two looks at one molecule,
    d / (2 s^2) exp(-d^2 / 4 s^2), and those of other molecules: a Gaussian for near
    ones, and a share that grows with d.
    Each bin counts by its Poisson noise.
    """
    if counts.sum() < LEAST_PAIRS:
        return float("nan")
    far = np.arange(BINS_NM, dtype=np.float64) + 0.5
    seen = counts.astype(np.float64)
    noise = np.sqrt(np.maximum(seen, 1.0))
    start = _start(far, seen)
    scale = np.maximum(np.abs(start), 1e-6)
    lowest, highest = [0, 1, 0, 5, 5, 0], [np.inf, 100, np.inf, 400, 200, np.inf]
    bounds = np.array([lowest, highest]) / scale

    def left(values: Real) -> Real:
        return np.asarray((_distances(far, values * scale) - seen) / noise)

    fit = least_squares(left, np.clip(start / scale, *bounds), bounds=bounds)
    values = fit.x * scale
    error = scale * np.sqrt(np.diag(np.linalg.pinv(fit.jac.T @ fit.jac)))
    told = values[0] > _SURE * error[0] and values[1] > _SURE * error[1]
    known = fit.success and told and 1.001 < values[1] < 99.9
    return float(values[1]) if known else float("nan")


def _start(far: Real, seen: Real) -> Real:
    """Return a first guess: what lies near the first high place is one molecule."""
    smooth = np.convolve(seen, np.ones(5) / 5, "same")
    slope = np.median(seen[-50:] / far[-50:])
    own = smooth - slope * far
    s = max(float(far[np.argmax(own)]) / np.sqrt(2), 2.0)
    total = max(float(own[far < 5 * s].sum()), 1.0)
    return np.array([total, s, 0.1 * total, 4 * s, 2 * s, max(slope, 1e-3)])


def _distances(far: Real, values: Real) -> Real:
    one, s, near, centre, width, slope = values
    own = one * far / (2 * s**2) * np.exp(-(far**2) / (4 * s**2))
    bell = np.exp(-0.5 * ((far - centre) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return np.asarray(own + near * bell + slope * far)
