"""The reference of polarity: an angle, a point or a line in, directions out.

Places are in pixels; directions are those of the specimen, also where pixels are not
square.
Nothing here knows cells, or the field to which a reference belongs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.sectors import angle_deg, nearest_on_line


@dataclass(frozen=True)
class Reference:
    """The reference of one field: an angle, a point, or a line's nearest point."""

    angle_deg: float | None = None
    """Degrees counter-clockwise from +x as seen on the screen (with pixels drawn to
    scale), equal for all cells."""
    line: tuple[tuple[float, float], ...] = ()
    """Corners (y, x) in pixels; a single corner is a point."""

    def __post_init__(self) -> None:
        """Check that either an angle or a line is given, with finite numbers."""
        if (self.angle_deg is None) == (not self.line):
            raise SettingsError("a reference needs either an angle or points")
        numbers = (self.angle_deg or 0.0, *(value for yx in self.line for value in yx))
        if not np.isfinite(numbers).all():
            raise SettingsError(f"a reference needs finite numbers, got {self}")

    def directions(
        self,
        y: NDArray[np.float64],
        x: NDArray[np.float64],
        pixel: PixelShape = PixelShape(),
    ) -> NDArray[np.float64]:
        """Return the direction in degrees from each centre (y, x); NaN stays NaN."""
        if self.angle_deg is not None:
            return np.where(np.isfinite(y), self.angle_deg % 360.0, np.nan)
        y, x = y * pixel.y, x * pixel.x
        corners = np.array(self.line) * pixel
        nearest = nearest_on_line(np.stack([y, x], axis=1), corners)
        return np.where(
            np.isfinite(y), angle_deg(nearest[:, 0] - y, nearest[:, 1] - x), np.nan
        )
