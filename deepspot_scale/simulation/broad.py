"""The set *broad*: realistic images with the broad parameter ranges of microscopes.

A generator comes in, an image and its truth go out. Light is drawn first, then counted
by a simulated camera, then processed and stored as by imaging pipelines:

    background + distractors + spots -> photons -> camera -> counts -> file

The truth contains the spots that a person could see: well above noise and texture, and
not much fainter than the image's other spots. Much fainter spots are drawn but not part
of the truth. Spots in between are not drawn, because ambiguous images do not help
training.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.simulation.drawing import (
    Image,
    Points,
    Truth,
    ellipse,
    log_uniform,
    perlin_noise,
    render_spots,
    rescale,
    smooth_noise,
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


class _Spots(NamedTuple):
    points: Points
    sigmas: Real
    """(n, 2), pixels."""
    heights: Real
    """(n,), photons."""


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
    light = log_uniform(rng, 3, 600) * (0.05 + _background(rng, shape, sigma))
    camera = _camera(rng, shape)
    below = np.hypot(_texture(light, sigma), camera.level(light))
    spots = _spots(rng, shape, sigma, float(np.quantile(below, 0.7)))
    snr, margin = _margin(spots, below, camera.grained)
    apart = _apart(spots)
    drawn = apart & ((margin >= 1) | (margin < DOUBTFUL))
    kept = _Spots(*(values[drawn] for values in spots))
    photons = light + render_spots(shape, kept.points, kept.heights, kept.sigmas)
    true = apart & (margin >= 1)
    if true.sum() >= LEAST_FOR_GRAINS and rng.random() < 0.5:
        photons += _grains(rng, shape, _Spots(*(values[true] for values in spots)))
    counts = camera.expose(rng, np.asarray(photons, np.float32))
    width = np.sqrt(spots.sigmas.prod(axis=1))
    return Truth(_file(rng, counts), spots.points[true], snr[true], width[true])


def _apart(spots: _Spots) -> NDArray[np.bool_]:
    """Return which spots have no brighter one nearer than `LEAST_DISTANCE`."""
    sigma = np.sqrt(spots.sigmas.prod(axis=1))
    near = LEAST_DISTANCE * float(sigma.mean()) if len(sigma) else 0.0
    pairs = KDTree(spots.points).query_pairs(near, output_type="ndarray")
    first_is_fainter = spots.heights[pairs[:, 0]] < spots.heights[pairs[:, 1]]
    apart = np.ones(len(sigma), bool)
    apart[np.where(first_is_fainter, pairs[:, 0], pairs[:, 1])] = False
    return apart


def _margin(spots: _Spots, below: Image, grained: bool) -> tuple[Real, Real]:
    """Return each spot's SNR, and its smallest ratio to a limit."""
    rows, columns = np.round(spots.points).astype(np.int64).T
    snr = spots.heights / below[rows, columns]
    width = np.sqrt(spots.sigmas.prod(axis=1))
    typical = float(np.median(spots.heights)) if len(snr) else 1.0
    limits = (
        snr / (LEAST_GRAINED_SNR if grained else LEAST_SNR),
        snr * width * np.sqrt(np.pi) / LEAST_MATCHED_SNR,
        spots.heights / typical / LEAST_SHARE,
    )
    return snr, np.min(limits, axis=0)


# -- background and distractors --------------------------------------------------------


def _background(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float
) -> Image:
    """Autofluorescence in units of its brightness; parts may look like spots."""
    light = np.zeros(shape, np.float32)
    for scale in (4, 8, 16, 32, 64, 128):
        if rng.random() < 0.45:
            strength = rng.random() * (1.0 if scale > 8 else 0.35)
            light += strength * smooth_noise(rng, shape, scale)
    if rng.random() < 0.25:
        lattice = 2 << int(rng.integers(4))
        light += rng.random() * rescale(perlin_noise(rng, shape, lattice))
    for draw, chance in (
        (_cells, 0.4),
        (_islands, 0.35),
        (_blobs, 0.4),
        (_clumps, 0.25),
        (_filaments, 0.15),
    ):
        if rng.random() < chance:
            light += draw(rng, shape, sigma)
    if rng.random() < 0.4:
        light *= 0.5 + smooth_noise(rng, shape, float(max(shape)))
    return light


def _cells(rng: np.random.Generator, shape: tuple[int, int], _: float) -> Image:
    """Cells and nuclei: ellipses with sharp or soft edges and a texture."""
    light = np.zeros(shape, np.float32)
    for _number in range(rng.integers(1, 8)):
        centre = rng.uniform(0, shape, 2)
        axes = tuple(rng.uniform(12, 70, 2))
        mask = ellipse(shape, tuple(centre), axes, rng.uniform(0, 180))
        soft = _soften(rng, mask)
        texture = 1 - 0.6 * rng.random() * smooth_noise(rng, shape, 6)
        light += rng.uniform(0.1, 1.5) * soft * texture
    return light


