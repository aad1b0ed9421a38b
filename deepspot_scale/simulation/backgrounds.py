"""Backgrounds of simulated images: autofluorescence, cells, tissue, dirt, fibres.

A generator and a shape come in, light without any spot goes out, in units of its own
brightness. Parts may look like spots. Nothing here knows spots, cameras or files.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.drawing import (
    Image,
    ellipse,
    log_uniform,
    perlin_noise,
    render_spots,
    rescale,
    smooth_noise,
)


def draw_background(
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


def fine_texture(light: Image, sigma: float) -> Image:
    """Return the local standard deviation of structures as fine as spots."""
    fine = light - cv2.GaussianBlur(light, (0, 0), 2 * sigma)
    spread = cv2.GaussianBlur(fine**2, (0, 0), 4 * sigma)
    return np.asarray(np.sqrt(np.maximum(spread, 0)), np.float32)
