"""Cameras and files of simulated images: from photons to stored counts.

Light in photons comes in, counts go out, with the noise of a camera and what imaging
pipelines do to an image before it is stored. Nothing here knows what the light shows.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from deepspot_scale.simulation.drawing import Image, rescale


class Camera(NamedTuple):
    """A camera and its noise."""

    read_noise: Image
    """(y, x), standard deviation per pixel, as in sCMOS cameras."""
    grain: float
    """Sigma of the filter applied to the noise, in pixels; 0: none."""

    @property
    def grained(self) -> bool:
        """Whether the noise of neighbouring pixels is alike."""
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


def draw_camera(rng: np.random.Generator, shape: tuple[int, int]) -> Camera:
    """Return a camera for images of this shape."""
    spread = np.exp(rng.normal(0, rng.uniform(0, 0.3), shape))
    noise = (rng.uniform(0.5, 4.0) * spread).astype(np.float32)
    return Camera(noise, rng.uniform(0.4, 1.1) if rng.random() < 0.35 else 0.0)


def store(rng: np.random.Generator, counts: Image) -> Image:
    """Apply steps on the way to a file: hot pixels, subtraction, saturation, 8 bits."""
    if rng.random() < 0.15:
        n = int(rng.integers(1, 12))
        rows, columns = (rng.integers(0, m, n) for m in counts.shape)
        counts[rows, columns] += float(np.ptp(counts)) * rng.uniform(0.3, 2.0, n)
    if rng.random() < 0.2:
        counts = subtract_background(rng, counts)
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


def subtract_background(rng: np.random.Generator, counts: Image) -> Image:
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
