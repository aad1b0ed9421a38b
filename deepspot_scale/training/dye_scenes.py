"""Windows of molecules that a classifier of dyes learns from, each with its dye.

A recipe's ranges come in, a source of pairs goes out. Nothing here knows networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.dye_likelihood import GaussianSpread
from deepspot_scale.kernels.dye_windows import scale_windows
from deepspot_scale.networks.dye_classifier import WINDOW
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.simulation.dyes import DyeScene, draw_dyes, gaussian_spread
from deepspot_scale.training.dye_recipe import DYES, DyeRanges
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources


@dataclass(frozen=True)
class DyePairs:
    """Simulated windows with one molecule each; asked for pairs."""

    spreads: tuple[GaussianSpread, ...]
    """The PSF of each dye."""
    scene: DyeScene
    """What molecules look like besides."""
    cuts: int = 1024
    """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield windows (side, side, 1) with 1 for their dye, (1, 1, dyes)."""
        drawn = draw_dyes(self.spreads, self.scene, rng, n)
        answers = np.eye(len(self.spreads), dtype=np.float32)[drawn.dye]
        for window, answer in zip(scale_windows(drawn.images), answers, strict=True):
            yield window[..., None], answer[None, None]


def open_dyes(recipe: Recipe) -> Sources:
    """Open the one source of a recipe, the same for learning and validation.

    Raises
    ------
    SettingsError
        The mixture is not the one source of dyes.
    """
    names = [part.source for part in recipe.mixture]
    if names != [DYES]:
        raise SettingsError(
            f"a network of dyes learns from windows of the table [dyes] alone: write "
            f'mixture = [{{ source = "{DYES}", patches = 256 }}], got {names}'
        )
    source = dye_pairs(recipe.dyes)
    return Sources((source,), (source,), "source,image,use\n")


def dye_pairs(ranges: DyeRanges) -> DyePairs:
    """Return the source of some ranges."""
    spreads = tuple(
        gaussian_spread(
            wavelength,
            aperture=ranges.aperture,
            pixel_nm=ranges.pixel_nm,
            side=WINDOW,
        )
        for wavelength in ranges.wavelengths_nm
    )
    return DyePairs(spreads, DyeScene(ranges.photons, ranges.background, ranges.off))
