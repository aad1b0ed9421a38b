"""Answers that stages hand to one another: the words that they share, and no more.

A stage imports no other stage; what one gives and another one reads has its key, and
its type, here or in `spots`. Nothing here measures anything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import Key, Layer
from deepspot_scale.kernels.normalisation import Scale
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.volumes import SpotWidths

IMAGE = "image"
"""The stored layer of raw counts."""
LABELS = {"cell": "cells", "nucleus": "nuclei"}
"""Stored layers of labels, by the column of the spot table that they fill."""
ENHANCED = Layer("enhanced", "float32")
"""The layer in which every spot is equally bright, in [0, 1]."""
AVERAGED = Layer("averaged", "float32")
"""A stack averaged along z by half a spot: what stages of volumes take for the image.
Counts."""
WIDTHS: Key[SpotWidths] = Key("spot_widths")
"""How wide the spots of a stack are."""
STEP: Key[float | None] = Key("z_step_um")
"""Distance of a stack's planes in micrometres; None: not known."""
REFERENCE: Key[Reference | None] = Key("reference")
"""Where "toward" is in this field; given by the user."""
PIXEL: Key[PixelShape] = Key("pixel_shape")
"""Height and width of the field's pixels; by its metadata."""


class Brightness(NamedTuple):
    """What a whole field says about its brightness."""

    scale: Scale
    """To the network's range."""
    low: float
    """Least pixel, counts."""
    high: float
    """Largest pixel, counts."""
    least_noise: float
    """Noise that the number format itself makes, counts."""
    median: float
    """Median of the pixels other than `darkest`, counts."""
    darkest: float | None = None
    """Value of the darkest pixels, which have no noise; None: nearly all are dark."""
    fill: float | None = None
    """Value of pixels that were not imaged; None: all were."""

    def fill_in(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Return counts in which pixels that were not imaged have the median.

        The rim of what was imaged then looks like no edge of anything.
        """
        if self.fill is None:
            return counts
        filled: NDArray[Any] = np.where(counts == self.fill, self.median, counts)
        return filled.astype(counts.dtype)


BRIGHTNESS: Key[Brightness] = Key("brightness")
NOISE: Key[float] = Key("noise")
"""Standard deviation of a field's noise, counts."""
BACKGROUND: Key[NDArray[np.float32]] = Key("background")
"""Medians of a field's tiles, see `kernels.background`, counts."""
JOINT_NOISE: Key[float] = Key("joint_noise")
"""Standard deviation of a field's noise, or of its texture, counts."""
