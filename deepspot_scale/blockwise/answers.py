"""Answers that stages hand to one another: the words that they share, and no more.

A stage imports no other stage; what one gives and another one reads has its key, and
its type, here or in `spots`. Nothing here measures anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import Answers, Key, Layer
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.kernels.normalisation import NoiseScale, Scale
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.volumes import SpotWidths

IMAGE = "image"
"""The stored layer of raw counts."""
LABELS = {"cell": "cells", "nucleus": "nuclei"}
"""Stored layers of labels, by the column of the spot table that they fill."""
NUCLEI = Layer("nuclei", "int32", labels=True, keep=True)
CELLS = Layer("cells", "int32", labels=True, keep=True)
"""The same layers where a run makes them."""
_CHANNEL = "channel:"


def channel_layer(name: str) -> str:
    """Return the name of the stored layer of a channel other than the plane's own.

    `name` is the channel's name or index.
    """
    return f"{_CHANNEL}{name}"


def channel_of(layer: str) -> str | None:
    """Return the channel that a layer is of; None: it is none of these layers."""
    return layer.removeprefix(_CHANNEL) if layer.startswith(_CHANNEL) else None


ENHANCED = Layer("enhanced", "float32")
"""The layer in which every spot is equally bright, in [0, 1]."""
AVERAGED = Layer("averaged", "float32")
"""A stack averaged along z by half a spot: what stages of volumes take for the image.
Counts."""
SCALED = Layer("scaled", "float32", offered=True)
"""The image as networks that scale by noise see it, see `NoiseScale`."""
DENOISED = Layer("denoised", "float32")
"""The image without noise, which stages after it take for the image. Counts."""
WIDTHS: Key[SpotWidths] = Key("spot_widths")
"""How wide the spots of a stack are."""
STEP: Key[float | None] = Key("z_step_um")
"""Distance of a stack's planes in micrometres; None: not known."""
REFERENCE: Key[Reference | None] = Key("reference")
"""Where "toward" is in this field; given by the user."""
PIXEL: Key[PixelShape] = Key("pixel_shape")
"""Height and width of the field's pixels; by its metadata."""
LABEL_HEIGHT: Key[float | None] = Key("label_height")
"""Height of a voxel where labels are volumes, in sides of a square of a pixel's area;
NaN: not known. None: labels are flat, and those of one plane hold for a whole stack."""

MOVIE_SCALE: Key[Callable[[], float]] = Key("movie_scale")
"""Gives the counts that become 1 in the movie that a frame belongs to, see
`kernels.movie_scale`; measured when it is first asked for."""
PIXEL_UM: Key[tuple[float, float] | None] = Key("pixel_size_um")
"""The same in micrometres, (y, x); None: not known."""


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


def noise_scale_at(agreed: Answers, box: Box, tile: int) -> NoiseScale:
    """Return how the planes of a box are scaled by noise, by what the field agreed on.

    `tile` is the edge in pixels of the background's tiles.
    """
    medians = agreed[BACKGROUND][box.slices[:-2]]
    return NoiseScale(medians, agreed[JOINT_NOISE], agreed[BRIGHTNESS].fill, tile)
