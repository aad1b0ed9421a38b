"""What a localisation network should answer: from true positions to a fine map.

Positions in camera pixels come in, a map on a grid `scale` times finer goes out. A fine
pixel i lies at (i + 0.5) / scale - 0.5 camera pixels. Nothing here knows movies or
networks.

Sources: Yee, Hagen and Ventura (distance transform); Nehme et al. 2018,
https://doi.org/10.1364/OPTICA.5.000458 (heat map).
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from scipy import ndimage

from deepspot_scale.simulation.drawing import Image, Points


def to_fine(points: Points, scale: int) -> Points:
    """Return positions (n, 2) in camera pixels as fractional fine pixels."""
    return (np.asarray(points, np.float64) + 0.5) * scale - 0.5


def distance_target(
    points: Points,
    shape: tuple[int, int],
    *,
    scale: int,
    alpha: float = 7.0,
    d_max: float = 35.0,
) -> Image:
    """Return the exponential distance transform, (y * scale, x * scale), in [0, 1].

    (exp(alpha (1 - d / d_max)) - 1) / (exp(alpha) - 1), where d is the distance in fine
    pixels to the nearest true position, and 0 from d_max on. The paper's has no
    divisor, so its values reach 1096. Of positions in one fine pixel the last one
    counts.
    """
    size = tuple(m * scale for m in shape)
    rim = math.ceil(d_max) + 1
    fine = to_fine(points, scale).reshape(-1, 2) + rim
    padded = tuple(m + 2 * rim for m in size)
    pixels = np.round(fine).astype(np.int64)
    near = ((pixels >= 0) & (pixels < np.array(padded))).all(axis=1)
    fine, pixels = fine[near], pixels[near]
    if len(fine) == 0:
        return np.zeros(size, np.float32)
    free = np.ones(padded, np.uint8)
    free[tuple(pixels.T)] = 0
    _, labels = cv2.distanceTransformWithLabels(
        free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    centres = np.zeros((int(labels.max()) + 1, 2), np.float32)
    centres[labels[tuple(pixels.T)]] = fine
    core = labels[rim : rim + size[0], rim : rim + size[1]]
    rows, columns = (np.arange(m, dtype=np.float32) + rim for m in size)
    dy = rows[:, None] - centres[:, 0][core]
    dx = columns - centres[:, 1][core]
    near_ness = 1 - np.sqrt(dy * dy + dx * dx) / np.float32(d_max)
    rise = np.expm1(np.float32(alpha) * np.maximum(near_ness, 0))
    return np.asarray(rise / np.float32(math.expm1(alpha)), np.float32)


def heat_target(
    points: Points, shape: tuple[int, int], *, scale: int, sigma: float = 1.0
) -> Image:
    """Return a Gaussian of height 1 at every position, (y * scale, x * scale).

    Positions fall into fine pixels, where they add up; `sigma` is in fine pixels and
    the Gaussian is cut after 3 sigma.
    """
    size = tuple(m * scale for m in shape)
    rim = math.ceil(3 * sigma)
    pixels = np.round(to_fine(points, scale).reshape(-1, 2)).astype(np.int64) + rim
    counts = np.zeros([m + 2 * rim for m in size], np.float32)
    near = ((pixels >= 0) & (pixels < np.array(counts.shape))).all(axis=1)
    np.add.at(counts, tuple(pixels[near].T), 1)
    heat = ndimage.gaussian_filter(counts, sigma, mode="constant", radius=rim)
    heat *= _height(sigma, rim)
    return np.asarray(heat[rim : rim + size[0], rim : rim + size[1]], np.float32)


def _height(sigma: float, rim: int) -> float:
    """Return by what a normalised Gaussian is multiplied to have the height 1."""
    profile = np.exp(-(np.arange(-rim, rim + 1) ** 2) / (2 * sigma**2))
    return float(profile.sum() ** 2)
