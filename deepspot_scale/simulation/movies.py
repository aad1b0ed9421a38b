"""Movies of blinking molecules whose positions are known.

A recipe and a seed come in; frames in counts and the truth go out as arrays. A frame is
the molecules' light through a point spread function, background, and a camera. Nothing
here knows networks, files or plates.

Sources: Sage et al. 2019, https://doi.org/10.1038/s41592-019-0364-4 (camera: Poisson,
gamma for EM, normal read noise); the Airy pattern as in Born and Wolf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1, ndtr

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.camera_model import Camera
from deepspot_scale.simulation.drawing import Points
from deepspot_scale.simulation.molecules import (
    STRUCTURES,
    Photons,
    Structure,
    blink,
    draw_molecules,
)

Floats = NDArray[np.float64]
_AIRY: Final = 2 * math.pi * 0.21
"""v per r / sigma in (2 J1(v) / v)^2, since the Gaussian of an Airy disk has
sigma = 0.21 wavelengths / NA."""
_FINE: Final = 3
"""Samples along a pixel's edge by which an Airy pattern is integrated over it."""
_V_STEP: Final = 0.01
"""Distance between two values of the table of an Airy pattern."""


@dataclass(frozen=True)
class Psf:
    """The point spread function in focus."""

    sigma: float = 1.3
    """Standard deviation of the Gaussian (nearest to the Airy disk), pixels."""
    spread: float = 0.0
    """Standard deviation of sigma between molecules, over its mean."""
    kind: Literal["gaussian", "airy"] = "gaussian"
    """Shape."""

    def sigmas(self, rng: np.random.Generator, n: int) -> Floats:
        """Return the standard deviations of `n` molecules, (n,), pixels."""
        factor = 1 + self.spread * rng.standard_normal(n)
        return self.sigma * np.clip(factor, 0.5, 1.5)

    def render(
        self, shape: tuple[int, int], points: Points, photons: Floats, sigmas: Floats
    ) -> Floats:
        """Return the light in photons per pixel, (y, x).

        Points (n, 2) in pixels, also outside the frame; photons and sigmas are (n,).
        """
        if len(points) == 0:
            return np.zeros(shape)
        draw, radii = _KINDS[self.kind]
        reach = math.ceil(radii * float(sigmas.max())) + 1
        return _add_up(shape, points, photons, reach, lambda edge: draw(edge, sigmas))


def _gaussian(offsets: Floats, sigmas: Floats) -> tuple[Floats, Floats]:
    """Return the light's shares along y and x, each (n, w): pixel integrals."""
    scale = sigmas[:, None, None]
    shares = ndtr((offsets + 0.5) / scale) - ndtr((offsets - 0.5) / scale)
    return shares[:, 0], shares[:, 1]


@cache
def _airy_table() -> NDArray[np.float32]:
    """Return (2 J1(v) / v)^2 at steps of v, since Bessel functions are slow."""
    v = np.maximum(np.arange(0, 100, _V_STEP), 1e-9)
    return np.asarray((2 * j1(v) / v) ** 2, np.float32)


def _airy(offsets: Floats, sigmas: Floats) -> Floats:
    """Return the light's share of each pixel, (n, w, w)."""
    within = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    k = _AIRY / sigmas[:, None, None]
    fine = (offsets[..., None] + within).reshape(*offsets.shape[:2], -1) * k / _V_STEP
    squared = np.square(fine).astype(np.float32)
    step = np.sqrt(squared[:, 0, :, None] + squared[:, 1, None, :])
    table = _airy_table()
    light = table[np.minimum(step + 0.5, len(table) - 1).astype(np.int32)]
    n, width = len(offsets), offsets.shape[2]
    blocks = light.reshape(n, width, _FINE, width, _FINE).sum(axis=(2, 4))
    return np.asarray(blocks * (k**2 / (4 * math.pi * _FINE**2)))


_KINDS: Final[dict[str, tuple[Callable[[Floats, Floats], object], float]]] = {
    "gaussian": (_gaussian, 4.0),
    "airy": (_airy, 6.0),
}
"""How a kind is drawn, and how many sigmas of it are."""


