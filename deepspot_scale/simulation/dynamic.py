"""The set *dynamic*: spots of very different brightness, true by their own SNR.

A generator comes in, an image and its truth go out. Unlike in the set *broad*, a spot
is true by itself if it stands out of the noise and texture around it, be it the only
one of its image or a hundred times fainter than the brightest. Beside spots there is
what misleads a scale of brightness: sites of many molecules, dead cells, burnt-in bars,
hot pixels, black rims and missing tiles. Ambiguous spots, near a limit or on
the flank of a brighter one, are not drawn. On request there are grains: a second
population, as many times fainter than the spots as grains of autofluorescence are.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.backgrounds import draw_background, fine_texture
from deepspot_scale.simulation.camera import draw_camera, subtract_background
from deepspot_scale.simulation.drawing import (
    Image,
    Points,
    Spots,
    Truth,
    ellipse,
    log_uniform,
    scatter,
    without_brighter,
)

Real = NDArray[np.float64]

NARROWEST, WIDEST = 0.8, 3.5
"""Range of the standard deviation of a spot in pixels."""
LEAST_SNR, LEAST_GRAINED_SNR = 2.5, 4.0
"""Least SNR of a true spot; the second value if the noise is grained."""
LEAST_MATCHED_SNR = 5.5
"""Least SNR of a true spot after its matched filter: snr x sigma x sqrt(pi)."""
MOST_FLANK = 0.8
"""Most light of other spots at a spot's centre, as a share of its own height."""
DOUBTFUL = 0.6
"""Ambiguous spots, from this share of a limit up to the limit, are not drawn."""
LEAST_DISTANCE = 1.7
"""Least distance of spots in sigma, and at least 2 px; the fainter is not drawn."""
LEAST_FOR_GRAINS, MOST_SPREAD = 20, 0.6
"""Images with grains have so many spots, whose heights' logarithms deviate no more."""


def dynamic_image(
    rng: np.random.Generator, size: int = 256, *, grains: float = 0.0
) -> Truth:
    """Simulate one image of the set *dynamic*.

    Spots: sigma 0.8 to 3.5 px; none, a few, or up to 3000 per 512 px image; SNR from
    below the limit to several hundred, in one image over up to two decades. The image
    is square. `grains` is the chance of grains where the spots are many and alike.
    """
    shape = (size, size)
    sigma = float(log_uniform(rng, NARROWEST, WIDEST))
    light = _light(rng, shape, sigma)
    camera = draw_camera(rng, shape)
    noise = camera.level(light)
    below = np.hypot(fine_texture(light, sigma), noise)
    spots = _spots(rng, shape, sigma, float(np.median(below)))
    hidden = _hidden(rng, shape)
    spots = spots.only(~_at(hidden, spots.points))
    snr, margin = _margin(spots, below, noise, camera.grained)
    drawn = _apart(spots) & ((margin >= 1) | (margin < DOUBTFUL))
    spots, snr, true = spots.only(drawn), snr[drawn], margin[drawn] >= 1
    seen, faint = spots.only(true), spots.only(np.zeros(len(true), bool))
    if grains and rng.random() < grains and _are_alike(seen):
        faint = _grains(rng, shape, seen)
        faint = faint.only(~_at(hidden, faint.points))
    both = faint.with_others(spots)
    clear = (_margin(both, below, noise, camera.grained)[1] >= 1) & _apart(both)
    photons = light + both.render(shape)
    counts = camera.expose(rng, np.asarray(photons, np.float32))
    stored = _store(rng, counts, float(np.median(noise)), hidden)
    stand_out = faint.points[clear[: len(faint.heights)]]
    return Truth(stored, seen.points, snr[true], seen.width, stand_out)


def _at(values: NDArray[Any], points: Points) -> NDArray[Any]:
    rows, columns = np.round(points).astype(np.int64).T
    return np.asarray(values[rows, columns])


# -- light without spots ---------------------------------------------------------------


