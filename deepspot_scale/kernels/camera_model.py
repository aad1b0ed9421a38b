"""A camera as numbers: from counts to photons and back.

Counts come in, photons go out. The chain is photons, photo-electrons (quantum
efficiency), multiplied electrons (EM gain), counts (gain), offset. Nothing here draws
noise or knows files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError


@dataclass(frozen=True)
class Camera:
    """What turns photons into counts."""

    offset: float = 100.0
    """Counts of a pixel without light."""
    gain: float = 1.0
    """Counts per electron at the read-out, so after EM multiplication."""
    quantum_efficiency: float = 1.0
    """Photo-electrons per photon, above 0 and at most 1."""
    read_noise: float = 0.0
    """Standard deviation of the read-out, in electrons (after EM multiplication)."""
    em_gain: float = 1.0
    """Electrons per photo-electron; above 1 the shot noise has twice the variance."""
    pixel_nm: float = 100.0
    """Edge of a pixel in the sample, nanometres."""

    def __post_init__(self) -> None:
        """Check that the numbers are those of a camera.

        Raises
        ------
        SettingsError
            A number is not finite or not in its range.
        """
        if not math.isfinite(self.offset):
            raise SettingsError(f"camera: offset must be finite, got {self.offset}")
        for name in ("gain", "quantum_efficiency", "pixel_nm"):
            _check(name, getattr(self, name), "above 0", getattr(self, name) > 0)
        _check("read_noise", self.read_noise, "0 or more", self.read_noise >= 0)
        _check("em_gain", self.em_gain, "1 or more", self.em_gain >= 1)
        share = self.quantum_efficiency
        _check("quantum_efficiency", share, "at most 1 (92 % is 0.92)", share <= 1)

    @property
    def counts_per_photon(self) -> float:
        """Counts above the offset for one photon, on average."""
        return self.gain * self.em_gain * self.quantum_efficiency

    @property
    def noise_factor(self) -> float:
        """Variance of the shot noise in photo-electrons, over their number: 1 or 2."""
        return 2.0 if self.em_gain > 1 else 1.0

    def to_photons(self, counts: NDArray[Any]) -> NDArray[np.float64]:
        """Return counts (any shape), offset included, as photons.

        Noise may make them negative.
        """
        above = np.asarray(counts, np.float64) - self.offset
        return np.asarray(above / self.counts_per_photon)

    def to_counts(self, photons: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean counts, offset included, of photons (any shape)."""
        light = np.asarray(photons, np.float64) * self.counts_per_photon
        return np.asarray(light + self.offset)


def _check(name: str, value: float, expected: str, right: bool) -> None:
    if not (math.isfinite(value) and right):
        raise SettingsError(f"camera: {name} must be {expected}, got {value}")