def _add_up(
    shape: tuple[int, int],
    points: Points,
    photons: Floats,
    reach: int,
    draw: Callable[[Floats], object],
) -> Floats:
    """Return the sum of windows of `reach` around the points."""
    nearest = np.round(points).astype(np.int64)
    offsets = np.arange(-reach, reach + 1)
    # From a molecule to the centres of the pixels around it: (n, 2, w).
    shares = draw((nearest - points)[:, :, None] + offsets)
    if isinstance(shares, tuple):
        shares = shares[0][:, :, None] * shares[1][:, None, :]
    light = np.asarray(shares) * photons[:, None, None]
    rows, columns = (
        np.clip(nearest[:, axis, None] + offsets + reach, 0, m + 2 * reach - 1)
        for axis, m in enumerate(shape)
    )
    padded = tuple(m + 2 * reach for m in shape)
    places = rows[:, :, None] * padded[1] + columns[:, None, :]
    # Windows that lie outside by more than their reach end in the border, cut below.
    near = (nearest >= -reach) & (nearest < np.array(shape) + reach)
    keep = near.all(axis=1)
    total = np.bincount(
        places[keep].ravel(), light[keep].ravel(), minlength=padded[0] * padded[1]
    ).reshape(padded)
    core = total[reach : reach + shape[0], reach : reach + shape[1]]
    return np.asarray(core, np.float64)


def expose(
    rng: np.random.Generator,
    photons: Floats,
    camera: Camera,
    read_noise: Floats | None = None,
) -> NDArray[np.uint16]:
    """Return the counts that a camera makes of the mean light, any shape.

    `read_noise` in electrons per pixel, as of sCMOS cameras, replaces the camera's own.
    Counts are rounded and cut to 0 ... 65535.
    """
    electrons = rng.poisson(camera.quantum_efficiency * photons).astype(np.float64)
    if camera.em_gain > 1:
        lit = electrons > 0
        electrons[lit] = camera.em_gain * rng.standard_gamma(electrons[lit])
    noise = camera.read_noise if read_noise is None else read_noise
    electrons += noise * rng.standard_normal(photons.shape)
    counts = camera.offset + camera.gain * electrons
    return np.clip(np.round(counts), 0, 65535).astype(np.uint16)


@dataclass(frozen=True)
class MovieRecipe:
    """Everything that a simulated movie depends on, besides its seed."""

    shape: tuple[int, int] = (64, 64)
    """Pixels of a frame, y and x."""
    camera: Camera = field(default_factory=Camera)
    """The camera, with its pixel in nanometres."""
    psf: Psf = field(default_factory=Psf)
    """The point spread function."""
    photons: Photons = field(default_factory=Photons)
    """Photons of a molecule in a whole frame."""
    background: float = 20.0
    """Photons per pixel and frame, at the left border."""
    noise_gradient: float = 0.0
    """How much more background the right border has, over the left one's."""
    structure: str = "random"
    """A name of `molecules.STRUCTURES`."""
    density: float = 1.0
    """Shining molecules per square micrometre and moment, on average."""
    density_gradient: float = 0.0
    """Share of the density that is lost from top to bottom, 0 to 1."""
    on_time: float = 0.0
    """Mean frames for which a molecule shines; 0: one whole frame."""
    read_noise_spread: float = 0.0
    """Standard deviation of the logarithm of the pixels' read noise; 0: all alike."""

    def __post_init__(self) -> None:
        """Check what no draw could follow.

        Raises
        ------
        SettingsError
            There is no such structure, or a number is out of its range.
        """
        if self.structure not in STRUCTURES:
            raise SettingsError(
                f"structure must be one of {', '.join(STRUCTURES)}, "
                f"got {self.structure!r}"
            )
        if not 0 <= self.density_gradient <= 1:
            raise SettingsError(
                f"density_gradient must be 0 to 1, got {self.density_gradient}"
            )
        for name in ("background", "noise_gradient", "density", "on_time"):
            if not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(
                    f"{name} must be 0 or more, got {getattr(self, name)}"
                )

    @property
    def margin(self) -> float:
        """Pixels around the frame from which molecules still send light into it."""
        return 3 * self.psf.sigma

    @property
    def per_frame(self) -> float:
        """Shining molecules per moment, those in the margin included."""
        edges = (m + 2 * self.margin for m in self.shape)
        return self.density * math.prod(edges) * (self.camera.pixel_nm / 1000) ** 2


