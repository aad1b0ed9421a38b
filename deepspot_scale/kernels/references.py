"""Where "toward" is: an angle, a point or a line in, directions out.

Nothing here knows cells or which field the reference belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.sectors import angle_deg, nearest_on_line


@dataclass(frozen=True)
class Reference:
    """Where "toward" is, in one field: an angle, a point, or a line's nearest point."""

    angle_deg: float | None = None
    """Degrees counter-clockwise from +x as seen on the screen, the same for all."""
    line: tuple[tuple[float, float], ...] = ()
    """Corners (y, x) in pixels; one corner is a point."""

    def __post_init__(self) -> None:
        """Check that there is one and only one."""
        if (self.angle_deg is None) == (not self.line):
            raise SettingsError("a reference is either an angle or points, not both")
        numbers = (self.angle_deg or 0.0, *(value for yx in self.line for value in yx))
        if not np.isfinite(numbers).all():
            raise SettingsError(f"a reference holds finite numbers only, got {self}")

    def directions(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> Any:
        """Return the direction in degrees from each centre (y, x); NaN for NaN."""
        if self.angle_deg is not None:
            return np.where(np.isfinite(y), self.angle_deg % 360.0, np.nan)
        nearest = nearest_on_line(np.stack([y, x], axis=1), np.array(self.line))
        return np.where(
            np.isfinite(y), angle_deg(nearest[:, 0] - y, nearest[:, 1] - x), np.nan
        )
