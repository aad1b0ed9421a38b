"""Images of spots whose truth is known: what the network learns from, what tests use.

A seeded `numpy.random.Generator` comes in, an image and its true spots go out, as
plain arrays. Spots are Gaussians integrated over each pixel. Nothing here knows
networks, files or plates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Image = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """One artificial image and the spots in it."""

    image: Image
    """(y, x), camera counts."""
    points: Points
    """(n, 2), spot centres (y, x) in pixels; the first pixel's centre is (0, 0)."""
    snr: NDArray[np.float64]
    """(n,), height of each spot over the standard deviation of the noise below it."""
    sigma: NDArray[np.float64]
    """(n,), geometric mean of each spot's two standard deviations, in pixels."""


def render_spots(
    shape: tuple[int, int],
    points: Points,
    heights: NDArray[np.float64],
    sigmas: NDArray[np.float64],
) -> Image:
    """Draw Gaussian spots, integrated over each pixel, on black.

    Parameters
    ----------
    shape
        (y, x) of the image in pixels.
    points
        (n, 2) centres (y, x) in pixels, inside the image.
    heights
        (n,) value that an infinitely small pixel would have at the centre.
    sigmas
        (n,) or (n, 2) standard deviations along y and x, in pixels, above 0.

    Returns
    -------
    ndarray
        float32, (y, x).
    """
    if len(points) == 0:
        return np.zeros(shape, np.float32)
    sigmas = np.broadcast_to(np.reshape(sigmas, (len(points), -1)), (len(points), 2))
    pad = int(np.ceil(4 * sigmas.max())) + 1
    canvas = np.zeros((shape[0] + 2 * pad, shape[1] + 2 * pad))
    offsets = np.arange(-pad, pad + 1)
    nearest = np.round(points).astype(np.int64)
    edge = nearest[:, :, None] + offsets - points[:, :, None]
    scale = sigmas[:, :, None]
    profile = ndtr((edge + 0.5) / scale) - ndtr((edge - 0.5) / scale)
    profile *= np.sqrt(2 * np.pi) * scale
    for (row, column), (along_y, along_x), height in zip(
        nearest, profile, heights, strict=True
    ):
        window = canvas[row : row + 2 * pad + 1, column : column + 2 * pad + 1]
        window += height * along_y[:, None] * along_x
    return canvas[pad : pad + shape[0], pad : pad + shape[1]].astype(np.float32)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float
) -> Image:
    """Return a random surface in [0, 1] whose bumps are about `scale` pixels wide."""
    rows, columns = (int(n / scale) + 4 for n in shape)
    lattice = rng.random((rows, columns), dtype=np.float32)
    size = (int(columns * scale) + 1, int(rows * scale) + 1)
    surface = cv2.resize(lattice, size, interpolation=cv2.INTER_CUBIC)
    top, left = (int(rng.integers(0, max(1, int(scale)))) for _ in range(2))
    cut = surface[top : top + shape[0], left : left + shape[1]]
    return rescale(cut)


