"""How sure a mean over images is: one number an image in, an interval out.

Images are drawn again with replacement, because the image is the unit that varies:
objects of one image are alike. The interval is the bias-corrected and accelerated one
(BCa), which holds for skewed scores near 1 better than quantiles of the draws do. Fewer
than three images, or images that are all alike, have no interval. Efron 1987,
https://doi.org/10.1080/01621459.1987.10478410. Nothing here knows what is scored.
"""

from __future__ import annotations

import warnings
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_BOOT: Final = 2000
"""Draws: the ends of an interval then vary by about 2 % of its width."""
LEVEL: Final = 0.95
"""Share of intervals that hold the truth."""
FEWEST: Final = 3
"""Fewest images with an interval."""


class Estimate(NamedTuple):
    """A value and its 95 % interval over images; NaN where it is not known."""

    value: float
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    """Images with a value."""


def estimate_mean(values: ArrayLike, seed: int = 0) -> Estimate:
    """Return the mean over images of the values that are finite, (n,)."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Estimate(np.nan)
    value = float(known.mean())
    return _with_interval(value, (known,), _mean, seed)


def estimate_ratio(part: ArrayLike, whole: ArrayLike, seed: int = 0) -> Estimate:
    """Return sum(part) / sum(whole) over images, (n,) each and finite.

    NaN where the sum of `whole` is 0. The interval is NaN where draws may lack any
    whole.
    """
    parts, wholes = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    total = float(wholes.sum())
    if total == 0:
        return Estimate(np.nan, n=len(wholes))
    value = float(parts.sum()) / total
    return _with_interval(value, (parts, wholes), _ratio, seed)


def estimate_rms(values: ArrayLike, seed: int = 0) -> Estimate:
    """Return the root of the mean square over images of finite values, (n,)."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return Estimate(np.nan)
    return _with_interval(float(_rms(known)), (known,), _rms, seed)


def estimate_rank_correlation(
    one: ArrayLike, other: ArrayLike, seed: int = 0
) -> Estimate:
    """Return Spearman's correlation over images of two finite numbers, (n,) each.

    NaN where there are fewer than three images, or all have one number.
    """
    pair = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if len(pair[0]) < FEWEST:
        return Estimate(np.nan, n=len(pair[0]))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(_ranks(*pair))
    if not np.isfinite(value):
        return Estimate(np.nan, n=len(pair[0]))
    return _with_interval(value, pair, _ranks, seed)


def _rms(values: NDArray[Any], axis: int = -1) -> Any:
    return np.sqrt(np.mean(np.square(values), axis=axis))


def _ranks(one: NDArray[Any], other: NDArray[Any], axis: int = -1) -> Any:
    from scipy.stats import rankdata

    places = [rankdata(each, axis=axis) for each in (one, other)]
    x, y = (each - each.mean(axis=axis, keepdims=True) for each in places)
    spread = np.sqrt((x * x).sum(axis=axis) * (y * y).sum(axis=axis))
    return (x * y).sum(axis=axis) / spread


def _mean(values: NDArray[Any], axis: int = -1) -> Any:
    return values.mean(axis=axis)


def _ratio(part: NDArray[Any], whole: NDArray[Any], axis: int = -1) -> Any:
    total = whole.sum(axis=axis)
    return part.sum(axis=axis) / np.where(total == 0, np.nan, total)


def _with_interval(
    value: float, data: tuple[NDArray[np.float64], ...], statistic: Any, seed: int
) -> Estimate:
    n = len(data[0])
    if n < FEWEST or all(np.ptp(each) == 0 for each in data):
        return Estimate(value, n=n)
    from scipy.stats import bootstrap

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")  # of draws that are all alike: NaN, then
        ends = bootstrap(
            data,
            statistic,
            n_resamples=N_BOOT,
            confidence_level=LEVEL,
            paired=True,
            vectorized=True,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Estimate(value, float(ends.low), float(ends.high), n)
