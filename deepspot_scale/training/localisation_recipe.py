"""The movies that a localisation network learns from, as a table of a recipe.

Ranges of a microscope come in as TOML, checked plain values go out. Each training frame
draws its own numbers from these ranges. Nothing here draws or knows Keras.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from deepspot_scale.config import Strict
from deepspot_scale.simulation.molecules import STRUCTURES

MOVIES = "movies"
"""The source in a recipe's mixture whose frames the table below describes."""


class CameraRange(Strict):
    """One kind of camera; offset and gain do not matter to normalised frames."""

    em: bool = False
    """Whether electrons are multiplied, which doubles the variance of shot noise."""
    read_noise: tuple[float, float] = (0.5, 3.0)
    """Least and greatest read noise, in photo-electrons before multiplication."""
    read_noise_spread: float = Field(default=0.0, ge=0)
    """Standard deviation of the logarithm of the pixels' read noise; 0: all alike."""


class MovieRanges(Strict):
    """Ranges from which each simulated frame draws its microscope and its sample."""

    pixel_nm: float = Field(default=100.0, gt=0)
    """Edge of a pixel in the sample: only turns densities into numbers."""
    cameras: tuple[CameraRange, ...] = Field(
        default=(
            CameraRange(em=True, read_noise=(0.05, 0.5)),
            CameraRange(read_noise=(0.8, 4.0), read_noise_spread=0.3),
        ),
        min_length=1,
    )
    """Cameras, each as likely as the others."""
    psf: tuple[Literal["gaussian", "airy"], ...] = Field(
        default=("gaussian", "gaussian", "airy"), min_length=1
    )
    """Shapes of the point spread function, each entry as likely as the others."""
    sigma: tuple[float, float] = (0.85, 1.6)
    """Least and greatest standard deviation of the PSF, in pixels."""
    sigma_spread: float = Field(default=0.05, ge=0)
    """Standard deviation of sigma between molecules of a frame, over its mean."""
    photons: tuple[float, float] = (200.0, 6000.0)
    """Least and greatest mean photons of a molecule in a frame."""
    photon_spread: tuple[float, float] = (0.1, 0.8)
    """Least and greatest standard deviation of the photons, over their mean."""
    background: tuple[float, float] = (2.0, 200.0)
    """Least and greatest background, photons per pixel."""
    density: tuple[float, float] = (0.05, 12.0)
    """Least and greatest mean number of shining molecules per square micrometre."""
    structures: tuple[str, ...] = Field(
        default=("random", "random", "tubes", "filaments", "clusters", "grid"),
        min_length=1,
    )
    """Structures on which molecules lie, each entry as likely as the others."""
    on_time: tuple[float, float] = (1.0, 5.0)
    """Least and greatest mean shining time in frames, for half of the frames; in the
    others a molecule shines through the whole frame."""
    alpha: float = Field(default=7.0, gt=0)
    """Steepness of the distance transform."""
    d_max: float = Field(default=35.0, gt=0)
    """Distance at which the distance transform becomes 0, in fine pixels."""

    @field_validator(
        "sigma", "photons", "photon_spread", "background", "density", "on_time"
    )
    @classmethod
    def _in_order(cls, ends: tuple[float, float]) -> tuple[float, float]:
        if not 0 < ends[0] <= ends[1]:
            raise ValueError(f"a range is [least, greatest] above 0, got {list(ends)}")
        return ends

    @field_validator("structures")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in STRUCTURES:
                raise ValueError(f"there is no {name!r}, only {', '.join(STRUCTURES)}")
        return names
