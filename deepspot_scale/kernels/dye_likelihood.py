"""Which dye a single molecule has, by the likelihood of its image under each dye's PSF.

Windows (n, side, side) of photons come in, one molecule near the middle of each, and a
model of the light of every dye; the log-likelihood of each dye goes out, with the
place, photons and background at which it is highest. A window's numbers do not depend
on other windows. Nothing here knows movies, tables or networks.

A pixel's count is Poisson with mean ``photons * share + background``. Its likelihood is
maximised by Fisher scoring, damped as by Levenberg and Marquardt, for each window by
itself. Source of the approach: Smith et al. 2010, https://doi.org/10.1038/nmeth.1449.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, ndtr

Real = NDArray[np.float64]
_STEPS: Final = 25
_AT_REST: Final = 1e-4
"""A fit rests when a step raises its log-likelihood by less."""
_LEAST: Final = 1e-3
"""Fewest photons of a molecule, and of the background in a pixel."""
_MOST_DAMPING: Final = 1e6


class Spread(Protocol):
    """How the light of one dye's molecule falls on the pixels of a window."""

    @property
    def side(self) -> int:
        """Edge of a window in pixels."""

    @property
    def steps(self) -> tuple[float, ...]:
        """A small step along each coordinate of a place, for its derivative."""

    def __call__(self, places: Real) -> NDArray[np.floating[Any]]:
        """Return the share of the light in each pixel, (n, side, side).

        Places are (n, 2), y and x in pixels from the centre of the window's first; or
        (n, 3) with a depth first, whatever its unit.
        """


@dataclass(frozen=True)
class GaussianSpread:
    """A Gaussian, integrated over each pixel."""

    sigma: float
    """Standard deviation in pixels."""
    side: int = 11
    """Edge of a window in pixels."""

    @property
    def steps(self) -> tuple[float, ...]:
        """A hundredth of a pixel."""
        return (0.01, 0.01)

    def __call__(self, places: Real) -> Real:
        """Return the share of the light in each pixel, (n, side, side)."""
        edges = np.arange(self.side + 1) - 0.5
        profile = np.diff(ndtr((edges - places[:, :, None]) / self.sigma))
        return np.asarray(profile[:, 0, :, None] * profile[:, 1, None, :])


class DyeFits(NamedTuple):
    """What fits one dye to n windows best."""

    log_likelihood: Real
    """(n,), natural logarithm, of all pixels of a window."""
    places: Real
    """(n, d), as `Spread` takes them."""
    photons: Real
    """(n,) of the molecule."""
    background: Real
    """(n,) photons per pixel."""


class Verdicts(NamedTuple):
    """Which dyes n molecules have."""

    dye: NDArray[np.int64]
    """(n,) number of the dye, in the order of the models; -1: not known."""
    probability: Real
    """(n,) that it is this dye; NaN: not known."""


def classify_by_likelihood(
    windows: NDArray[np.floating[Any]],
    spreads: Sequence[Spread],
    starts: Real | None = None,
    *,
    variance: float = 0.0,
) -> Verdicts:
    """Return the dye of each molecule, with place, photons and background unknown.

    Parameters
    ----------
    windows
        (n, side, side) photons. A window that has a value that is not finite is given
        no dye.
    spreads
        One model for each dye, at least two.
    starts
        (m, d) places from which fits begin; None: the middle of the window, where
        places have two coordinates. The best of the m fits counts.
    variance
        Of the read noise, squared photons per pixel.

    Notes
    -----
    The probability takes all dyes as equally frequent before the image is seen, and
    compares the highest likelihoods, not their integrals over places.
    """
    pixels = np.asarray(windows, np.float64)
    dye = np.full(len(pixels), -1)
    probability = np.full(len(pixels), np.nan)
    known = np.isfinite(pixels).all(axis=(1, 2))
    fits = [
        fit_dye(pixels[known], spread, starts, variance=variance) for spread in spreads
    ]
    heights = np.stack([fit.log_likelihood for fit in fits], axis=1)
    chances = dye_probabilities(heights)
    dye[known] = chances.argmax(axis=1)
    probability[known] = chances.max(axis=1)
    return Verdicts(dye, probability)


def dye_probabilities(log_likelihoods: Real) -> Real:
    """Return (n, dyes) probabilities, for dyes that are equally frequent."""
    highest = log_likelihoods.max(axis=1, keepdims=True)
    ratios = np.exp(log_likelihoods - highest)
    return np.asarray(ratios / ratios.sum(axis=1, keepdims=True))


