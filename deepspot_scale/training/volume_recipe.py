"""The molecules in depth that a network learns from, as a table of a recipe.

A microscope, a mask and ranges come in as TOML, checked plain values go out. Nothing
here draws or knows Keras.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from deepspot_scale.config import Strict
from deepspot_scale.simulation.optics import Optics, flat_mask, zernike_mask

VOLUMES = "volumes"
"""The source in a recipe's mixture whose frames the table below describes."""
Range = tuple[float, float]


class ZernikeTerm(Strict):
    """One polynomial of a phase mask."""

    degree: int = Field(ge=0)
    """n of Zernike's polynomial."""
    order: int
    """m; below 0: with a sine."""
    amplitude: float
    """Root mean square over the aperture, radians."""


class VolumeRanges(Strict):
    """Microscope, mask, and ranges from which each simulated frame draws."""

    wavelength: float = Field(default=0.67, gt=0)
    """Of the emitted light, micrometres."""
    numerical_aperture: float = Field(default=1.45, gt=0)
    """Of the objective."""
    n_oil: float = Field(default=1.518, ge=1)
    """Refractive index of the immersion oil."""
    n_water: float = Field(default=1.33, ge=1)
    """Refractive index of the medium around the molecules."""
    magnification: float = Field(default=100.0, gt=0)
    """From the sample to the camera."""
    camera_pixel: float = Field(default=11.0, gt=0)
    """Edge of a pixel of the camera, micrometres."""
    focal_plane: float = 0.7
    """Depth to which the objective is set, as if all were oil, micrometres."""
    mask: tuple[ZernikeTerm, ...] = (
        ZernikeTerm(degree=2, order=2, amplitude=1.4),
        ZernikeTerm(degree=4, order=2, amplitude=-0.7),
    )
    """The phase mask is the sum of these: by default an astigmatism that the secondary
    one keeps in focus over a micrometre."""
    depth: Range = (0.0, 1.0)
    """Least and greatest depth of a molecule, micrometres."""
    plane: float = Field(default=0.05, gt=0)
    """Distance of the answer's planes, micrometres. They lie around the middle of
    `depth`; one more on either side of it keeps the ends unbiased."""
    emitters: tuple[int, int] = (0, 18)
    """Fewest and most molecules of a frame."""
    photons: Range = (5000.0, 60000.0)
    """Least and greatest photons of a molecule."""
    background: Range = (20.0, 150.0)
    """Least and greatest background, photons per pixel; uneven in half of the frames,
    from about the least to some value."""
    blur: Range = (0.75, 1.25)
    """Least and greatest blur of a molecule, sigma in pixels."""

    @field_validator("depth", "emitters", "photons", "background", "blur")
    @classmethod
    def _in_order(cls, ends: Range) -> Range:
        if not ends[0] <= ends[1]:
            raise ValueError(f"a range is [least, greatest], got {list(ends)}")
        return ends

    def optics(self) -> Optics:
        """Return the microscope; the mask's own pixels do not matter to polynomials."""
        return Optics(
            wavelength=self.wavelength,
            numerical_aperture=self.numerical_aperture,
            n_oil=self.n_oil,
            n_water=self.n_water,
            magnification=self.magnification,
            camera_pixel=self.camera_pixel,
            focal_plane=self.focal_plane,
        )

    def phases(self) -> NDArray[np.float32]:
        """Return the mask (edge, edge), radians."""
        optics = self.optics()
        mask = flat_mask(optics)
        for term in self.mask:
            mask += zernike_mask(optics, term.degree, term.order, term.amplitude)
        return mask

    def first_plane(self, n_planes: int) -> float:
        """Return the depth of the answer's first plane, micrometres."""
        return (sum(self.depth) - (n_planes - 1) * self.plane) / 2
