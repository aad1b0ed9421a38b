"""Simulated z-stacks of single RNAs: a seed comes in, a stack and its spots go out.

Spots are Gaussians at any place between voxels, on an even background, with shot noise
and read noise; so what a method misses it misses for its geometry. The width along z
and the distance of planes are those of a usual microscope where none are given. Nothing
here knows plates or how spots are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.drawing import Points, Truth, render_spots


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


def simulate_stack(
    kind: StackKind = StackKind(), seed: int | tuple[int, int] = 0
) -> Truth:
    """Simulate one stack; points of the truth are (z, y, x) in voxels.

    The seed is a number, or that of a set and the stack's number in it.

    Examples
    --------
    >>> truth = simulate_stack(StackKind((8, 64, 64), spots=20))
    >>> truth.image.shape, truth.points.shape
    ((8, 64, 64), (20, 3))
    """
    seeds = seed if isinstance(seed, tuple) else (seed,)
    rng = np.random.default_rng((*seeds, *b"stack"))
    points = rng.uniform(0, np.array(kind.shape) - 1.0, (kind.spots, 3))
    noise = np.hypot(np.sqrt(kind.background), kind.read_noise)
    share = 1 + kind.spread * rng.uniform(-1, 1, kind.spots)
    heights = kind.peak * noise * share
    sigmas = np.broadcast_to(kind.sigma, points.shape)
    light = np.full(kind.shape, kind.background)
    add_spots(light, points, heights, sigmas)
    counts = rng.poisson(light) + rng.normal(0, kind.read_noise, kind.shape)
    image = np.clip(np.rint(counts), 0, 65535).astype(np.float32)
    return Truth(image, points, heights / noise, np.sqrt(sigmas[:, 1:].prod(axis=1)))


def add_spots(
    stack: NDArray[Any],
    points: Points,
    heights: NDArray[np.float64],
    sigmas: NDArray[np.float64],
) -> None:
    """Add the light of n spots to a stack (z, y, x), in place.

    Centres are (n, 3) in voxels, heights (n,), standard deviations (n, 3) in voxels. A
    plane is seen where it lies along z, not integrated; pixels are.
    """
    for z in range(len(stack)):
        off = (z - points[:, 0]) / sigmas[:, 0]
        near = np.abs(off) <= 4
        height = heights[near] * np.exp(-0.5 * off[near] ** 2)
        own = points[near, 1:], height, sigmas[near, 1:]
        stack[z] += render_spots(stack.shape[1:], *own)