def _light(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Image:
    """Return the background in photons, at times with objects that outshine it."""
    level = float(log_uniform(rng, 2, 600))
    if rng.random() < 0.3:  # clean: nothing but a slope
        rows, columns = np.indices(shape, np.float32) / max(shape)
        slope = rng.uniform(-0.3, 0.3, 2)
        light = np.asarray(level * (1 + slope[0] * rows + slope[1] * columns))
    else:
        light = level * (0.05 + draw_background(rng, shape, sigma))
    if rng.random() < 0.12:
        light = light + _dead_cell(rng, shape, level)
    if rng.random() < 0.06:
        light = light + _bar(rng, shape, level)
    return np.asarray(light, np.float32)


def _dead_cell(rng: np.random.Generator, shape: tuple[int, int], level: float) -> Image:
    """Draw a bright object, larger than any spot, with an edge and folds."""
    light = np.zeros(shape, np.float32)
    centre = rng.uniform(0, shape, 2)
    for _ in range(rng.integers(1, 4)):
        at = centre + rng.normal(0, 8, 2)
        axes = rng.uniform(8, 40, 2)
        light[ellipse(shape, tuple(at), tuple(axes), rng.uniform(0, 180))] += 1
    soft = cv2.GaussianBlur(light, (0, 0), float(rng.uniform(1.5, 8)))
    return np.asarray(level * log_uniform(rng, 3, 100) * soft, np.float32)


def _bar(rng: np.random.Generator, shape: tuple[int, int], level: float) -> Image:
    """Draw a scale bar with its number, burnt in."""
    drawn = np.zeros(shape, np.uint8)
    y, x = (int(rng.integers(0, n)) for n in shape)
    height, length = int(rng.integers(3, 10)), int(rng.integers(20, 100))
    drawn[y : y + height, x : x + length] = 1
    text = f"{rng.integers(5, 100)} um"
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(drawn, text, (x, y - 4), font, rng.uniform(0.3, 0.7), 1, 1)
    return np.asarray(level * log_uniform(rng, 5, 300) * drawn, np.float32)


def _hidden(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return pixels that were not imaged: a rim, a tile, all around a region."""
    hidden = np.zeros(shape, bool)
    kind = rng.random()
    if kind < 0.05:
        rim = rng.integers(0, 12, 4)
        hidden[: rim[0]] = hidden[shape[0] - rim[1] :] = True
        hidden[:, : rim[2]] = hidden[:, shape[1] - rim[3] :] = True
    elif kind < 0.08:
        y, x = (int(rng.integers(0, n)) for n in shape)
        hidden[y : y + int(rng.integers(30, 128)), x:] = True
    elif kind < 0.1:
        centre, axes = (
            rng.uniform(0.3, 0.7, 2) * shape,
            rng.uniform(0.3, 0.6, 2) * shape,
        )
        hidden = ~ellipse(shape, tuple(centre), tuple(axes), rng.uniform(0, 180))
    return hidden


# -- spots -----------------------------------------------------------------------------


def _spots(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, noise: float
) -> Spots:
    area = shape[0] * shape[1]
    kind = rng.random()
    if kind < 0.12:
        n = 0
    elif kind < 0.25:
        n = int(rng.integers(1, 6))
    else:
        density = log_uniform(rng, 4, 3000) * area / 512**2
        n = int(rng.poisson(min(float(density), 0.06 * area / sigma**2)))
    points = scatter(rng, shape, n)
    sigmas = sigma * np.exp(rng.normal(0, 0.06, (n, 2)) + rng.normal(0, 0.1, (n, 1)))
    if rng.random() < 0.3:  # all over two decades
        snr = log_uniform(rng, 2.5, 150, n)
    else:
        spread = rng.choice([0.0, 0.2, 0.4, 0.7, 1.0])
        snr = log_uniform(rng, 3.5, 80) * np.exp(rng.normal(0, spread, n))
    if rng.random() < 0.1:  # clean dyes on clean glass
        snr = snr * log_uniform(rng, 2, 20)
    heights = np.asarray(snr * noise)
    if rng.random() < 0.3:  # some out of focus: the same light over a larger area
        wider = np.where(rng.random(n) < 0.3, rng.uniform(1.0, 2.0, n), 1.0)
        sigmas, heights = sigmas * wider[:, None], heights / wider**2
    if n and rng.random() < 0.25:
        sites = np.arange(n) < rng.integers(1, 9)
        molecules = log_uniform(rng, 4, 60, n)
        heights = np.where(sites, np.median(heights) * molecules, heights)
        sigmas = sigmas * np.where(sites, rng.uniform(1.0, 1.5, n), 1.0)[:, None]
    return Spots(points, np.clip(sigmas, 0.7, WIDEST), heights)


def _margin(
    spots: Spots, below: Image, noise: Image, grained: bool
) -> tuple[Real, Real]:
    """Return each spot's SNR, and its smallest ratio to a limit.

    The light of other spots is a flank to stand out of, and brings shot noise.
    """
    drawn = spots.render(below.shape)
    own = spots.heights
    others = np.maximum(_at(drawn, spots.points) - own * _pixel_share(spots), 0)
    shot = np.sqrt(np.maximum(others, 0))
    snr = own / np.hypot(_at(below, spots.points), shot)
    limits = (
        snr / (LEAST_GRAINED_SNR if grained else LEAST_SNR),
        snr * spots.width * np.sqrt(np.pi) / LEAST_MATCHED_SNR,
        MOST_FLANK * own / np.maximum(others, 1e-9 * own),
    )
    return snr, np.min(limits, axis=0)


def _pixel_share(spots: Spots) -> Real:
    """Return what a spot's nearest pixel has of its height."""
    off = (spots.points - np.round(spots.points)) / spots.sigmas
    blur = 1 / np.sqrt(1 + 1 / (12 * spots.sigmas**2))
    return np.asarray(np.exp(-0.5 * (off**2).sum(axis=1)) * blur.prod(axis=1))


def _apart(spots: Spots) -> NDArray[np.bool_]:
    """Return which spots have no brighter one nearer than `LEAST_DISTANCE`."""
    mean = float(spots.width.mean()) if len(spots.heights) else 0.0
    near = max(2.0, LEAST_DISTANCE * mean)
    return without_brighter(spots.points, spots.heights, near)


def _are_alike(spots: Spots) -> bool:
    enough = len(spots.heights) >= LEAST_FOR_GRAINS
    return enough and float(np.log(spots.heights).std()) <= MOST_SPREAD


def _grains(rng: np.random.Generator, shape: tuple[int, int], spots: Spots) -> Spots:
    """Return a second population: far fainter, often many more, with a gap between."""
    most = 0.02 * shape[0] * shape[1]
    n = int(min(float(log_uniform(rng, 0.3, 15)) * len(spots.heights), most))
    points = scatter(rng, shape, n)
    typical = float(log_uniform(rng, 0.02, 0.2))
    share = typical * np.exp(rng.normal(0, rng.uniform(0.1, 0.8), n))
    ordinary = float(np.quantile(spots.heights, 0.1) / np.median(spots.heights))
    share = np.minimum(share, 0.5 * ordinary)
    width = float(spots.width.mean()) * rng.uniform(0.6, 1.4)
    sigmas = np.clip(width * np.exp(rng.normal(0, 0.15, (n, 2))), 0.7, WIDEST)
    return Spots(points, sigmas, float(np.median(spots.heights)) * share)


# -- file ------------------------------------------------------------------------------


def _store(
    rng: np.random.Generator,
    counts: Image,
    noise: float,
    hidden: NDArray[np.bool_],
) -> Image:
    """Apply steps on the way to a file; numbers that are not imaged become 0."""
    if rng.random() < 0.15:
        n = int(rng.integers(1, 12))
        rows, columns = (rng.integers(0, m, n) for m in counts.shape)
        if rng.random() < 0.5:
            rows = rows * 0 + rng.choice([0, counts.shape[0] - 1])
        counts[rows, columns] += noise * log_uniform(rng, 8, 1000, n)
    if rng.random() < 0.15:
        counts = subtract_background(rng, counts)
    counts = np.asarray(counts, np.float32)
    low, high = float(counts.min()), float(counts.max())
    if rng.random() < 0.3:  # a display's range, saturated above
        high = min(high, low + 255 * noise * rng.uniform(0.2, 1.2))
    if rng.random() < 0.3 and (high - low) / 255 < 1.2 * noise:
        stored = np.clip((counts - low) * (255 / max(high - low, 1e-6)), 0, 255)
    else:
        gain = float(log_uniform(rng, 0.5 / noise, 20 / noise))
        stored = np.maximum(counts * gain + rng.uniform(0, 300), 0)
    if rng.random() < 0.8:
        stored = np.round(stored)
    return np.asarray(np.where(hidden, 0, stored), np.float32)
