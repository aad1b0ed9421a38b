"""Windows around single molecules of known dye: PSFs come in, windows and truth go out.

Each window has one molecule near its middle, at any place between pixels and, if the
PSFs know depth, at any depth; its photons and the background are drawn evenly on a
logarithmic scale; the noise is that of photons. Nothing here knows how a dye is
recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.dye_likelihood import GaussianSpread, Real, Spread
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.simulation.optics import Optics, Pupil, make_pupil, psf


@dataclass(frozen=True)
class DyeScene:
    """What molecules in windows look like besides their dye."""

    photons: tuple[float, float] = (1000.0, 1000.0)
    """Fewest and most photons of a molecule."""
    background: tuple[float, float] = (5.0, 30.0)
    """Fewest and most photons per pixel."""
    off: float = 0.5
    """Farthest along y and x from the middle of the window, in pixels."""
    depth: tuple[float, float] = (0.0, 0.0)
    """Least and greatest depth, where the PSFs know depth; micrometres."""


class DyeWindows(NamedTuple):
    """Simulated windows and their truth."""

    images: Image
    """(n, side, side), photons."""
    dye: NDArray[np.int64]
    """(n,), number of the dye."""
    places: Real
    """(n, d), as the PSFs take them."""
    photons: Real
    """(n,), of the molecule on an endless camera."""
    background: Real
    """(n,), photons per pixel."""


@dataclass(frozen=True)
class PupilSpread:
    """The light of one dye through a microscope with a phase mask, at any depth."""

    pupil: Pupil
    """Microscope, wavelength and mask, from `dye_pupil` or `make_pupil`."""
    side: int = 21
    """Edge of a window in pixels."""

    @property
    def steps(self) -> tuple[float, ...]:
        """Twenty nanometres of depth, and a twentieth of a pixel."""
        # Larger than for a Gaussian: images are float32.
        return (0.02, 0.05, 0.05)

    def __call__(self, places: Real) -> NDArray[np.float32]:
        """Return the share of the light (n, side, side); depths are micrometres."""
        pixel = self.pupil.optics.pixel
        points = places * (1.0, pixel, pixel)
        return psf(self.pupil, points, np.ones(len(points)), (self.side, self.side))


def gaussian_spread(
    wavelength_nm: float, *, aperture: float, pixel_nm: float, side: int = 11
) -> GaussianSpread:
    """Return the PSF in focus: a Gaussian of sigma 0.21 wavelength / aperture.

    Examples
    --------
    >>> round(gaussian_spread(580, aperture=1.45, pixel_nm=110).sigma, 3)
    0.764
    """
    return GaussianSpread(0.21 * wavelength_nm / aperture / pixel_nm, side)


def dye_pupil(optics: Optics, mask: NDArray[np.floating], designed_for: float) -> Pupil:
    """Return the pupil of one dye behind a mask that was set for another wavelength.

    The mask delays by a length, so its phase for the dye, `optics.wavelength`, is the
    given one times `designed_for` / wavelength, both micrometres; dispersion of the
    mask is left out. `mask` is as `make_pupil` takes it.
    """
    return make_pupil(optics, np.asarray(mask) * (designed_for / optics.wavelength))


def draw_dyes(
    spreads: Sequence[Spread], scene: DyeScene, rng: np.random.Generator, n: int
) -> DyeWindows:
    """Draw n windows, each of a dye at random.

    `spreads` has the PSF of each dye; all have the same window and coordinates.
    """
    side, d = spreads[0].side, len(spreads[0].steps)
    dye = rng.integers(len(spreads), size=n)
    places, photons, background = draw_molecules(scene, rng, n, side)
    places = places[:, 3 - d :]
    light = np.empty((n, side, side))
    for number, spread in enumerate(spreads):
        own = dye == number
        light[own] = spread(places[own])
    light = light * photons[:, None, None] + background[:, None, None]
    images = rng.poisson(light).astype(np.float32)
    return DyeWindows(images, dye, places, photons, background)


def draw_molecules(
    scene: DyeScene, rng: np.random.Generator, n: int, side: int
) -> tuple[Real, Real, Real]:
    """Draw places (n, 3), depth first, photons (n,) and background (n,)."""
    depth = rng.uniform(*scene.depth, (n, 1))
    middle = (side - 1) / 2 + rng.uniform(-scene.off, scene.off, (n, 2))
    photons, background = (
        np.exp(rng.uniform(np.log(low), np.log(high), n))
        for low, high in (scene.photons, scene.background)
    )
    return np.concatenate([depth, middle], axis=1), photons, background