class Flashes(NamedTuple):
    """Molecules in frames: one row for each frame in which one shines; all (n,)."""

    frame: NDArray[np.int64]
    """From 0."""
    points: Points
    """(n, 2), pixels, y and x."""
    photons: Floats
    """Photons in this frame."""

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Flashes:
        """Return some of them."""
        return Flashes(self.frame[chosen], self.points[chosen], self.photons[chosen])


class MovieTruth(NamedTuple):
    """The true localisations inside the frames, in the order of frames; all (n,)."""

    frame: NDArray[np.int64]
    """From 0."""
    x_nm: Floats
    """Nanometres from the outer corner of the first pixel."""
    y_nm: Floats
    """Nanometres from the outer corner of the first pixel."""
    photons: Floats
    """Photons in this frame."""


def draw_flashes(
    rng: np.random.Generator, recipe: MovieRecipe, n_frames: int
) -> Flashes:
    """Return who shines in which frame, those just outside the frame too."""
    structure: Structure = STRUCTURES[recipe.structure](
        rng, recipe.shape, recipe.margin
    )
    who, frame, share = blink(rng, n_frames, recipe.per_frame, recipe.on_time)
    n = int(who.max()) + 1 if len(who) else 0
    points = draw_molecules(rng, structure, n, recipe.density_gradient)
    photons = recipe.photons.draw(rng, n)
    rows = Flashes(frame, points[who], photons[who] * share)
    return rows.only(np.argsort(frame, kind="stable"))


def draw_frame(
    rng: np.random.Generator,
    recipe: MovieRecipe,
    points: Points,
    photons: Floats,
    read_noise: Floats | None = None,
) -> NDArray[np.uint16]:
    """Return one frame (y, x) in counts with molecules at given places."""
    sigmas = recipe.psf.sigmas(rng, len(points))
    light = recipe.psf.render(recipe.shape, points, photons, sigmas)
    ramp = 1 + recipe.noise_gradient * np.linspace(0, 1, recipe.shape[1])
    return expose(rng, light + recipe.background * ramp, recipe.camera, read_noise)


def draw_read_noise(rng: np.random.Generator, recipe: MovieRecipe) -> Floats:
    """Return the read noise of each pixel, (y, x), electrons."""
    spread = recipe.read_noise_spread * rng.standard_normal(recipe.shape)
    return np.asarray(recipe.camera.read_noise * np.exp(spread))


def simulate_movie(
    recipe: MovieRecipe, n_frames: int, seed: int
) -> tuple[NDArray[np.uint16], MovieTruth]:
    """Return a movie (t, y, x) in counts and its true localisations."""
    rng = np.random.default_rng(seed)
    flashes = draw_flashes(rng, recipe, n_frames)
    read_noise = draw_read_noise(rng, recipe)
    movie = np.zeros((n_frames, *recipe.shape), np.uint16)
    bounds = np.searchsorted(flashes.frame, np.arange(n_frames + 1))
    for number, (start, stop) in enumerate(pairwise(bounds)):
        some = flashes.points[start:stop], flashes.photons[start:stop]
        movie[number] = draw_frame(rng, recipe, *some, read_noise)
    inside = (flashes.points >= -0.5) & (flashes.points < np.array(recipe.shape) - 0.5)
    seen = flashes.only(inside.all(axis=1) & (flashes.photons > 0))
    y_nm, x_nm = ((seen.points + 0.5) * recipe.camera.pixel_nm).T
    return movie, MovieTruth(seen.frame, x_nm, y_nm, seen.photons)