def fit_dye(
    windows: Real,
    spread: Spread,
    starts: Real | None = None,
    *,
    variance: float = 0.0,
) -> DyeFits:
    """Fit one dye to each window, see `classify_by_likelihood`."""
    if starts is None:
        starts = np.full((1, len(spread.steps)), (spread.side - 1) / 2)
    counts = np.maximum(windows.reshape(-1, spread.side**2) + variance, 0)
    fits = [
        _fit_from(counts, spread, start, variance) for start in np.atleast_2d(starts)
    ]
    heights = np.stack([fit.log_likelihood for fit in fits])
    best = heights.argmax(axis=0), np.arange(len(windows))
    return DyeFits(*(np.stack(values)[best] for values in zip(*fits, strict=True)))


def fit_photons(counts: Real, shares: Real, background: Real) -> tuple[Real, Real]:
    """Return photons (n,) and log-likelihood (n,) with place and background known.

    Parameters
    ----------
    counts
        (n, pixels) photons.
    shares
        (n, pixels) of the molecule's light.
    background
        (n,) photons per pixel.
    """
    dark = background[:, None]
    photons = np.maximum((counts - dark).sum(1), 1.0)
    for _ in range(_STEPS):
        mean = photons[:, None] * shares + dark
        slope = ((counts / mean - 1) * shares).sum(1)
        photons = np.maximum(photons + slope / (shares**2 / mean).sum(1), _LEAST)
    return photons, log_likelihood(counts, photons[:, None] * shares + dark)


def log_likelihood(counts: Real, mean: Real) -> Real:
    """Return the Poisson log-likelihood (n,) of counts (n, pixels)."""
    return np.asarray((counts * np.log(mean) - mean - gammaln(counts + 1)).sum(1))


def _fit_from(counts: Real, spread: Spread, start: Real, variance: float) -> DyeFits:
    """Climb from one place; rows of `numbers` are place, photons and background."""
    numbers = _first_numbers(counts, spread, start, variance)
    height = log_likelihood(counts, _mean(numbers, spread))
    damping = np.full(len(counts), 1e-2)
    left = np.arange(len(counts))  # a fit that rests is not moved again
    for _ in range(_STEPS):
        if not left.size:
            break
        here = numbers[left]
        slope, bend = _system(counts[left], here, spread)
        own = np.einsum("nii->ni", bend)
        own += damping[left, None] * own + 1e-12
        there = here + np.linalg.solve(bend, slope[..., None])[..., 0]
        there[:, -2:] = np.maximum(there[:, -2:], _LEAST)
        reached = log_likelihood(counts[left], _mean(there, spread))
        rise = reached - height[left]
        better = rise > 0
        numbers[left[better]] = there[better]
        height[left[better]] = reached[better]
        damping[left] = np.where(better, damping[left] / 5, damping[left] * 10)
        rests = (np.abs(rise) < _AT_REST) | (damping[left] > _MOST_DAMPING)
        left = left[~rests]
    return DyeFits(height, numbers[:, :-2], numbers[:, -2], numbers[:, -1] - variance)


def _first_numbers(counts: Real, spread: Spread, start: Real, variance: float) -> Real:
    square = counts.reshape(-1, spread.side, spread.side)
    rim = np.ones(square.shape[1:], np.bool_)
    rim[1:-1, 1:-1] = False
    dark = np.maximum(square[:, rim].mean(axis=1), variance + _LEAST)
    light = np.maximum(counts.sum(1) - dark * counts.shape[1], 10.0)
    places = np.broadcast_to(start, (len(counts), start.size))
    return np.column_stack([places, light, dark])


def _mean(numbers: Real, spread: Spread) -> Real:
    shares = spread(numbers[:, :-2]).reshape(-1, spread.side**2)
    return np.asarray(numbers[:, -2, None] * shares + numbers[:, -1, None])


def _system(counts: Real, numbers: Real, spread: Spread) -> tuple[Real, Real]:
    """Return the slope (n, k) of the log-likelihood and Fisher's information."""
    places, photons = numbers[:, :-2], numbers[:, -2, None]
    shares = spread(places).reshape(counts.shape)
    columns = []
    for axis, step in enumerate(spread.steps):
        move = np.zeros(places.shape[1])
        move[axis] = step
        rise = spread(places + move) - spread(places - move)
        columns.append(photons * rise.reshape(counts.shape) / (2 * step))
    slopes = np.stack([*columns, shares, np.ones_like(shares)], axis=1)
    mean = photons * shares + numbers[:, -1, None]
    slope = np.einsum("nkp,np->nk", slopes, counts / mean - 1)
    bend = np.einsum("nkp,nlp->nkl", slopes / mean[:, None], slopes, optimize=True)
    return slope, bend
