"""Drawing functions for simulated images: spots, noise, cells; arrays in and out.

Spots are Gaussians integrated over each pixel. A `numpy.random.Generator` is the only
source of randomness. Nothing here knows what kind of image is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import ndtr

Image = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """One simulated image and its true spots."""

    image: Image
    """(*space), camera counts."""
    points: Points
    """(n, d), spot centres in pixels, y and x last; the first pixel's centre is 0."""
    snr: NDArray[np.float64]
    """(n,), height of each spot divided by the local standard deviation of noise and
    of background texture at the scale of spots."""
    sigma: NDArray[np.float64]
    """(n,), geometric mean of each spot's standard deviations, in pixels."""
    grains: Points = field(default_factory=lambda: np.zeros((0, 2)))
    """(m, d), dots that stand out of noise and texture as spots do, but are none: a
    second, far fainter population."""
    uncounted: Points = field(default_factory=lambda: np.zeros((0, 2)))
    """(k, d), objects of which it does not count whether they are found."""


def render_spots(
    shape: tuple[int, ...],
    points: Points,
    heights: NDArray[np.float64],
    sigmas: NDArray[np.float64],
) -> Image:
    """Draw Gaussian spots, integrated over each pixel, on a black image; float32.

    The image has d axes, such as (y, x) or (z, y, x). For n spots: (n, d) centres in
    pixels, inside the image; (n,) heights, the values of the Gaussians at their
    centres; (n,) or (n, d) standard deviations in pixels, above 0.
    """
    if len(points) == 0:
        return np.zeros(shape, np.float32)
    sigmas = np.broadcast_to(np.reshape(sigmas, (len(points), -1)), points.shape)
    pad = int(np.ceil(4 * sigmas.max())) + 1
    canvas = np.zeros([n + 2 * pad for n in shape])
    offsets = np.arange(-pad, pad + 1)
    nearest = np.round(points).astype(np.int64)
    edge = nearest[:, :, None] + offsets - points[:, :, None]
    scale = sigmas[:, :, None]
    profile = ndtr((edge + 0.5) / scale) - ndtr((edge - 0.5) / scale)
    profile *= np.sqrt(2 * np.pi) * scale
    for first, profiles, height in zip(nearest, profile, heights, strict=True):
        window = canvas[tuple(slice(n, n + 2 * pad + 1) for n in first)]
        window += reduce(np.multiply.outer, profiles, height)
    return canvas[tuple(slice(pad, pad + n) for n in shape)].astype(np.float32)


class Spots(NamedTuple):
    """Gaussian spots to be drawn."""

    points: Points
    """(n, 2), pixels."""
    sigmas: NDArray[np.float64]
    """(n, 2), pixels."""
    heights: NDArray[np.float64]
    """(n,), photons."""

    def only(self, chosen: NDArray[np.bool_]) -> Spots:
        """Return some of them."""
        return Spots(*(values[chosen] for values in self))

    def with_others(self, others: Spots) -> Spots:
        """Return these, then others."""
        return Spots(*map(np.concatenate, zip(self, others, strict=True)))

    @property
    def width(self) -> NDArray[np.float64]:
        """(n,), geometric mean of the standard deviations, pixels."""
        return np.asarray(np.sqrt(self.sigmas.prod(axis=1)))

    def render(self, shape: tuple[int, ...]) -> Image:
        """Return the image that has them alone, see `render_spots`."""
        return render_spots(shape, self.points, self.heights, self.sigmas)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], scale: float
) -> Image:
    """Return a random surface in [0, 1] with structures about `scale` pixels wide."""
    rows, columns = (int(n / scale) + 4 for n in shape)
    lattice = rng.random((rows, columns), dtype=np.float32)
    size = (int(columns * scale) + 1, int(rows * scale) + 1)
    surface = cv2.resize(lattice, size, interpolation=cv2.INTER_CUBIC)
    top, left = (int(rng.integers(0, max(1, int(scale)))) for _ in range(2))
    cut = surface[top : top + shape[0], left : left + shape[1]]
    return rescale(cut)


def rescale(values: NDArray[Any]) -> Image:
    """Map the smallest value to 0 and the largest to 1; a constant becomes 0."""
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


def perlin_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    lattice: int,
    *,
    octaves: int = 5,
    persistence: float = 0.5,
) -> Image:
    """Return Perlin's gradient noise in octaves, about -1 to 1.

    The first octave has `lattice` cells along each axis, each further one twice as
    many, with `persistence` times the strength of the one before. Fade 6t^5 - 15t^4 +
    10t^3 (Perlin 2002, https://doi.org/10.1145/566570.566636).
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        total += persistence**octave * _gradient_noise(rng, shape, lattice << octave)
    return total


def _gradient_noise(
    rng: np.random.Generator, shape: tuple[int, int], lattice: int
) -> Image:
    angle = rng.uniform(0, 2 * np.pi, (lattice + 1, lattice + 1))
    along_y, along_x = (f(angle).astype(np.float32) for f in (np.sin, np.cos))
    at_y, at_x = (np.arange(n, dtype=np.float32) * (lattice / n) for n in shape)
    row, column = at_y.astype(np.int64), at_x.astype(np.int64)
    y, x = (at_y - row)[:, None], (at_x - column)[None, :]
    fade_y, fade_x = (t**3 * (t * (6 * t - 15) + 10) for t in (y, x))
    value = np.zeros(shape, np.float32)
    for dy, weight_y in ((0, 1 - fade_y), (1, fade_y)):
        for dx, weight_x in ((0, 1 - fade_x), (1, fade_x)):
            # One axis after the other is several times faster than both at once.
            rows, columns = row + dy, column + dx
            slope = along_y.take(rows, 0).take(columns, 1) * (y - dy)
            slope += along_x.take(rows, 0).take(columns, 1) * (x - dx)
            slope *= weight_y * weight_x
            value += slope
    return np.float32(np.sqrt(2)) * value


def elastic_grid(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, points: int
) -> tuple[Image, Image]:
    """Return the source of each pixel of a deformed image: columns and rows.

    The standard deviation `sigma` is that of the shift of a control point, in pixels;
    shifts are cubic between the control points, `points` along each axis.
    """
    rows, columns = np.indices(shape, np.float32)
    shifts = rng.normal(0, sigma, (2, points, points)).astype(np.float32)
    dy, dx = (cv2.resize(s, shape[::-1], interpolation=cv2.INTER_CUBIC) for s in shifts)
    return columns + dx, rows + dy


def scatter(rng: np.random.Generator, shape: tuple[int, int], n: int) -> Points:
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


def without_brighter(
    points: Points, heights: NDArray[np.float64], near: float
) -> NDArray[np.bool_]:
    """Return which of n spots have no brighter one within `near` pixels; (n,)."""
    pairs = KDTree(points).query_pairs(near, output_type="ndarray")
    first_is_fainter = heights[pairs[:, 0]] < heights[pairs[:, 1]]
    apart = np.ones(len(heights), bool)
    apart[np.where(first_is_fainter, pairs[:, 0], pairs[:, 1])] = False
    return apart
