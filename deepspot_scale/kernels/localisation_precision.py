"""How precisely a molecule was localised, by its photons and the light around it.

Photons, background, the width of the point spread function and the size of a pixel come
in; the standard deviation of the place along one axis goes out. Nothing here knows
frames, fits or tables.

Sources: Thompson, Larson, Webb 2002 (doi:10.1016/S0006-3495(02)75618-X); Mortensen,
Churchman, Spudich, Flyvbjerg 2010 (doi:10.1038/nmeth.1447); Rieger, Stallinga 2014 for
the likelihood (doi:10.1002/cphc.201300711), in the form that ThunderSTORM prints
(doi:10.1093/bioinformatics/btu202).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
EXCESS: Final = 2.0
"""Factor of the variance of a camera that multiplies electrons: its gain is a lot."""


class Light(NamedTuple):
    """What n molecules look like; arrays of n or single numbers."""

    photons: Real | float
    """Of the molecule, above the background."""
    background_sd: Real | float
    """Standard deviation of a pixel's background in photons: the root of its photons
    where nothing but shot noise is there."""
    sigma_nm: Real | float
    """Standard deviation of the point spread function, without the pixel's width."""
    pixel_nm: float
    multiplied: bool = False
    """Whether the camera multiplies electrons (EMCCD)."""


def thompson_nm(light: Light) -> Real:
    """Return the precision (n,) in nm of Thompson et al., their equation 17.

    The variance is (s^2 + a^2 / 12) / N + 8 pi s^4 b^2 / (a^2 N^2). Without background
    a least-squares fit is 4/3 as wide, see `least_squares_nm`. NaN without photons.
    """
    n, variance = _photons(light), np.square(light.sigma_nm)
    spread = _excess(light) * variance + light.pixel_nm**2 / 12
    noise = 8 * np.pi * variance**2 * np.square(light.background_sd)
    return np.sqrt(spread / n + noise / (light.pixel_nm**2 * n**2))


def least_squares_nm(light: Light) -> Real:
    """Return the precision (n,) in nm of a least-squares fit, after Mortensen et al.

    The variance is (F s^2 + a^2 / 12) / N (16 / 9 + 4 tau), with F = 2 for cameras that
    multiply, and tau = 2 pi b^2 (s^2 + a^2 / 12) / (N a^2). NaN without photons.
    """
    spread, tau = _spread_and_tau(light)
    return np.sqrt(spread * (16 / 9 + 4 * tau))


def likelihood_nm(light: Light) -> Real:
    """Return the precision (n,) in nm of a fit of greatest likelihood.

    As `least_squares_nm`, with 1 + 4 tau + sqrt(2 tau / (1 + 4 tau)) as the last
    factor. NaN without photons.
    """
    spread, tau = _spread_and_tau(light)
    return np.sqrt(spread * (1 + 4 * tau + np.sqrt(2 * tau / (1 + 4 * tau))))


def _photons(light: Light) -> Real:
    photons = np.asarray(light.photons, np.float64)
    return np.where(photons > 0, photons, np.nan)


def _excess(light: Light) -> float:
    return EXCESS if light.multiplied else 1.0


def _spread_and_tau(light: Light) -> tuple[Real, Real]:
    n, variance = _photons(light), np.square(light.sigma_nm)
    pixel = light.pixel_nm**2
    spread = (_excess(light) * variance + pixel / 12) / n
    tau = 2 * np.pi * np.square(light.background_sd) * (variance + pixel / 12)
    return spread, tau / (n * pixel)
