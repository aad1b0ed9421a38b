"""Scenes of smFISH before they are photographed, so that they can be made worse.

A generator comes in; a `FishScene` goes out: the light of background and spots apart,
camera and file. One scene photographed twice differs by its noise alone. All drawn
spots are true, however faint: what share of them can be found is what a photograph is
worth. Nothing here knows detectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation import wound_assay
from deepspot_scale.simulation.backgrounds import draw_background, fine_texture
from deepspot_scale.simulation.camera import Camera, draw_camera
from deepspot_scale.simulation.drawing import (
    Image,
    Points,
    Spots,
    log_uniform,
    render_spots,
    smooth_noise,
    without_brighter,
)

NARROWEST, WIDEST = 0.8, 3.0
"""Range of the standard deviation of a spot in pixels."""
SPOTS: Final = (120, 2500)
"""Fewest and most spots of 512 x 512 px."""
_DENSEST: Final = 0.02
"""Most spots in an area of one squared standard deviation."""
SPREADS: Final = (0.0, 0.1, 0.2, 0.3)
"""Standard deviations of the logarithm of a spot's height within a scene: single
molecules are alike. Of spots that differ by more, those that are seen would not say how
many are not."""
_PAIRS: Final = 0.2
"""Share of scenes in which half of the spots have a near neighbour."""
_CELLS: Final = 0.1
"""Share of scenes that are a part of a wound assay's field."""
_DIM: Final = 0.1
"""Share of images in which the background was subtracted."""


@dataclass(frozen=True)
class File:
    """How counts are stored."""

    gain: float
    """Stored counts of a photoelectron."""
    offset: float
    """Stored counts in the dark."""
    top: float
    """Largest number that is stored; larger ones saturate."""
    subtracted: float = 0.0
    """Standard deviation in pixels of the blur that was subtracted; 0: none was."""

    def store(self, electrons: Image) -> Image:
        """Return whole counts (y, x), float32."""
        if self.subtracted:
            smooth = cv2.GaussianBlur(electrons, (0, 0), self.subtracted)
            electrons = np.maximum(electrons - smooth, 0)
        counts = np.round(electrons * self.gain + self.offset)
        return np.asarray(np.clip(counts, 0, self.top), np.float32)


@dataclass(frozen=True)
class FishScene:
    """One place of a sample, and what photographs it."""

    light: Image
    """(y, x), photons without spots."""
    glow: Image
    """(y, x), photons of the spots."""
    points: Points
    """(n, 2), all spots in pixels."""
    camera: Camera
    """The camera and its noise."""
    file: File
    """How its counts are stored."""

    def photograph(self, rng: np.random.Generator) -> Image:
        """Return an image (y, x) in stored counts."""
        photons = np.maximum(self.light + self.glow, 0)
        return self.file.store(self.camera.expose(rng, photons))


def draw_fish_scene(rng: np.random.Generator, size: int = 512) -> FishScene:
    """Draw a scene: broad backgrounds or cells, spots of any size and brightness.

    It is square, of `size` pixels; those of cells are at most 1024 px.
    """
    shape = (size, size)
    camera = draw_camera(rng, shape)
    if rng.random() < _CELLS and size <= wound_assay.SIZE:
        light, spots = _cells(rng, size)
    else:
        sigma = float(log_uniform(rng, NARROWEST, WIDEST))
        light = _light(rng, shape, sigma)
        below = np.hypot(fine_texture(light, sigma), camera.level(light))
        spots = _spots(rng, shape, sigma, float(np.median(below)))
    glow = spots.render(shape)
    file = _file(rng, camera, light, glow)
    return FishScene(light, glow, spots.points, camera, file)


