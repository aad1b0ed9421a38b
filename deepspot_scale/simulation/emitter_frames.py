"""Frames of molecules at known depths, as a camera sees them through a phase mask.

Places, photons and a pupil go in, one frame in photo-electrons comes out. The light of
every molecule is drawn in a window around it and added. Nothing here knows where
molecules lie, networks or files.

Source: Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5 (blur, background
and noise).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.optics import Array, Pupil, blur, psf

BLUR = (0.75, 1.25)
"""Range of the blur's sigma in pixels, which is each molecule's own: so networks do not
count on one point spread function."""


def emitter_light(
    pupil: Pupil,
    points: NDArray[np.floating],
    photons: NDArray[np.floating],
    shape: tuple[int, int],
    *,
    sigma: NDArray[np.floating],
    window: int = 61,
) -> Array:
    """Return the expected photons (y, x) of all molecules.

    `points` is (n, 3) z, y, x in micrometres and `photons` (n,), as for `optics.psf`;
    `sigma` is (n,), the blur of each in pixels. `window` is the edge, in pixels, of
    what is drawn of a molecule: light beyond is lost.
    """
    points = np.asarray(points, np.float64).reshape(-1, 3)
    centres = np.rint(points[:, 1:] / pupil.optics.pixel).astype(np.int64)
    corners = centres - window // 2
    images = blur(psf(pupil, points, photons, (window, window), corners), sigma)
    frame = np.zeros(shape, np.float32)
    for image, (top, left) in zip(images, corners.tolist(), strict=True):
        rows = slice(max(top, 0), max(top + window, 0))
        columns = slice(max(left, 0), max(left + window, 0))
        part = frame[rows, columns]
        y, x = max(-top, 0), max(-left, 0)
        part += image[y : y + part.shape[0], x : x + part.shape[1]]
    return frame


def uneven_background(
    rng: np.random.Generator,
    shape: tuple[int, int],
    least: tuple[float, float] = (20, 30),
    most: tuple[float, float] = (100, 150),
) -> Array:
    """Return a super-Gaussian background (y, x), photons per pixel.

    Its top and what is far from it are drawn from `most` and `least`; its widths are a
    fifth to two fifths of the frame, its axes turn by up to 45 degrees and its centre
    lies within 10 pixels of the middle.
    """
    angle = rng.uniform(-np.pi / 4, np.pi / 4)
    middle = (np.array(shape) - 1) / 2 + rng.uniform(-10, 10, 2)
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy, dx = y - middle[0], x - middle[1]
    along = np.cos(angle) * dx + np.sin(angle) * dy
    across = np.cos(angle) * dy - np.sin(angle) * dx
    widths = rng.uniform(0.2, 0.4, 2) * shape[::-1]
    square = (along / widths[0]) ** 2 / 2 + (across / widths[1]) ** 2 / 2
    low, high = rng.uniform(*least), rng.uniform(*most)
    return np.asarray(low + (high - low) * np.exp(-(square**2)), np.float32)


def uneven_read_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    least: tuple[float, float] = (8, 9),
    most: tuple[float, float] = (10, 12),
) -> Array:
    """Return the standard deviation of a camera's read noise (y, x), likewise."""
    return uneven_background(rng, shape, least, most)


def expose(
    rng: np.random.Generator,
    light: NDArray[np.floating],
    *,
    read_noise: NDArray[np.floating] | float = 0.0,
    baseline: float = 0.0,
) -> Array:
    """Return counts (y, x) of expected photons: Poisson, then read noise, never < 0.

    `read_noise` is a standard deviation; `baseline` is added with it.
    """
    counts = rng.poisson(light).astype(np.float32) + np.float32(baseline)
    if np.any(read_noise):
        counts += rng.standard_normal(light.shape, np.float32) * read_noise
    return np.asarray(np.maximum(counts, 0), np.float32)
