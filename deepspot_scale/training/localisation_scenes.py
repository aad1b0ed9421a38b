"""Frames that localisation networks learn from, each with its target.

A recipe's ranges come in, a source of pairs goes out. Every frame has its own
microscope, sample and brightness, and is normalised as a frame of a movie is. Nothing
here knows networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.camera_model import Camera
from deepspot_scale.kernels.movie_scale import frame_floor, frame_top, normalise
from deepspot_scale.simulation.drawing import Image, Points, log_uniform
from deepspot_scale.simulation.molecules import Photons
from deepspot_scale.simulation.movies import (
    Flashes,
    MovieRecipe,
    Psf,
    draw_flashes,
    draw_frame,
    draw_read_noise,
)
from deepspot_scale.training.localisation_recipe import MOVIES, MovieRanges
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources

FineTarget = Callable[[Points, tuple[int, int]], Image]
"""Gives the answer (*fine space) to points (n, 2) in a frame of a shape in pixels."""
_EM_GAIN: Final = 100.0
"""Any gain well above 1 has the same noise."""
_COUNTS: Final = 20.0
"""Counts per photo-electron: rounding to counts is far below any noise."""
_BRIGHT: Final = (-0.7, 0.4)
"""Range of the logarithm of a movie's scale over a frame's own top."""
_RIM: Final = 6
"""Most pixels by which a border of the image lies inside a patch."""
_LEAST: Final = 0.1
"""Share of the mean photons under which a molecule is no target: nobody could see the
last hundredth of a frame's exposure."""


@dataclass(frozen=True)
class MovieFrames:
    """Simulated frames with the right answers; asked for pairs."""

    ranges: MovieRanges
    """From which each frame draws."""
    edge: int
    """Edge of a patch in camera pixels."""
    target: FineTarget
    """The right answer."""
    cuts: int = 4
    """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` frames (edge, edge, 1) and their answers (fine, fine, 1)."""
        for _ in range(n):
            image, points = draw_training_frame(rng, self.ranges, self.edge)
            answer = self.target(points, (self.edge, self.edge))
            yield image[..., None], answer[..., None]


def draw_training_frame(
    rng: np.random.Generator, ranges: MovieRanges, edge: int
) -> tuple[Image, Points]:
    """Return a normalised frame (edge, edge) and its true positions in pixels.

    Half of the frames end inside the patch, where their last pixels are repeated: so
    blocks continue past the border of an image.
    """
    rims = rng.integers(0, _RIM + 1, (2, 2)) * (rng.random() < 0.5)
    shape = (edge - int(rims[0].sum()), edge - int(rims[1].sum()))
    recipe = draw_recipe(rng, ranges, shape)
    flashes = draw_flashes(rng, recipe, 1)
    noise = draw_read_noise(rng, recipe)
    counts = draw_frame(rng, recipe, flashes.points, flashes.photons, noise)
    top = frame_top(counts) * np.exp(rng.uniform(*_BRIGHT))
    frame = normalise(counts, frame_floor(counts), top if top > 0 else 1.0)
    seen = _visible(flashes, recipe.photons.mean)
    return np.pad(frame, rims, mode="edge"), seen.points + rims[:, 0]


def _visible(flashes: Flashes, mean: float) -> Flashes:
    return flashes.only(flashes.photons >= _LEAST * mean)


def draw_recipe(
    rng: np.random.Generator, ranges: MovieRanges, shape: tuple[int, int]
) -> MovieRecipe:
    """Return the recipe of one frame, drawn from the ranges."""
    kind = ranges.cameras[int(rng.integers(len(ranges.cameras)))]
    em_gain = _EM_GAIN if kind.em else 1.0
    camera = Camera(
        gain=_COUNTS / em_gain,
        read_noise=float(log_uniform(rng, *np.maximum(kind.read_noise, 1e-3)))
        * em_gain,
        em_gain=em_gain,
        pixel_nm=ranges.pixel_nm,
    )
    photons = Photons(
        float(log_uniform(rng, *ranges.photons)),
        float(rng.uniform(*ranges.photon_spread)),
        "gamma" if rng.random() < 0.5 else "normal",
    )
    # The root is uniform: half of the frames have more than a quarter of the densest.
    root = rng.uniform(*np.sqrt(ranges.density))
    blinks = rng.random() < 0.5
    return MovieRecipe(
        shape=shape,
        camera=camera,
        psf=Psf(
            float(rng.uniform(*ranges.sigma)),
            ranges.sigma_spread,
            ranges.psf[int(rng.integers(len(ranges.psf)))],
        ),
        photons=photons,
        background=float(log_uniform(rng, *ranges.background)),
        noise_gradient=float(rng.uniform(0, 2)) if rng.random() < 0.3 else 0.0,
        structure=ranges.structures[int(rng.integers(len(ranges.structures)))],
        density=float(root**2),
        density_gradient=float(rng.uniform()) if rng.random() < 0.3 else 0.0,
        on_time=float(rng.uniform(*ranges.on_time)) if blinks else 0.0,
        read_noise_spread=kind.read_noise_spread,
    )


def open_movies(recipe: Recipe, target: FineTarget) -> Sources:
    """Return the sources of a recipe whose mixture has only simulated movies.

    Raises
    ------
    SettingsError
        The mixture names another source.
    """
    for part in recipe.mixture:
        if part.source != MOVIES:
            raise SettingsError(
                f"networks of the family {recipe.family} learn from simulated "
                f'movies: expected source = "{MOVIES}", got {part.source!r}'
            )
    frames = MovieFrames(recipe.movies, recipe.patch, target)
    all_ = (frames,) * len(recipe.mixture)
    return Sources(all_, all_, "source,image,use\n")