def _light(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Image:
    level = float(log_uniform(rng, 2, 400))
    if rng.random() < 0.3:  # clean: nothing but a slope
        rows, columns = np.indices(shape, np.float32) / max(shape)
        slope = rng.uniform(-0.3, 0.3, 2)
        return np.asarray(
            level * (1 + slope[0] * rows + slope[1] * columns), np.float32
        )
    return np.asarray(level * (0.05 + draw_background(rng, shape, sigma)), np.float32)


def _spots(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, noise: float
) -> Spots:
    area = shape[0] * shape[1]
    density = float(log_uniform(rng, *SPOTS)) * area / 512**2
    n = int(rng.poisson(min(density, _DENSEST * area / sigma**2)))
    points = _places(rng, shape, n)
    n = len(points)
    sigmas = sigma * np.exp(rng.normal(0, 0.06, (n, 2)) + rng.normal(0, 0.1, (n, 1)))
    spread = rng.choice(SPREADS)
    snr = log_uniform(rng, 3.5, 60) * np.exp(rng.normal(0, spread, n))
    spots = Spots(points, np.maximum(sigmas, 0.6), np.asarray(snr * noise))
    return _apart(spots, sigma)


def _places(rng: np.random.Generator, shape: tuple[int, int], n: int) -> Points:
    """Place spots everywhere, here more and there less densely.

    No part of a scene is without spots: where none is seen, they cannot be seen.
    """
    extent = np.array(shape) - 1.0
    many = rng.uniform(0, extent, (4 * n, 2))
    density = 0.3 + smooth_noise(rng, shape, float(rng.uniform(40, 200)))
    rows, columns = np.round(many).astype(np.int64).T
    kept = many[rng.random(len(many)) < density[rows, columns] / 1.3]
    points = kept[:n]
    if rng.random() < _PAIRS:
        half = len(points) // 2
        turn, far = rng.uniform(0, 2 * np.pi, half), rng.uniform(2, 8, half)
        away = (far * np.array([np.sin(turn), np.cos(turn)])).T
        points[:half] = np.clip(points[half : 2 * half] + away, 0, extent)
    return np.asarray(points, np.float64)


def _apart(spots: Spots, sigma: float) -> Spots:
    """Return the spots without those that nobody could tell from a brighter one."""
    near = max(2.0, 1.7 * sigma)
    return spots.only(without_brighter(spots.points, spots.heights, near))


def _cells(rng: np.random.Generator, size: int) -> tuple[Image, Spots]:
    """Return light and spots of a part of a wound assay's field."""
    scene = wound_assay.draw_scene(rng)
    planted = wound_assay.plant_spots(rng, scene, 1.0)
    points = planted[["y", "x"]].to_numpy(np.float64)
    corner = rng.integers(0, wound_assay.SIZE - size + 1, 2)
    light = wound_assay.lamp(rng, scene.cells.shape)
    light = light * wound_assay.autofluorescence(rng, scene)
    rows, columns = np.round(points).astype(np.int64).T
    heights, sigmas = wound_assay.draw_brightness(rng, light[rows, columns])
    within = np.asarray(points - corner, np.float64)
    inside = np.asarray(((within >= 0) & (within <= size - 1)).all(axis=1))
    y, x = corner
    spots = Spots(within, sigmas, heights).only(inside)
    cut = np.ascontiguousarray(light[y : y + size, x : x + size], np.float32)
    return cut, _apart(spots, float(sigmas.mean()))


def _file(rng: np.random.Generator, camera: Camera, light: Image, glow: Image) -> File:
    noise = float(np.median(camera.level(light)))
    subtracted = float(rng.uniform(6, 20)) if rng.random() < _DIM else 0.0
    if rng.random() < 0.25:  # a display's range in 8 bits
        low = 0.0 if subtracted else float(light.min()) - 3 * noise
        high = float(np.quantile(light + glow, rng.uniform(0.995, 1.0))) + noise
        gain = 255 / max(rng.uniform(1.0, 1.5) * (high - low), noise)
        return File(gain, -low * gain, 255.0, subtracted)
    gain = float(log_uniform(rng, 0.5 / noise, 20 / noise))
    return File(gain, float(rng.uniform(0, 300)), 65535.0, subtracted)


def debris(rng: np.random.Generator, shape: tuple[int, int], n: int) -> Image:
    """Return `n` bodies of dirt, each about 1 bright: ragged, with soft edges."""
    light = np.zeros(shape, np.float32)
    centres = rng.uniform(0, shape, (n, 2))
    widths = log_uniform(rng, 3, 20, n)
    for centre, width in zip(centres, widths, strict=True):
        at = centre + rng.normal(0, width / 2, (4, 2))
        at = np.clip(at, 0, np.array(shape) - 1.0)
        heights = rng.uniform(0.3, 1.0, 4)
        light += render_spots(shape, at, heights, width * rng.uniform(0.3, 1, 4))
    return light


def smear(image: Image, kernel: NDArray[Any]) -> Image:
    """Return the image convolved with a kernel (k, k) that is made to sum to 1."""
    weights = np.asarray(kernel / kernel.sum(), np.float32)
    border = cv2.BORDER_REFLECT
    return np.asarray(cv2.filter2D(image, -1, weights, borderType=border), np.float32)
