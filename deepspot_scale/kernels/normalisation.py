"""The brightness scale of a field: a mergeable histogram in, two numbers out.

The scale is computed per field, not per block: the maxima of blocks would make seams
visible. Low and high are quantiles of all pixels, so they do not depend on a camera's
gain and offset, or on a single hot pixel. Counts are integers, so merging is exact in
any order. Extreme outliers of a wide dtype, such as the result of a division by a dead
pixel, are cut before the bins are defined. Nothing here knows where pixels come from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.background import (
    TILE,
    complete_tiles,
    surface,
    tile_medians,
)

BINS = 1 << 16
_EXACT_COUNT = 1 << 24
"""Largest count that is exact in OpenCV's histograms, which are float32."""
MOST_SPREADS = 1000
"""A pixel whose distance from the others exceeds their spread by this factor is a
defect: if the bins reached it, one bin would contain all other pixels."""
CLIP = (-1.0, 10.0)
"""Normalised range of the network's training images; values beyond are clipped."""


@dataclass(frozen=True)
class Range:
    """Smallest and largest finite value, and the number of non-finite pixels."""

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
    """Return the range of a dtype of up to 16 bits: each value has its own bin."""
    if dtype.kind in "ui" and dtype.itemsize <= 2:
        limits = np.iinfo(dtype)
        return Range(float(limits.min), float(limits.min + BINS - 1))
    if dtype.kind == "b":
        return Range(0.0, float(BINS - 1))
    return None


@dataclass(frozen=True)
class Spread:
    """Distribution of pixels of a wide dtype: range and coarse counts."""

    range: Range
    """Range of all pixels."""
    counts: NDArray[np.int64]
    """(BINS,), counts by the leading 16 bits of float32, ascending by value."""

    def __add__(self, other: Spread) -> Spread:
        """Merge two spreads."""
        return Spread(self.range + other.range, self.counts + other.counts)

    def without_wild(self) -> Range:
        """Return the range without single pixels that are far from all others."""
        total = int(self.counts.sum())
        ranks = (max(1, int(0.01 * total)), max(1, int(np.ceil(0.999 * total))))
        first, last = np.searchsorted(np.cumsum(self.counts), ranks)
        if first == last:  # nearly all pixels are equal: the few others matter
            return self.range
        low, high = _lower_edge(int(first)), _lower_edge(int(last) + 1)
        most = MOST_SPREADS * (high - low)
        return replace(
            self.range,
            low=max(self.range.low, low - most),
            high=min(self.range.high, high + most),
        )


def measure_spread(values: NDArray[np.generic]) -> Spread:
    """Return the spread of `values`, of any shape and a wide dtype."""
    finite = np.isfinite(values)
    n = int(values.size - np.count_nonzero(finite))
    kept = values[finite] if n else values
    span = Range(n_not_finite=n)
    if kept.size:
        span = Range(float(kept.min()), float(kept.max()), n)
    with np.errstate(over="ignore"):
        bits = kept.astype(np.float32).ravel().view(np.uint32)
    # All bits of negative numbers are flipped, so that keys ascend with values.
    keys = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> 16
    return Spread(span, np.bincount(keys, minlength=BINS))


def _lower_edge(key: int) -> float:
    """Return the smallest value of the bin with this key."""
    bits = np.uint32(key << 16)
    bits = bits & np.uint32(0x7FFFFFFF) if key >> 15 else ~bits
    return float(bits.view(np.float32))


