"""What is known of a microscope, from a TOML file: its camera and the width of a spot.

A path comes in, options of the stage *localise* go out. Nothing here reads movies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from deepspot_scale.config import Strict, checked, read_toml

WIDTH = 0.21
"""Standard deviation of the light of a molecule in focus, in wavelengths over the
numerical aperture (Gaussian approximation of the Airy disc)."""


class CameraFile(Strict):
    """A camera, and what is in front of it."""

    offset: float = Field(description="Counts of a pixel without light.")
    gain: float = Field(gt=0, description="Counts per electron.")
    quantum_efficiency: float = Field(default=1.0, gt=0, le=1)
    em_gain: float = Field(default=1.0, ge=1)
    read_noise: float = Field(default=0.0, ge=0, description="Electrons.")
    pixel_size: float | None = Field(
        default=None, gt=0, description="Edge of a pixel in the sample, micrometres."
    )
    psf_sigma_nm: float | None = Field(default=None, gt=0)
    wavelength_nm: float | None = Field(default=None, ge=100, le=3000)
    numerical_aperture: float | None = Field(default=None, gt=0, le=2)

    @model_validator(mode="after")
    def _fits(self) -> CameraFile:
        if (self.wavelength_nm is None) != (self.numerical_aperture is None):
            raise ValueError(
                "the width of a spot needs wavelength_nm and numerical_aperture"
            )
        if self.psf_sigma_nm is not None and self.wavelength_nm is not None:
            raise ValueError(
                "psf_sigma_nm says what wavelength_nm and numerical_aperture say; give "
                "one of them"
            )
        return self

    @property
    def sigma_nm(self) -> float | None:
        """Standard deviation of the point spread function; None: not known."""
        if self.wavelength_nm is not None and self.numerical_aperture is not None:
            return WIDTH * self.wavelength_nm / self.numerical_aperture
        return self.psf_sigma_nm


def read_camera(path: str | Path) -> dict[str, Any]:
    """Return options of the stage *localise* that a file says.

    Raises
    ------
    SettingsError
        The file is not there, no TOML, or has a value that is unknown or unfit.

    Examples
    --------
    A file for an EMCCD camera::

        offset = 100
        gain = 0.0222          # counts per electron after multiplication
        em_gain = 300
        quantum_efficiency = 0.9
        read_noise = 74.4
        pixel_size = 0.1
        wavelength_nm = 680
        numerical_aperture = 1.49
    """
    camera = checked(CameraFile, read_toml(Path(path)), noun="entry of the camera file")
    known: dict[str, Any] = {
        "camera_offset": camera.offset,
        "camera_gain": camera.gain,
        "camera_quantum_efficiency": camera.quantum_efficiency,
        "camera_em_gain": camera.em_gain,
        "camera_read_noise": camera.read_noise,
    }
    if camera.sigma_nm is not None:
        known["psf_sigma_nm"] = camera.sigma_nm
    if camera.pixel_size is not None:
        known["pixel_nm"] = 1000 * camera.pixel_size
    return known