def rescale(values: NDArray[Any]) -> Image:
    """Map the least value to 0 and the largest to 1; a constant becomes 0."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low if high > low else 1.0)
    return np.asarray(scaled, np.float32)


def log_uniform(
    rng: np.random.Generator, low: float, high: float, size: int | None = None
) -> NDArray[np.float64]:
    """Draw values whose logarithm is uniform between `low` and `high`, both above 0."""
    return np.exp(rng.uniform(np.log(low), np.log(high), size))


def ellipse(
    shape: tuple[int, int],
    centre: tuple[float, float],
    axes: tuple[float, float],
    angle_deg: float,
) -> NDArray[np.bool_]:
    """Return the mask of a filled ellipse; `axes` are its half axes in pixels."""
    mask = np.zeros(shape, np.uint8)
    middle = (round(float(centre[1])), round(float(centre[0])))
    half = (max(1, round(float(axes[0]))), max(1, round(float(axes[1]))))
    cv2.ellipse(mask, middle, half, angle_deg, 0, 360, 1, -1)
    return mask.astype(bool)


def _background(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """Autofluorescence: octaves of smooth noise, cells with edges, nuclei, blobs."""
    light = np.zeros(shape, np.float32)
    for scale in (4, 8, 16, 32, 64, 128):
        if rng.random() < 0.5:
            strength = rng.random() * (1.0 if scale > 8 else 0.35)
            light += strength * smooth_noise(rng, shape, scale)
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 8)):
            y, x = rng.uniform(0, shape, 2)
            height, width = rng.uniform(12, 70, 2)
            mask = ellipse(shape, (y, x), (height, width), rng.uniform(0, 180))
            blur = float(rng.choice([0.5, 1.0, 2.0, 5.0]))
            soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), blur)
            texture = 1 - 0.6 * rng.random() * smooth_noise(rng, shape, 6)
            light += rng.uniform(0.1, 1.5) * soft * texture
    if rng.random() < 0.5:
        n = int(rng.integers(1, 20))
        points = rng.uniform(0, np.array(shape) - 1, (n, 2))
        sigmas = log_uniform(rng, 5, 14, 2 * n).reshape(n, 2)
        light += render_spots(shape, points, rng.uniform(0.1, 2.0, n), sigmas)
    if rng.random() < 0.5:
        light *= 0.5 + smooth_noise(rng, shape, float(max(shape)))
    return light


def _spot_points(rng: np.random.Generator, shape: tuple[int, int], n: int) -> Points:
    """Scatter spots, uniformly or gathered in clusters; some reach the border."""
    extent = np.array(shape) - 1.0
    if rng.random() < 0.65 or n < 4:
        return rng.uniform(0, extent, (n, 2))
    hubs = rng.uniform(0, extent, (int(rng.integers(1, 8)), 2))
    spread = rng.uniform(8, 50)
    points = hubs[rng.integers(0, len(hubs), n)] + rng.normal(0, spread, (n, 2))
    outside = ((points < 0) | (points > extent)).any(axis=1)
    points[outside] = rng.uniform(0, extent, (int(outside.sum()), 2))
    return points


def _camera(rng: np.random.Generator, photons: Image) -> tuple[Image, Image]:
    """Add shot and read noise; return counts and the noise level of each pixel."""
    shape = photons.shape
    read = rng.uniform(0.5, 4.0)
    spread = read * np.exp(rng.normal(0, rng.uniform(0, 0.3), shape))
    level = np.sqrt(np.maximum(photons, 0) + spread**2).astype(np.float32)
    noise: NDArray[Any] = rng.standard_normal(shape, dtype=np.float32)
    if rng.random() < 0.35:  # interpolated or denoised images: noise has a grain
        grain = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 1.1))
        noise = grain / float(grain.std())
    return photons + level * noise, level


def _file(rng: np.random.Generator, counts: Image) -> Image:
    """Do what happens on the way to a file: hot pixels, 8 bits, subtraction, limits."""
    kind = rng.random()
    if rng.random() < 0.15:
        n = int(rng.integers(1, 12))
        rows, columns = (rng.integers(0, m, n) for m in counts.shape)
        counts[rows, columns] += float(np.ptp(counts)) * rng.uniform(0.3, 2.0, n)
    if kind < 0.15:  # background-subtracted: half of the pixels are 0
        blurred = cv2.GaussianBlur(counts, (0, 0), rng.uniform(6, 20))
        counts = np.maximum(counts - blurred, 0).astype(np.float32)
    elif kind < 0.55:
        counts = np.round(rescale(counts) * 255)
    if rng.random() < 0.05:
        counts = np.minimum(counts, np.quantile(counts, rng.uniform(0.98, 0.999)))
    return np.asarray(counts, np.float32)


def broad_image(rng: np.random.Generator, size: int = 256) -> Truth:
    """Simulate one image as microscopes give them, from ranges as broad as theirs.

    Spots of sigma 0.7 to 3.5 px, round to anisotropic, in any number from none to
    3000 per 512 px image, over backgrounds with octaves of noise, cells, nuclei and
    large blobs; shot, read and grained noise; hot pixels, 8-bit, saturated and
    background-subtracted files.

    Parameters
    ----------
    rng
        The only source of chance.
    size
        Edge of the square image in pixels.
    """
    shape = (size, size)
    area = (size / 512) ** 2
    density = 0 if rng.random() < 0.04 else log_uniform(rng, 4, 3000) * area
    sigma = float(log_uniform(rng, 0.8, 2.6 if rng.random() < 0.85 else 3.5))
    n = int(rng.poisson(min(density, 0.06 * size**2 / sigma**2)))
    points = _spot_points(rng, shape, n)
    sigmas = sigma * np.exp(rng.normal(0, 0.08, (n, 2)) + rng.normal(0, 0.12, (n, 1)))
    background = log_uniform(rng, 3, 600) * (0.05 + _background(rng, shape))
    noise = np.sqrt(float(np.median(background)) + 4)
    spread = rng.choice([0.0, 0.2, 0.4])
    heights = log_uniform(rng, 4, 60) * noise * np.exp(rng.normal(0, spread, n))
    photons = background + render_spots(shape, points, heights, sigmas)
    counts, level = _camera(rng, np.asarray(photons, np.float32))
    rows, columns = np.round(points).astype(np.int64).T
    return Truth(
        image=_file(rng, counts),
        points=points,
        snr=heights / level[rows, columns],
        sigma=np.sqrt(sigmas.prod(axis=1)),
    )
