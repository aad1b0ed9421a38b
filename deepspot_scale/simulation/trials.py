"""Trials: simulated fields that each ask one question about brightness.

A generator comes in, an image and its truth go out. Unlike the sets to learn from,
these are plain: even background, noise, and spots far enough apart that each can be
told from the others, so that a wrong count has one cause.

    sparse    few spots, or none, on a large clean field
    sites     single RNAs beside sites, aggregates and hot pixels that outshine them
    decades   spots whose SNR spans from 4 to 100 in one field
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.simulation.drawing import (
    Image,
    Points,
    Truth,
    log_uniform,
    render_spots,
)

SPARSE_NUMBERS = (0, 1, 2, 5, 10, 30)
"""Spots of a sparse field."""
SPARSE_LIGHT = (500.0, 20_000.0)
"""Least and most counts of their heights, above a noise of about 10."""
DECADES = (4.0, 100.0)
"""Range of the SNR."""
_FAR = 14.0
"""Least distance of two spots in pixels: neither lies on the other's flank or ring."""
_RIM = 8


def _apart(
    rng: np.random.Generator, size: int, n: int, taken: Points | None = None
) -> Points:
    """Return up to n points, none near another, a taken one or the image's edge."""
    rim = min(_RIM, size // 4)
    points = rng.uniform(rim, size - 1 - rim, (4 * n, 2))
    if taken is not None and len(taken) and len(points):
        away = KDTree(taken).query(points)[0]
        points = points[away >= 2 * _FAR]
    for first, second in sorted(KDTree(points).query_pairs(_FAR)) if n else ():
        if not np.isnan(points[first]).any():
            points[second] = np.nan
    return points[~np.isnan(points).any(axis=1)][:n]


def _arrive(rng: np.random.Generator, light: Image) -> NDArray[np.float64]:
    """Return counts of half an electron each, with their shot noise."""
    return np.asarray(rng.poisson(2.0 * light) / 2)


def _store(counts: NDArray[np.float64]) -> Image:
    return np.asarray(np.clip(np.rint(counts), 0, 65535), np.float32)


def _truth(
    image: Image,
    points: Points,
    heights: NDArray[np.float64],
    noise: float,
    sigma: float,
    uncounted: Points | None = None,
) -> Truth:
    """Return the truth; heights and noise are in counts."""
    width = np.full(len(points), sigma)
    none = np.zeros((0, 2))
    others = none if uncounted is None else uncounted
    return Truth(image, points, heights / noise, width, uncounted=others)


def sparse_image(rng: np.random.Generator, size: int = 1024) -> Truth:
    """Simulate a clean field of few spots, of 500 to 20,000 counts, or of none."""
    points = _apart(rng, size, int(rng.choice(SPARSE_NUMBERS)))
    sigma, n = float(rng.uniform(1.2, 1.6)), len(points)
    heights = log_uniform(rng, *SPARSE_LIGHT, n)
    light = 100 + render_spots((size, size), points, heights, np.full(n, sigma))
    image = _store(_arrive(rng, light) + rng.normal(0, 7.0, light.shape))
    return _truth(image, points, heights, 10.0, sigma)


def sites_image(rng: np.random.Generator, size: int = 512) -> Truth:
    """Simulate single RNAs beside what outshines them, which is not counted.

    One to eight transcription sites of 5 to 50 molecules; at times an aggregate, and
    hot pixels inside or along an edge. The same generator gives the same single RNAs
    to `singles_image`.
    """
    return _singles(rng, size, beside=True)


def singles_image(rng: np.random.Generator, size: int = 512) -> Truth:
    """Simulate the field of `sites_image` without what outshines its single RNAs."""
    return _singles(rng, size, beside=False)


def _singles(rng: np.random.Generator, size: int, *, beside: bool) -> Truth:
    shape = (size, size)
    sigma, noise = float(rng.uniform(1.2, 1.7)), float(rng.uniform(6, 12))
    sites = _apart(rng, size, int(rng.integers(1, 9)))
    molecules = log_uniform(rng, 5, 50, len(sites))
    hidden = _others(rng, size) if rng.random() < 0.5 else np.zeros((0, 2))
    points = _apart(
        rng, size, int(rng.integers(20, 300)), np.concatenate([sites, hidden])
    )
    typical = noise * float(log_uniform(rng, 6, 25))
    heights = typical * np.exp(rng.normal(0, 0.2, len(points)))
    light = 150 + render_spots(shape, points, heights, np.full(len(points), sigma))
    counts = _arrive(rng, light) + rng.normal(0, noise, shape)
    if beside:  # more light, the same noise otherwise
        wide = np.full(len(sites), 1.15 * sigma)
        more = render_spots(shape, sites, typical * molecules, wide)
        if len(hidden):
            more = more + _aggregate(shape, hidden[0], 30 * typical)
        counts += _arrive(rng, more)
        rows, columns = np.round(hidden[1:]).astype(np.int64).T
        counts[rows, columns] = 100 * typical
    others = np.concatenate([sites, hidden]) if beside else np.zeros((0, 2))
    total = float(np.hypot(noise, np.sqrt(150 / 2)))
    return _truth(_store(counts), points, heights, total, sigma, others)


def _others(rng: np.random.Generator, size: int) -> Points:
    """Return the place of an aggregate, and those of hot pixels, some along an edge."""
    hot = rng.integers(0, size, (int(rng.integers(0, 7)), 2)).astype(np.float64)
    if rng.random() < 0.5:
        hot[:, 0] = rng.choice([0, size - 1])
    rim = min(20, size // 3)
    return np.concatenate([rng.uniform(rim, size - 1 - rim, (1, 2)), hot])


def _aggregate(shape: tuple[int, int], centre: Points, height: float) -> Image:
    """Draw a bright clump, several spots wide."""
    around = np.array([(0, 0), (2, 1), (-1, 2), (1, -2), (-2, -1)], np.float64)
    parts = np.clip(centre + around, 0, np.array(shape) - 1)
    return render_spots(shape, parts, np.full(5, height), np.full(5, 2.2))


def decades_image(rng: np.random.Generator, size: int = 512) -> Truth:
    """Simulate spots whose SNR spans from 4 to 100 in one field, evenly in its log."""
    sigma, read = float(rng.uniform(1.1, 2.0)), float(rng.uniform(4, 15))
    level = float(log_uniform(rng, 50, 500))
    points = _apart(rng, size, max(1, size * size // 1750))
    noise = float(np.hypot(read, np.sqrt(level / 2)))
    heights = noise * log_uniform(rng, *DECADES, len(points))
    rows, columns = np.indices((size, size), np.float32) / size
    slope = rng.uniform(-0.3, 0.3, 2)
    light = level * (1 + slope[0] * rows + slope[1] * columns)
    light += render_spots((size, size), points, heights, np.full(len(points), sigma))
    image = _store(_arrive(rng, light) + rng.normal(0, read, light.shape))
    return _truth(image, points, heights, noise, sigma)
