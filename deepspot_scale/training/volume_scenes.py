"""Frames of molecules in depth, each with the volume that a network should answer.

A recipe's ranges come in, a source of pairs goes out. Each frame is normalised as a
frame of a movie is. Nothing here knows networks' layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.movie_scale import frame_floor, frame_top, normalise
from deepspot_scale.simulation.drawing import Image, Points
from deepspot_scale.simulation.emitter_frames import (
    emitter_light,
    expose,
    uneven_background,
)
from deepspot_scale.simulation.optics import Pupil, make_pupil
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources
from deepspot_scale.training.volume_recipe import VOLUMES, VolumeRanges

_WINDOW: Final = 41
"""Edge in pixels of what is drawn of a molecule."""
_OUTSIDE: Final = 8.0
"""Pixels beyond the frame in which molecules still shine into it."""
_BRIGHT: Final = (-0.7, 0.4)
"""Range of the logarithm of a movie's scale over a frame's own top."""


@dataclass(frozen=True)
class VolumeGrid:
    """Where the voxels of an answer lie."""

    factor: int
    """Fine pixels for one of the camera, along y and x."""
    n_planes: int
    """Planes of depth."""
    first: float
    """Depth of the first plane, micrometres."""
    plane: float
    """Distance of the planes, micrometres."""
    pixel: float
    """Edge of a camera pixel in the sample, micrometres."""

    def voxels(self, points: Points) -> Points:
        """Return (n, 3) z, y, x in voxels of points in micrometres.

        y and x in micrometres count from the centre of the camera's first pixel, in
        voxels from the centre of the first voxel.
        """
        lateral = (points[:, 1:] / self.pixel + 0.5) * self.factor - 0.5
        return np.column_stack([(points[:, 0] - self.first) / self.plane, lateral])

    def micrometres(self, voxels: Points) -> Points:
        """Return the points (n, 3) of places in voxels; the inverse of `voxels`."""
        lateral = ((voxels[:, 1:] + 0.5) / self.factor - 0.5) * self.pixel
        return np.column_stack([self.first + voxels[:, 0] * self.plane, lateral])


def volume_target(voxels: Points, shape: tuple[int, int, int]) -> Image:
    """Return the answer (y, x, z) to places (n, 3) z, y, x in voxels.

    Each molecule is 1 in all, spread over the eight voxels around it so that their
    centroid is its place: labels then have no rounding, though voxels are large.
    `shape` is (z, y, x); what falls outside is lost.
    """
    answer = np.zeros((shape[1], shape[2], shape[0]), np.float32)
    lowest = np.floor(voxels).astype(np.int64)
    share = voxels - lowest
    for corner in np.ndindex(2, 2, 2):
        place = lowest + corner
        weight = np.where(corner, share, 1 - share).prod(axis=1)
        inside = ((place >= 0) & (place < shape)).all(axis=1)
        z, y, x = place[inside].T
        np.add.at(answer, (y, x, z), weight[inside])
    return np.minimum(answer, 1)


@dataclass(frozen=True)
class VolumeFrames:
    """Simulated frames with the right volumes; asked for pairs."""

    ranges: VolumeRanges
    """From which each frame draws."""
    pupil: Pupil
    """Of the microscope with its mask."""
    grid: VolumeGrid
    """Of the answer."""
    edge: int
    """Edge of a patch in camera pixels."""
    cuts: int = 4
    """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` frames (edge, edge, 1) and their answers (fine, fine, planes)."""
        fine = self.edge * self.grid.factor
        shape = (self.grid.n_planes, fine, fine)
        for _ in range(n):
            counts, points, _ = draw_counts(rng, self.ranges, self.pupil, self.edge)
            top = frame_top(counts) * np.exp(rng.uniform(*_BRIGHT))
            frame = normalise(counts, frame_floor(counts), top if top > 0 else 1.0)
            yield frame[..., None], volume_target(self.grid.voxels(points), shape)


def draw_counts(
    rng: np.random.Generator, ranges: VolumeRanges, pupil: Pupil, edge: int
) -> tuple[Image, Points, NDArray[np.float64]]:
    """Return a frame in photo-electrons, the true places and the photons.

    Places are (n, 3) z, y, x in micrometres from the centre of the first pixel. Some
    molecules lie just outside the frame and shine into it; they come on top of the
    number drawn, at the same density.
    """
    wide = edge + 2 * _OUTSIDE
    number = rng.integers(ranges.emitters[0], ranges.emitters[1] + 1)
    n = int(rng.binomial(3 * number, (wide / edge) ** 2 / 3)) if number else 0
    points = np.column_stack(
        [
            rng.uniform(*ranges.depth, n),
            rng.uniform(-0.5 - _OUTSIDE, edge - 0.5 + _OUTSIDE, (n, 2))
            * pupil.optics.pixel,
        ]
    )
    photons = rng.uniform(*ranges.photons, n)
    sigma = rng.uniform(*ranges.blur, n)
    shape = (edge, edge)
    light = emitter_light(pupil, points, photons, shape, sigma=sigma, window=_WINDOW)
    least, most = ranges.background
    level = rng.uniform(least, most)
    if rng.random() < 0.5:
        light += uneven_background(rng, shape, (least, least), (level, level))
    else:
        light += np.float32(level)
    return expose(rng, light), points, photons


def open_volumes(recipe: Recipe, factor: int) -> Sources:
    """Return the sources of a recipe whose mixture has only molecules in depth.

    Raises
    ------
    SettingsError
        The mixture names another source.
    """
    for part in recipe.mixture:
        if part.source != VOLUMES:
            raise SettingsError(
                f"networks of the family {recipe.family} learn from simulated "
                f'molecules in depth: expected source = "{VOLUMES}", got '
                f"{part.source!r}"
            )
    ranges = recipe.volumes
    optics, n_planes = ranges.optics(), recipe.architecture.depth
    grid = VolumeGrid(
        factor, n_planes, ranges.first_plane(n_planes), ranges.plane, optics.pixel
    )
    pupil = make_pupil(optics, ranges.phases())
    frames = VolumeFrames(ranges, pupil, grid, recipe.patch)
    all_ = (frames,) * len(recipe.mixture)
    return Sources(all_, all_, "source,image,use\n")