def _islands(rng: np.random.Generator, shape: tuple[int, int], _: float) -> Image:
    """Tissue: ragged islands with sharp edges and texture down to single pixels."""
    land = smooth_noise(rng, shape, rng.uniform(12, 60))
    land += 0.4 * smooth_noise(rng, shape, rng.uniform(4, 10))
    soft = _soften(rng, land > np.quantile(land, rng.uniform(0.4, 0.9)))
    texture = np.ones(shape, np.float32)
    for scale, most in ((2, 0.4), (4, 0.6), (8, 0.7)):
        texture *= 1 - most * rng.random() * smooth_noise(rng, shape, scale)
    return np.asarray(rng.uniform(0.2, 1.5) * soft * texture, np.float32)


def _soften(rng: np.random.Generator, mask: NDArray[np.bool_]) -> Image:
    blur = float(rng.choice([0.5, 1.0, 2.0, 5.0]))
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), blur))


def _blobs(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Image:
    """Round blobs, wider than spots."""
    n = int(rng.integers(1, 20))
    points = rng.uniform(0, np.array(shape) - 1, (n, 2))
    wide = max(5.0, 2.5 * sigma)
    sigmas = log_uniform(rng, wide, 2.5 * wide, 2 * n).reshape(n, 2)
    return render_spots(shape, points, rng.uniform(0.1, 2.0, n), sigmas)


def _clumps(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Image:
    """Lipofuscin: ragged bright clumps with sharp edges, larger than spots."""
    light = np.zeros(shape, np.float32)
    for _ in range(rng.integers(1, 12)):
        centre = rng.uniform(0, shape, 2)
        for _part in range(rng.integers(2, 6)):
            at = centre + rng.normal(0, 3 + sigma, 2)
            axes = rng.uniform(2 + sigma, 4 + 2.5 * sigma, 2)
            light[ellipse(shape, tuple(at), tuple(axes), rng.uniform(0, 180))] = 1
    soft = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.6, 1.5))
    return np.asarray(rng.uniform(0.3, 2.0) * soft, np.float32)


def _filaments(rng: np.random.Generator, shape: tuple[int, int], _: float) -> Image:
    """Thin bright lines: fibres, membranes, scratches."""
    light = np.zeros(shape, np.float32)
    for _number in range(rng.integers(1, 10)):
        turns = np.cumsum(rng.normal(0, 0.3, 40)) + rng.uniform(0, 2 * np.pi)
        steps = rng.uniform(2, 6) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        line = rng.uniform(0, shape, 2) + np.cumsum(steps, axis=0)
        cv2.polylines(light, [line.astype(np.int32)], False, rng.uniform(0.3, 1.0), 1)
    return np.asarray(cv2.GaussianBlur(light, (0, 0), rng.uniform(0.7, 2.0)))


def _grains(rng: np.random.Generator, shape: tuple[int, int], spots: _Spots) -> Image:
    """Dim grains everywhere, with a small share of a spot's height."""
    n = int(log_uniform(rng, 0.2, 5) * len(spots.points))
    points = rng.uniform(0, np.array(shape) - 1, (n, 2))
    share = log_uniform(rng, 0.02, 0.15, n)
    heights = float(np.median(spots.heights)) * share
    sigmas = np.sqrt(spots.sigmas.prod(axis=1)).mean() * rng.uniform(0.5, 1.3, n)
    return render_spots(shape, points, heights, sigmas)


def _texture(light: Image, sigma: float) -> Image:
    """Return the local standard deviation of structures as fine as spots."""
    fine = light - cv2.GaussianBlur(light, (0, 0), 2 * sigma)
    spread = cv2.GaussianBlur(fine**2, (0, 0), 4 * sigma)
    return np.asarray(np.sqrt(np.maximum(spread, 0)), np.float32)


# -- spots -----------------------------------------------------------------------------


