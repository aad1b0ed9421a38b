"""Simulated z-stacks of single RNAs: a seed comes in, a stack and its spots go out.

Spots are Gaussians at any place between voxels, on an even background, with shot noise
and read noise; so what a method misses it misses for its geometry. The width along z
and the distance of planes are those of a usual microscope where none are given. Nothing
here knows plates or how spots are found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deepspot_scale.simulation.drawing import Truth, render_spots


@dataclass(frozen=True)
class StackKind:
    """What simulated stacks show."""

    shape: tuple[int, int, int] = (32, 256, 256)
    """Voxels along z, y and x."""
    spots: int = 500
    """Spots of a stack."""
    peak: float = 15.0
    """Height of a spot in standard deviations of the background's noise."""
    sigma: tuple[float, float, float] = (350 / 300, 150 / 103, 150 / 103)
    """Standard deviations of a spot along z, y and x, in voxels."""
    spread: float = 0.3
    """Heights are even in 1 - spread to 1 + spread of the peak."""
    background: float = 100.0
    """Photons of a voxel."""
    read_noise: float = 3.0
    """Standard deviation, photons."""


def simulate_stack(kind: StackKind = StackKind(), seed: int = 0) -> Truth:
    """Simulate one stack; points of the truth are (z, y, x) in voxels.

    Examples
    --------
    >>> truth = simulate_stack(StackKind((8, 64, 64), spots=20))
    >>> truth.image.shape, truth.points.shape
    ((8, 64, 64), (20, 3))
    """
    rng = np.random.default_rng((seed, *b"stack"))
    points = rng.uniform(0, np.array(kind.shape) - 1.0, (kind.spots, 3))
    noise = np.hypot(np.sqrt(kind.background), kind.read_noise)
    share = 1 + kind.spread * rng.uniform(-1, 1, kind.spots)
    heights = kind.peak * noise * share
    sigmas = np.broadcast_to(kind.sigma, points.shape)
    light = np.full(kind.shape, kind.background)
    for z in range(len(light)):  # a plane is seen where it lies, not integrated
        height = heights * np.exp(-0.5 * ((z - points[:, 0]) / kind.sigma[0]) ** 2)
        near = np.abs(z - points[:, 0]) <= 4 * kind.sigma[0]
        own = points[near, 1:], height[near], sigmas[near, 1:]
        light[z] += render_spots(kind.shape[1:], *own)
    counts = rng.poisson(light) + rng.normal(0, kind.read_noise, kind.shape)
    image = np.clip(np.rint(counts), 0, 65535).astype(np.float32)
    return Truth(image, points, heights / noise, np.sqrt(sigmas[:, 1:].prod(axis=1)))
