"""Brightness scale of a field: a mergeable histogram in, two numbers out.

The scale belongs to the field, never to a block: a block's own maximum would make
seams. Low and high are quantiles of all pixels, so gain and offset of a camera do
not matter and one hot pixel does not either. Counts are integers, so merging is
exact in any order. Pixels of a wide dtype that lie beyond all measure, as a division by
a dead pixel leaves them, are cut before bins are laid. Nothing here knows where the
pixels came from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

BINS = 1 << 16
_EXACT_COUNT = 1 << 24
"""Pixels that OpenCV's counts, which are float32, hold exactly."""
MOST_SPREADS = 1000
"""Pixels this many times farther from the others than these are from one another are
defects: bins that reached to them would hold all others at once."""
CLIP = (-1.0, 10.0)
"""Normalised range that the network was trained on; brighter pixels are cut."""


@dataclass(frozen=True)
class Range:
    """Least and largest finite value, and how many pixels are not finite."""

    low: float = np.inf
    high: float = -np.inf
    n_not_finite: int = 0

    def __add__(self, other: Range) -> Range:
        """Merge two ranges; `Range()` is the identity."""
        return Range(
            min(self.low, other.low),
            max(self.high, other.high),
            self.n_not_finite + other.n_not_finite,
        )


def exact_range(dtype: np.dtype) -> Range | None:
    """Return the range of a dtype so narrow that each value has its own bin."""
    if dtype.kind in "ui" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return Range(float(limits.min), float(limits.min + BINS - 1))
    if dtype.kind == "b":
        return Range(0.0, float(BINS - 1))
    return None


def measure_range(values: NDArray[np.generic]) -> Range:
    """Return the range of `values` (any shape); known at once for 8 and 16 bits."""
    known = exact_range(values.dtype)
    if known is not None:
        return known
    return _range_of(*_finite(values))


def _finite(values: NDArray[np.generic]) -> tuple[NDArray[np.generic], int]:
    """Return the finite values, and how many are not."""
    finite = np.isfinite(values)
    n = int(values.size - np.count_nonzero(finite))
    return (values[finite] if n else values), n


def _range_of(kept: NDArray[np.generic], n_not_finite: int) -> Range:
    if kept.size == 0:
        return Range(n_not_finite=n_not_finite)
    return Range(float(kept.min()), float(kept.max()), n_not_finite)


@dataclass(frozen=True)
class Spread:
    """How pixels of a wide dtype lie: their range, and coarse counts within it."""

    range: Range
    """Of all pixels."""
    counts: NDArray[np.int64]
    """(BINS,), pixels by the leading 16 bits of their float32, ascending by value."""

    def __add__(self, other: Spread) -> Spread:
        """Merge two spreads."""
        return Spread(self.range + other.range, self.counts + other.counts)

    def without_wild(self) -> Range:
        """Return the range, cut where single pixels are far from all others."""
        total = int(self.counts.sum())
        ranks = (max(1, int(0.01 * total)), max(1, int(np.ceil(0.999 * total))))
        first, last = np.searchsorted(np.cumsum(self.counts), ranks)
        if first == last:  # all alike but a few: these say what bright is
            return self.range
        low, high = _lower_edge(int(first)), _lower_edge(int(last) + 1)
        most = MOST_SPREADS * (high - low)
        return replace(
            self.range,
            low=max(self.range.low, low - most),
            high=min(self.range.high, high + most),
        )


def measure_spread(values: NDArray[np.generic]) -> Spread:
    """Return the spread of `values` of any shape and a wide dtype."""
    kept, n = _finite(values)
    with np.errstate(over="ignore"):
        bits = kept.astype(np.float32).ravel().view(np.uint32)
    # Of negative numbers all bits are turned, so that keys ascend with values.
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> 16
    return Spread(_range_of(kept, n), np.bincount(keys, minlength=BINS))


def _lower_edge(key: int) -> float:
    """Return the least value of the pixels that are counted under a key."""
    bits = np.uint32(key << 16)
    bits = bits & np.uint32(0x7FFFFFFF) if key >> 15 else ~bits
    return float(bits.view(np.float32))


def count_values(values: NDArray[np.generic], span: Range) -> NDArray[np.int64]:
    """Count pixels in `BINS` equal bins, the first centred on low, the last on high.

    Pixels beyond them are counted in the first and the last.
    """
    if values.dtype == np.uint16 and values.size > BINS:
        return _count_uint16(np.asarray(values, np.uint16).ravel())
    if exact_range(values.dtype) is not None:
        index = values.astype(np.int64).ravel() - int(span.low)
    else:
        step = (span.high - span.low) / (BINS - 1) or 1.0
        cut = np.clip(values.astype(np.float64), span.low, span.high)
        scaled = (cut - span.low) / step
        index = np.floor(scaled + 0.5).astype(np.int64).ravel()
    return np.bincount(index, minlength=BINS)


def _count_uint16(values: NDArray[np.uint16]) -> NDArray[np.int64]:
    """Count each value; ten times as fast as `numpy.bincount`, which widens them."""
    import cv2

    total = np.zeros(BINS, np.int64)
    for start in range(0, values.size, _EXACT_COUNT):
        part = values[start : start + _EXACT_COUNT].reshape(1, -1)
        counts = cv2.calcHist([part], [0], None, [BINS], [0, BINS])
        total += counts.ravel().astype(np.int64)
    return total


def quantile(counts: NDArray[np.int64], span: Range, q: float) -> float:
    """Return the value below or at which a share `q` of the counted pixels lies.

    The answer is the least bin centre that reaches the share, so it does not
    depend on how pixels were grouped before they were counted.
    """
    total = int(counts.sum())
    rank = max(1, int(np.ceil(q * total)))
    index = int(np.searchsorted(np.cumsum(counts), rank))
    return span.low + index * (span.high - span.low) / (BINS - 1)


@dataclass(frozen=True)
class Scale:
    """Map raw counts to the network's range: (value - low) / (high - low)."""

    low: float
    high: float

    def __call__(self, values: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return float32 of the same shape, cut to `CLIP`; a constant gives 0."""
        width = self.high - self.low
        factor = 1.0 / width if width > 0 else 0.0
        scaled = values.astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(factor)
        return np.clip(scaled, *CLIP, out=scaled)


def quantile_scale(
    values: NDArray[np.generic], low: float = 0.01, high: float = 0.999
) -> Scale:
    """Return the scale of one whole array; the undistributed twin of the pieces."""
    known = exact_range(values.dtype)
    span = known or measure_spread(values).without_wild()
    counts = count_values(values, span)
    return Scale(quantile(counts, span, low), quantile(counts, span, high))