def _spots(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, noise: float
) -> _Spots:
    area = shape[0] * shape[1]
    density = 0 if rng.random() < 0.07 else log_uniform(rng, 4, 3000) * area / 512**2
    n = int(rng.poisson(min(density, 0.06 * area / sigma**2)))
    points = _scatter(rng, shape, n)
    sigmas = sigma * np.exp(rng.normal(0, 0.08, (n, 2)) + rng.normal(0, 0.12, (n, 1)))
    sigmas = np.minimum(sigmas, WIDEST)
    spread = rng.choice([0.0, 0.2, 0.4, 0.6])
    heights = log_uniform(rng, 3.5, 80) * noise * np.exp(rng.normal(0, spread, n))
    if rng.random() < 0.3:  # some out of focus: the same light over a larger area
        most = np.clip(WIDEST / sigmas.max(axis=1), 1.0, 2.0)
        wider = np.where(rng.random(n) < 0.3, rng.uniform(1.0, most), 1.0)
        sigmas, heights = sigmas * wider[:, None], heights / wider**2
    return _Spots(points, sigmas, heights)


def _scatter(rng: np.random.Generator, shape: tuple[int, int], n: int) -> Points:
    """Place spots uniformly, in clusters or in pairs, up to the border."""
    extent = np.array(shape) - 1.0
    points = rng.uniform(0, extent, (n, 2))
    kind = rng.random()
    if kind < 0.3 and n >= 4:
        hubs = rng.uniform(0, extent, (int(rng.integers(1, 8)), 2))
        spread = rng.uniform(8, 50)
        points = hubs[rng.integers(0, len(hubs), n)] + rng.normal(0, spread, (n, 2))
    elif kind < 0.5:
        half = n // 2
        turn = rng.uniform(0, 2 * np.pi, half)
        away = rng.uniform(2, 8, half) * np.array([np.sin(turn), np.cos(turn)])
        points[:half] = points[half : 2 * half] + away.T
    outside = ((points < 0) | (points > extent)).any(axis=1)
    points[outside] = rng.uniform(0, extent, (int(outside.sum()), 2))
    return points


# -- camera and file -------------------------------------------------------------------


class _Camera(NamedTuple):
    read_noise: Image
    """(y, x), standard deviation per pixel, as in sCMOS cameras."""
    grain: float
    """Sigma of the filter applied to the noise, in pixels; 0: none."""

    @property
    def grained(self) -> bool:
        return self.grain > 0

    def level(self, photons: Image) -> Image:
        """Return the standard deviation of the noise."""
        square = np.maximum(photons, 0) + self.read_noise**2
        return np.asarray(np.sqrt(square), np.float32)

    def expose(self, rng: np.random.Generator, photons: Image) -> Image:
        """Return counts: photons with shot and read noise."""
        noise = rng.standard_normal(photons.shape, dtype=np.float32)
        if self.grained:  # as in interpolated or denoised images
            noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), self.grain))
            noise /= float(noise.std())
        return np.asarray(photons + self.level(photons) * noise, np.float32)


def _camera(rng: np.random.Generator, shape: tuple[int, int]) -> _Camera:
    spread = np.exp(rng.normal(0, rng.uniform(0, 0.3), shape))
    noise = (rng.uniform(0.5, 4.0) * spread).astype(np.float32)
    return _Camera(noise, rng.uniform(0.4, 1.1) if rng.random() < 0.35 else 0.0)


def _file(rng: np.random.Generator, counts: Image) -> Image:
    """Apply steps on the way to a file: hot pixels, subtraction, saturation, 8 bits."""
    if rng.random() < 0.15:
        n = int(rng.integers(1, 12))
        rows, columns = (rng.integers(0, m, n) for m in counts.shape)
        counts[rows, columns] += float(np.ptp(counts)) * rng.uniform(0.3, 2.0, n)
    if rng.random() < 0.2:
        counts = _subtract(rng, counts)
    if rng.random() < 0.08:
        counts = np.minimum(counts, np.quantile(counts, rng.uniform(0.98, 0.999)))
    if rng.random() < 0.4:
        counts = np.round(rescale(counts) * 255)
        if rng.random() < 0.15:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 100))]
            packed = cv2.imencode(".jpg", counts.astype(np.uint8), quality)[1]
            unpacked = cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)
            counts = np.asarray(unpacked, np.float32)
    return np.asarray(counts, np.float32)


def _subtract(rng: np.random.Generator, counts: Image) -> Image:
    """Subtract the background; about half of the pixels become 0."""
    if rng.random() < 0.5:
        smooth = cv2.GaussianBlur(counts, (0, 0), rng.uniform(6, 20))
    else:
        edge = 2 * int(rng.integers(5, 16)) + 1
        disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge, edge))
        blurred = cv2.GaussianBlur(counts, (0, 0), 1.0)
        smooth = cv2.morphologyEx(blurred, cv2.MORPH_OPEN, disk)
        smooth = smooth + np.median(counts - smooth)
    return np.asarray(np.maximum(counts - smooth, 0), np.float32)
