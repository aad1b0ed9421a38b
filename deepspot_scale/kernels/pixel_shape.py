"""The shape of a pixel: its size in micrometres in, its sides without a unit out.

Where pixels are not square, an angle or a distance that is taken in pixels is not that
of the specimen. Places are then multiplied by the pixel's height and width in *square
pixels of the same area*, which leaves counts, areas and square pixels as they are.
The height of a voxel is in the same unit. Nothing here knows images.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

_SQUARE: Final = 1e-4
"""What height and width of a square pixel may differ, as a share: less than a
hundredth of a degree, as rounded metadata do."""


class PixelShape(NamedTuple):
    """Height and width of a pixel, in sides of a square of the same area."""

    y: float = 1.0
    x: float = 1.0


def pixel_shape(size_um: tuple[float, float] | None) -> PixelShape:
    """Return the shape of a pixel of this height and width; None: taken for square.

    Examples
    --------
    >>> pixel_shape((0.4, 0.1)), pixel_shape((0.3, 0.3)), pixel_shape(None)
    (PixelShape(y=2.0, x=0.5), PixelShape(y=1.0, x=1.0), PixelShape(y=1.0, x=1.0))
    """
    if size_um is None or math.isclose(*size_um, rel_tol=_SQUARE):
        return PixelShape()
    height, width = size_um
    return PixelShape(math.sqrt(height / width), math.sqrt(width / height))


def voxel_height(size_um: tuple[float, float] | None, step_um: float | None) -> float:
    """Return the distance of planes in sides of a square of a pixel's area.

    NaN means that it is not known: without a pixel size, or without a distance above 0.

    Examples
    --------
    >>> voxel_height((0.2, 0.2), 0.5), voxel_height(None, 0.5)
    (2.5, nan)
    """
    if size_um is None or step_um is None or not step_um > 0:
        return math.nan
    return step_um / math.sqrt(size_um[0] * size_um[1])
