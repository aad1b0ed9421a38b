"""The molecules that a classifier of dyes learns from, as a table of a recipe.

Wavelengths and ranges come in as TOML, checked plain values go out. Nothing here draws
or knows Keras.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from deepspot_scale.config import Strict

DYES = "dyes"
"""The source in a recipe's mixture whose windows the table below describes."""


class DyeRanges(Strict):
    """Two dyes in focus, and ranges from which each window draws its numbers."""

    wavelengths_nm: tuple[float, float] = (580.0, 670.0)
    """Emission of the two dyes."""
    aperture: float = Field(default=1.45, gt=0)
    """Numerical aperture."""
    pixel_nm: float = Field(default=110.0, gt=0)
    """Edge of a pixel in the sample."""
    photons: tuple[float, float] = (300.0, 6000.0)
    """Fewest and most photons of a molecule in a frame."""
    background: tuple[float, float] = (2.0, 50.0)
    """Least and greatest background, photons per pixel."""
    off: float = Field(default=0.7, ge=0)
    """Farthest of a molecule from the middle of its window, in pixels along each axis;
    half a pixel, and the error of its position."""

    @field_validator("wavelengths_nm", "photons", "background")
    @classmethod
    def _in_order(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] <= ends[1]:
            raise ValueError(f"expected [least, greatest] above 0, got {list(ends)}")
        return ends
