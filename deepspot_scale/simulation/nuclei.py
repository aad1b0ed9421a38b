"""Simulated nuclei in one channel, with their labels: arrays only.

A seeded generator comes in; counts and labels go out. Nuclei are ellipses whose radius
varies slowly with the angle, some of them in touching groups; dim and bright ones stand
side by side, in uneven light, over haze and debris. Nothing here knows networks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_HARMONICS: Final = 4
_SHARE: Final = 0.15
"""Largest share of the radius by which a low harmonic changes it."""


class NucleiImage(NamedTuple):
    """A simulated image and its truth."""

    counts: NDArray[np.float32]
    """(y, x)."""
    labels: NDArray[np.int32]
    """(y, x), from 1 in the order in which they were drawn; 0 elsewhere."""


def draw_nuclei(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    diameter: float = 26.0,
    cover: float = 0.25,
    touching: float = 0.4,
) -> NucleiImage:
    """Return one image.

    Parameters
    ----------
    rng
        Decides everything.
    shape
        Pixels along y and x.
    diameter
        Typical diameter in pixels.
    cover
        Share of the area that nuclei would cover if none overlapped; 0: none.
    touching
        Share of nuclei that are set beside another one.
    """
    labels = np.zeros(shape, np.int32)
    light = np.zeros(shape, np.float32)
    n = int(cover * shape[0] * shape[1] / (np.pi * diameter**2 / 4))
    spread = rng.uniform(0.1, 0.7)
    places: list[tuple[NDArray[np.float64], float]] = []
    for number in range(1, n + 1):
        radius = diameter / 2 * float(np.exp(rng.normal(0, 0.2)))
        centre = _place(rng, shape, places, radius, touching)
        if _add(rng, labels, light, (centre, radius, number, spread)):
            places.append((centre, radius))
    return NucleiImage(_expose(rng, light, diameter), labels)


def _place(
    rng: np.random.Generator,
    shape: tuple[int, int],
    places: list[tuple[NDArray[np.float64], float]],
    radius: float,
    touching: float,
) -> NDArray[np.float64]:
    if places and rng.random() < touching:
        centre, other = places[int(rng.integers(len(places)))]
        angle = rng.uniform(0, 2 * np.pi)
        apart = (radius + other) * rng.uniform(0.85, 1.05)
        return centre + apart * np.array([np.sin(angle), np.cos(angle)])
    return rng.uniform(0, shape)


def _add(
    rng: np.random.Generator,
    labels: NDArray[np.int32],
    light: NDArray[np.float32],
    of: tuple[NDArray[np.float64], float, int, float],
) -> bool:
    """Draw one nucleus where there is none; return whether enough of it is seen."""
    centre, radius, number, spread = of
    reach = 1.6 * radius + 2
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach), labels.shape).astype(int)
    if (high - low < 2).any():
        return False
    box = (slice(low[0], high[0]), slice(low[1], high[1]))
    y, x = np.ogrid[box]
    turn, long = rng.uniform(0, np.pi), float(np.exp(rng.uniform(0, 0.3)))
    dy, dx = y - centre[0], x - centre[1]
    along = (dx * np.cos(turn) + dy * np.sin(turn)) / long
    across = (dy * np.cos(turn) - dx * np.sin(turn)) * long
    angle = np.arctan2(across, along)
    border = np.full(angle.shape, radius)
    for harmonic in range(2, 2 + _HARMONICS):
        size = rng.uniform(0, _SHARE) / (harmonic - 1)
        border += radius * size * np.cos(harmonic * angle + rng.uniform(0, 2 * np.pi))
    inside = (np.hypot(along, across) < border) & (labels[box] == 0)
    whole = np.pi * radius**2
    if inside.sum() < 0.5 * whole and not _at_side(low, high, labels.shape):
        return False
    if inside.sum() < 12:
        return False
    # One piece: what others cut off is left out.
    pieces, n = ndimage.label(inside)
    if n > 1:
        inside = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    texture = ndimage.gaussian_filter(
        rng.standard_normal(inside.shape), max(1.0, radius / rng.uniform(3, 8))
    )
    texture /= texture.std() + 1e-6
    depth = np.clip(1 - np.hypot(along, across) / border, 0, 1)
    level = np.exp(rng.normal(0, spread)) * (1 + 0.15 * texture)
    level = level * (0.6 + 0.4 * np.minimum(1, 3 * depth)) * (1 + rng.normal(0, 0.1))
    light[box][inside] += np.maximum(level, 0.1)[inside].astype(np.float32)
    labels[box][inside] = number
    return True


def _at_side(
    low: NDArray[np.int_], high: NDArray[np.int_], shape: tuple[int, ...]
) -> bool:
    return bool((low == 0).any() or (high == shape).any())


def _expose(
    rng: np.random.Generator, light: NDArray[np.float32], diameter: float
) -> NDArray[np.float32]:
    """Return counts of what shines: blurred, unevenly lit, with haze and noise."""
    sharp = ndimage.gaussian_filter(light, rng.uniform(0.5, 1.5))
    haze = ndimage.gaussian_filter(light, rng.uniform(0.5, 1.5) * diameter)
    image = sharp + rng.uniform(0, 0.4) * haze + rng.uniform(0.0, 0.3)
    debris = (rng.random(light.shape) < 2e-4 * rng.random()).astype(np.float32)
    image += ndimage.gaussian_filter(debris, rng.uniform(0.6, 1.5)) * rng.uniform(0, 20)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in light.shape), indexing="ij")
    slope = rng.uniform(-0.3, 0.3, 2)
    image *= np.maximum(0.2, 1 + slope[0] * y + slope[1] * x).astype(np.float32)
    photons = float(np.exp(rng.uniform(np.log(8), np.log(400))))
    counts = rng.poisson(np.maximum(image, 0) * photons) + rng.normal(
        0, rng.uniform(0.5, 4), light.shape
    )
    return np.asarray(counts + 100, np.float32)