def count_values(values: NDArray[np.generic], span: Range) -> NDArray[np.int64]:
    """Count pixels in `BINS` equal bins, the first centred on low, the last on high.

    Pixels beyond are counted in the first and the last bin.
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
    """Count each value; ten times as fast as `numpy.bincount`, which casts to int64."""
    import cv2

    total = np.zeros(BINS, np.int64)
    for start in range(0, values.size, _EXACT_COUNT):
        part = values[start : start + _EXACT_COUNT].reshape(1, -1)
        counts = cv2.calcHist([part], [0], None, [BINS], [0, BINS])
        total += counts.ravel().astype(np.int64)
    return total


def quantile(counts: NDArray[np.int64], span: Range, q: float) -> float:
    """Return the quantile `q` of the counted pixels.

    The result is the smallest bin centre with at least a share `q` of the pixels at or
    below it, so it does not depend on how pixels were grouped for counting.
    """
    total = int(counts.sum())
    rank = max(1, int(np.ceil(q * total)))
    index = int(np.searchsorted(np.cumsum(counts), rank))
    return span.low + index * (span.high - span.low) / (BINS - 1)


@dataclass(frozen=True)
class Scale:
    """Maps raw counts to the network's range: (value - low) / (high - low)."""

    low: float
    high: float

    def __call__(
        self, values: NDArray[np.generic], start: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Return float32 of the same shape, clipped to `CLIP`; 0 if low equals high.

        It is the same everywhere in the field, wherever the values `start`.
        """
        width = self.high - self.low
        factor = 1.0 / width if width > 0 else 0.0
        scaled = values.astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(factor)
        return np.clip(scaled, *CLIP, out=scaled)


def quantile_scale(
    values: NDArray[np.generic], low: float = 0.01, high: float = 0.999
) -> Scale:
    """Return the scale of a whole array: the reference for the merged pieces."""
    known = exact_range(values.dtype)
    span = known or measure_spread(values).without_wild()
    counts = count_values(values, span)
    return Scale(quantile(counts, span, low), quantile(counts, span, high))


# -- by noise --------------------------------------------------------------------------

LAG = 2
"""Distance in pixels between those whose difference is noise: the noise of neighbours
is alike in interpolated and denoised images."""
_MAD = 0.6744897501960817 * 2**0.5
"""Median of the difference of two normal numbers, in standard deviations."""
LEAST_SHARE = 0.01
"""If fewer pixels than this share differ from the darkest one, the image is dark, and
those that do are not left over from pixels that were not imaged."""
LEAST_FILL = 16
"""Fewer darkest pixels than these are dead pixels of the camera."""
LEAST_STEPS = 4
"""Steps between values by which pixels that were not imaged are darker than others."""
_THIN = 1.5
"""Width of the first hundredth of pixels over that of the second: 1 where values are
cut off, 2 and more where noise begins."""
LEAST_IMAGED = 0.25
"""If fewer pixels than this share are brighter, the darkest ones are the background of
an image that was cleaned, and spots lie right on it."""
NOISE_CLIP = (-4.0, 7.0)
"""Range of an image scaled by noise: a 16-bit image without noise reaches 6."""


def darkest_pixels(counts: NDArray[np.int64], span: Range) -> float | None:
    """Return the value of the darkest pixels if they say nothing of the noise.

    They were not imaged, or cut off where a background was subtracted. None: nearly all
    pixels are that dark.
    """
    used = np.flatnonzero(counts)
    if used.size < 2 or counts[used[0]] > (1 - LEAST_SHARE) * counts.sum():
        return None
    return _value(span, used[0])


def find_fill(counts: NDArray[np.int64], span: Range) -> float | None:
    """Return the value of pixels that were not imaged: a rim, a missing tile.

    They are all alike, and darker than the others by a gap. None: there are none, or
    the image is black but for some pixels.

    The gap is wider than `LEAST_STEPS` between values of the darker three quarters of
    the others: images of few photons have wide steps, uneven ones if their root was
    taken. And either it is wider than those three quarters, or they begin thinly, as
    noise does, in a tail that is narrower than the gap. If they begin all at once, the
    darkest pixels may be those below a threshold, and spots lie right beside them.
    """
    used = np.flatnonzero(counts)
    n_dark, total = int(counts[used[0]]) if used.size > 1 else 0, int(counts.sum())
    if not LEAST_FILL <= n_dark <= (1 - LEAST_IMAGED) * total:
        return None
    others, below = used[1:], np.cumsum(counts[used[1:]])
    n = int(below[-1])
    few = min(LEAST_FILL, 1 + n // 1000)  # dead pixels do not bridge the gap
    first, low, high = np.searchsorted(below, (few, 0.01 * n, 0.75 * n))
    gap = int(others[first] - used[0])
    steps = np.diff(others[first : max(first + 1, high) + 1])
    if not steps.size or gap <= LEAST_STEPS * max(steps.max(), np.diff(used).min()):
        return None  # or nearly all others are alike: a mask
    alone = gap > others[high] - others[low] or gap > _thin_tail(used, below, few)
    return _value(span, used[0]) if alone else None


def _thin_tail(used: NDArray[np.int64], below: NDArray[np.int64], few: int) -> float:
    """Return the width in bins of the first hundredth of all but the darkest pixels.

    `below` are the numbers of those up to each of the values used; the first `few` do
    not count. It is infinite if they do not begin thinly: where values are cut off, the
    second hundredth is as wide as the first.
    """
    half = np.diff(used).min() / 2  # a value stands for all that were rounded to it
    edges = np.concatenate([used[1:2] - half, used[1:] + half])
    ranks = (few, 0.01 * below[-1], 0.02 * below[-1])
    tail, more = np.diff(np.interp(ranks, np.concatenate([[0], below]), edges))
    return float(tail) if tail > _THIN * more else np.inf


def _value(span: Range, index: np.integer[Any]) -> float:
    return span.low + float(index) * (span.high - span.low) / (BINS - 1)


def without(
    counts: NDArray[np.int64], span: Range, value: float | None
) -> NDArray[np.int64]:
    """Return the counts of the other pixels than those of one value."""
    if value is None:
        return counts
    others = counts.copy()
    step = (span.high - span.low) / (BINS - 1)
    others[round((value - span.low) / step)] = 0
    return others


def count_differences(
    window: NDArray[np.generic], core: tuple[int, ...], fill: float | None
) -> NDArray[np.int64]:
    """Count the pairs of pixels, `LAG` apart along y or x, by their difference.

    Those pairs are counted whose first pixel is in the piece of the field with which
    the window (..., y, x) begins, `core` pixels along y and x; the window goes on by
    `LAG` pixels where the field does. Pairs of two pixels of the value `fill` are not
    counted. There are `BINS` bins, by the leading bits of float32.
    """
    counts = np.zeros(BINS, np.int64)
    if window.ndim > 2:  # plane by plane: copies of a stack would fill the memory
        for plane in window:
            counts += count_differences(plane, core, fill)
        return counts
    rows, columns = core
    for dy, dx in ((LAG, 0), (0, LAG)):
        second = window[..., dy : dy + rows, dx : dx + columns]
        first = window[..., : second.shape[-2], : second.shape[-1]]
        first = first[..., :rows, :columns]
        counts += _count_distances(_distance(first, second))
        if fill is not None:
            counts[0] -= np.count_nonzero((first == fill) & (second == fill))
    return counts


def _distance(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return the distance of values: whole numbers for up to 16 bits, else float32."""
    if exact_range(one.dtype) is None:
        with np.errstate(over="ignore"):
            far = np.abs(one.astype(np.float64) - other.astype(np.float64))
            return far.astype(np.float32)
    if one.dtype.kind == "u":
        return np.asarray(np.maximum(one, other) - np.minimum(one, other))
    return np.abs(one.astype(np.int32) - other.astype(np.int32)).astype(np.uint16)


def _count_distances(far: NDArray[Any]) -> NDArray[np.int64]:
    """Count distances by the leading bits of float32 behind the sign: 0.4 % apart."""
    if far.dtype.kind == "f":
        return np.bincount(_key(far).ravel(), minlength=BINS)
    whole = count_values(np.ascontiguousarray(far), Range(0.0, float(BINS - 1)))
    keys = _key(np.arange(BINS, dtype=np.float32))
    counts = np.zeros(BINS, np.int64)
    np.add.at(counts, keys, whole)
    return counts


def _key(far: NDArray[np.float32]) -> NDArray[Any]:
    return np.ascontiguousarray(far).view(np.uint32) >> 15


@dataclass(frozen=True, eq=False)
class NoiseScale:
    """Maps raw counts to asinh((value - background) / (3 sigma)) / 2.

    Linear within the noise, logarithmic far above it: neither a few bright pixels nor
    many of them move the scale of the others.
    """

    medians: NDArray[np.float32]
    """(..., rows, columns) of the background's tiles in counts, of the whole field."""
    sigma: float
    """Standard deviation of noise or texture in counts, above 0, see `joint_noise`."""
    fill: float | None = None
    """Value of pixels that were not imaged, which become 0: background."""
    tile: int = TILE
    """Edge of a tile in pixels."""

    def __call__(
        self, values: NDArray[np.generic], start: tuple[int, int] = (0, 0)
    ) -> NDArray[np.float32]:
        """Return float32 of the same shape (..., y, x), clipped to `NOISE_CLIP`.

        `start` is the row and column of the first pixel in the field.
        """
        if values.ndim > 2:  # plane by plane: copies of a stack would fill the memory
            stack = np.empty(values.shape, np.float32)
            for place, plane in enumerate(values):
                stack[place] = self._of_plane(place)(plane, start)
            return stack
        scaled = values.astype(np.float32)
        height, width = values.shape[-2:]
        scaled -= surface(self.medians, start, (height, width), tile=self.tile)
        scaled *= np.float32(1 / (3 * self.sigma))
        np.arcsinh(scaled, out=scaled)
        scaled *= np.float32(0.5)
        if self.fill is not None:
            scaled[values == self.fill] = 0
        return np.clip(scaled, *NOISE_CLIP, out=scaled)

    def count_deviations(
        self, values: NDArray[np.generic], start: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Count every second pixel along y and x by its distance from the background.

        Values are (..., y, x), `start` is as above: even rows and columns of the field
        are counted, if they were imaged, by the leading bits of float32.
        """
        if values.ndim > 2:
            counts = np.zeros(BINS, np.int64)
            for place, plane in enumerate(values):
                counts += self._of_plane(place).count_deviations(plane, start)
            return counts
        height, width = values.shape[-2:]
        even: tuple[Any, ...] = (..., *(slice(n % 2, None, 2) for n in start))
        background = surface(self.medians, start, (height, width), tile=self.tile)
        thin = values[even]
        far = np.abs(thin.astype(np.float32) - background[even])
        if self.fill is not None:
            far = far[thin != self.fill]
        return np.bincount(_key(far).ravel(), minlength=BINS)

    def _of_plane(self, place: int) -> NoiseScale:
        """Return the scale of one plane of a stack."""
        known = self.medians.ndim > 2
        return replace(self, medians=self.medians[place]) if known else self


def measure_noise(differences: NDArray[np.int64]) -> float:
    """Return the standard deviation of the noise: by the median difference.

    It is at least that of rounding to the least difference; 1 if all pixels are alike.
    """
    values = _values(np.flatnonzero(differences))
    rounding = 0.29 * float(values[values > 0].min(initial=np.inf))
    if not np.isfinite(rounding):
        return 1.0
    return max(_median_size(differences) / _MAD, rounding)


TEXTURE_SHARE = 0.5
"""Where an image deviates from its background by more than noise over this share, it
has a texture, out of which spots have to stand too."""
_NORMAL_MEDIAN = 0.6744897501960817
"""Median of the size of a normal number, in standard deviations."""


def joint_noise(noise: float, deviations: NDArray[np.int64]) -> float:
    """Return the standard deviation out of which a spot has to stand, in counts.

    It is that of the noise, or `TEXTURE_SHARE` of the image's deviation from its
    background if that is more, as by the median of `NoiseScale.count_deviations`.
    """
    if not deviations.any():
        return noise
    return max(noise, TEXTURE_SHARE * _median_size(deviations) / _NORMAL_MEDIAN)


def _median_size(counts: NDArray[np.int64]) -> float:
    """Return the median of sizes that were counted by the leading bits of float32.

    Each value stands for all that were rounded to it, so that the median of whole
    numbers is known better than to half a count.
    """
    keys = np.flatnonzero(counts)
    values = _values(keys)
    edges = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])
    below = np.concatenate([[0], np.cumsum(counts[keys])])
    return float(np.interp(below[-1] / 2, below, edges))


def _values(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    return (keys.astype(np.uint32) << 15).view(np.float32).astype(np.float64)


def noise_scale(values: NDArray[np.generic]) -> NoiseScale:
    """Return the scale by noise of a whole array (..., y, x)."""
    span = exact_range(values.dtype) or measure_spread(values).without_wild()
    counts = count_values(values, span)
    dark = darkest_pixels(counts, span)
    differences = count_differences(values, values.shape[-2:], dark)
    fill = find_fill(counts, span)
    median = quantile(without(counts, span, dark), span, 0.5)
    medians = complete_tiles(tile_medians(values, fill=fill), median)
    scale = NoiseScale(medians, measure_noise(differences), fill)
    deviations = scale.count_deviations(values, (0, 0))
    return replace(scale, sigma=joint_noise(scale.sigma, deviations))


SCALES: Final[dict[str, Callable[[NDArray[Any]], Scale | NoiseScale]]] = {
    "quantile": quantile_scale,
    "noise": noise_scale,
}
"""Scales of whole arrays by the word that families of networks have for them."""
