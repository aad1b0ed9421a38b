"""The set *broad*: realistic images with the broad parameter ranges of microscopes.

A generator comes in, an image and its truth go out. Light is drawn first, then counted
by a simulated camera, then processed and stored as by imaging pipelines:

    background + distractors + spots -> photons -> camera -> counts -> file

The truth contains the spots that a person could see: well above noise and texture, and
not much fainter than the image's other spots. Much fainter spots are drawn but not part
of the truth; those that stand out of noise are told apart, as grains. Spots in between
are not drawn, because ambiguous images do not help training.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.backgrounds import draw_background, fine_texture
from deepspot_scale.simulation.camera import draw_camera, store
from deepspot_scale.simulation.drawing import (
    Image,
    Spots,
    Truth,
    log_uniform,
    scatter,
    without_brighter,
)

Real = NDArray[np.float64]

WIDEST = 3.5
"""Largest standard deviation of a spot in pixels."""
LEAST_SNR, LEAST_GRAINED_SNR = 3.0, 5.0
"""Least SNR of a true spot; the second value if the noise is grained."""
LEAST_MATCHED_SNR = 6.0
"""Least SNR of a true spot after its matched filter: snr x sigma x sqrt(pi)."""
LEAST_SHARE = 0.25
"""Least height of a true spot as a share of the image's median spot."""
DOUBTFUL = 0.5
"""Ambiguous spots, from this share of a limit up to the limit, are not drawn."""
LEAST_DISTANCE = 1.5
"""Least distance of spots in sigma; of two nearer ones the fainter is not drawn."""
LEAST_FOR_GRAINS = 10
"""Least number of spots in an image with grains: fewer define no typical height."""
MOST_FLANK = 0.8
"""Most light of spots at the centre of a grain that stands out, as a share of its own
height."""


def broad_image(rng: np.random.Generator, size: int = 256) -> Truth:
    """Simulate one image of the set *broad*.

    Spots: sigma 0.7 to 3.5 px, round or anisotropic, some out of focus; single,
    touching or in clusters; 0 to 3000 per 512 px image; intensities over two decades.
    Background and distractors: octaves of noise, cells and islands with sharp edges
    and texture, nuclei, large blobs, clumps, filaments, dim grains. Noise: shot noise,
    read noise per pixel, grain. Files: hot pixels, 8 bits, compression, saturation,
    subtracted background. The image is square.
    """
    shape = (size, size)
    sigma = float(log_uniform(rng, 0.7, WIDEST))
    light = log_uniform(rng, 3, 600) * (0.05 + draw_background(rng, shape, sigma))
    camera = draw_camera(rng, shape)
    below = np.hypot(fine_texture(light, sigma), camera.level(light))
    spots = _spots(rng, shape, sigma, float(np.quantile(below, 0.7)))
    snr, margin = _margin(spots, below, camera.grained)
    apart = _apart(spots)
    drawn = apart & ((margin >= 1) | (margin < DOUBTFUL))
    true = apart & (margin >= 1)
    photons = light + spots.only(drawn).render(shape)
    seen, faint = spots.only(true), spots.only(drawn & ~true)
    if true.sum() >= LEAST_FOR_GRAINS and rng.random() < 0.5:
        grains = _grains(rng, shape, seen)
        photons += grains.render(shape)
        faint = faint.with_others(grains)
    counts = camera.expose(rng, np.asarray(photons, np.float32))
    width = np.sqrt(spots.sigmas.prod(axis=1))
    clear = faint.points[_stand_out(faint, seen, below, camera.grained)]
    return Truth(store(rng, counts), seen.points, snr[true], width[true], clear)


def _apart(spots: Spots) -> NDArray[np.bool_]:
    """Return which spots have no brighter one nearer than `LEAST_DISTANCE`."""
    near = LEAST_DISTANCE * float(spots.width.mean()) if len(spots.heights) else 0.0
    return without_brighter(spots.points, spots.heights, near)


def _margin(spots: Spots, below: Image, grained: bool) -> tuple[Real, Real]:
    """Return each spot's SNR, and its smallest ratio to a limit."""
    snr, own = _own_margin(spots, below, grained)
    typical = float(np.median(spots.heights)) if len(snr) else 1.0
    return snr, np.minimum(own, spots.heights / typical / LEAST_SHARE)


def _own_margin(spots: Spots, below: Image, grained: bool) -> tuple[Real, Real]:
    """Return each spot's SNR, and its smallest ratio to a limit of its own."""
    rows, columns = np.round(spots.points).astype(np.int64).T
    snr = spots.heights / below[rows, columns]
    limits = (
        snr / (LEAST_GRAINED_SNR if grained else LEAST_SNR),
        snr * spots.width * np.sqrt(np.pi) / LEAST_MATCHED_SNR,
    )
    return snr, np.min(limits, axis=0)


def _stand_out(
    faint: Spots, spots: Spots, below: Image, grained: bool
) -> NDArray[np.bool_]:
    """Return which faint spots stand out of the noise, and of brighter ones' light."""
    if len(faint.points) == 0:
        return np.zeros(0, bool)
    rows, columns = np.round(faint.points).astype(np.int64).T
    flank = spots.render(below.shape)[rows, columns]
    both = faint.with_others(spots)
    clear = _own_margin(faint, below, grained)[1] >= 1
    clear &= flank <= MOST_FLANK * faint.heights
    return np.asarray(clear & _apart(both)[: len(faint.points)])


def _grains(rng: np.random.Generator, shape: tuple[int, int], spots: Spots) -> Spots:
    """Dim grains everywhere, with a small share of a spot's height."""
    n = int(log_uniform(rng, 0.2, 5) * len(spots.points))
    points = rng.uniform(0, np.array(shape) - 1, (n, 2))
    share = log_uniform(rng, 0.02, 0.15, n)
    heights = float(np.median(spots.heights)) * share
    sigmas = spots.width.mean() * rng.uniform(0.5, 1.3, n)
    return Spots(points, np.stack([sigmas, sigmas], axis=1), heights)


def _spots(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, noise: float
) -> Spots:
    area = shape[0] * shape[1]
    density = 0 if rng.random() < 0.07 else log_uniform(rng, 4, 3000) * area / 512**2
    n = int(rng.poisson(min(density, 0.06 * area / sigma**2)))
    points = scatter(rng, shape, n)
    sigmas = sigma * np.exp(rng.normal(0, 0.08, (n, 2)) + rng.normal(0, 0.12, (n, 1)))
    sigmas = np.minimum(sigmas, WIDEST)
    spread = rng.choice([0.0, 0.2, 0.4, 0.6])
    heights = log_uniform(rng, 3.5, 80) * noise * np.exp(rng.normal(0, spread, n))
    if rng.random() < 0.3:  # some out of focus: the same light over a larger area
        most = np.clip(WIDEST / sigmas.max(axis=1), 1.0, 2.0)
        wider = np.where(rng.random(n) < 0.3, rng.uniform(1.0, most), 1.0)
        sigmas, heights = sigmas * wider[:, None], heights / wider**2
    return Spots(points, sigmas, heights)
