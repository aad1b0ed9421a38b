"""The resolution of a picture of molecules: how far two halves of them agree.

Two pictures of the same place, each of half of the frames, come in. Out go their
correlation on rings of equal spatial frequency, and the length at which it falls to
1 / 7. Halves are drawn by blocks of frames, not by localisations: a molecule that is
seen in several frames would lie in both halves and make any picture look sharp. Nothing
here knows tables.

Source: Nieuwenhuizen, Lidke et al. 2013 (doi:10.1038/nmeth.2448).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.signal.windows import tukey

Real = NDArray[np.float64]
BLOCKS: Final = 50
"""Runs of frames of which half are drawn."""
THRESHOLD: Final = 1 / 7
_TAPER: Final = 0.25
"""Share of a picture's width that the window takes off, half of it at each side."""
_SPAN: Final = 20
"""The curve is smoothed over a share of this, to each side of a ring."""


class Rings(NamedTuple):
    """Agreement of two pictures by spatial frequency."""

    frequency: Real
    """(n,) cycles per pixel, 0 to 0.5."""
    correlation: Real
    """(n,) -1 to 1; NaN: no light at this frequency."""
    smooth: Real
    """(n,) the same, by local lines."""


def half_of_blocks(n_blocks: int, seed: int) -> NDArray[np.bool_]:
    """Return (n_blocks,) which blocks are in the first half, drawn by lot."""
    halves = np.arange(n_blocks) % 2 == 0
    return np.random.default_rng(seed).permutation(halves)


def correlate_rings(one: NDArray[Any], other: NDArray[Any]) -> Rings:
    """Return the ring correlation of two pictures (y, x) of one shape.

    They fade out towards the edges (Tukey), and rings are one frequency of the longer
    side wide.
    """
    shape = one.shape
    window = np.outer(*(tukey(n, _TAPER) for n in shape))
    first, second = (fft.rfft2(each * window) for each in (one, other))
    y, x = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None]
    n = max(shape) // 2 + 1
    ring = np.rint(np.hypot(y, x) * max(shape)).astype(np.int64)
    inside = ring < n
    # Half of the plane stands for the other, but for the columns that are both.
    twice = np.full(ring.shape, 2.0)
    twice[:, 0] = 1.0
    if shape[1] % 2 == 0:
        twice[:, -1] = 1.0

    def sums(values: Real) -> Real:
        weighted = (values * twice)[inside]
        return np.bincount(ring[inside], weighted, n).astype(np.float64)

    product = sums((first * second.conj()).real)
    power = np.sqrt(sums(np.abs(first) ** 2) * sums(np.abs(second) ** 2))
    correlation = np.full(n, np.nan)
    np.divide(product, power, out=correlation, where=power > 0)
    frequency = np.arange(n) / max(shape)
    return Rings(frequency, correlation, _smooth(correlation))


def _smooth(values: Real) -> Real:
    """Return local lines through the values, weighted by nearness (tricube)."""
    n = len(values)
    reach = max(2, n // _SPAN) + 1
    known = np.where(np.isfinite(values), values, 0.0)
    offset = np.arange(-reach, reach + 1)
    weight = (1 - np.abs(offset / reach) ** 3) ** 3
    at = np.arange(n)[:, None] + offset
    there = (at >= 0) & (at < n)
    at = np.clip(at, 0, n - 1)
    w = weight * there * np.isfinite(values)[at]
    total = w.sum(axis=1)
    total = np.where(total > 0, total, np.nan)
    middle = (w * offset).sum(axis=1) / total
    mean = (w * known[at]).sum(axis=1) / total
    away = offset - middle[:, None]
    spread = (w * away**2).sum(axis=1)
    slope = (w * away * known[at]).sum(axis=1) / np.where(spread > 0, spread, np.nan)
    return np.asarray(mean - np.nan_to_num(slope) * middle)


def resolution_nm(rings: Rings, pixel_nm: float) -> float:
    """Return the length at which the smoothed correlation first falls below 1 / 7.

    NaN if it never does, or if it is below from the beginning.
    """
    smooth, frequency = rings.smooth, rings.frequency
    below = np.flatnonzero(smooth[1:] < THRESHOLD) + 1
    if not below.size or below[0] < 2 or not smooth[below[0] - 1] >= THRESHOLD:
        return float("nan")
    i = int(below[0])
    share = (smooth[i - 1] - THRESHOLD) / (smooth[i - 1] - smooth[i])
    crossing = frequency[i - 1] + share * (frequency[i] - frequency[i - 1])
    return float(pixel_nm / crossing)
