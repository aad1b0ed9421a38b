"""Spotiflow: a network that finds spots between pixels, block by block.

Spotiflow scales an image by two of its percentiles; here the plane agrees on them, and
blocks keep to the strides that the network has on the whole plane. What differs from
its answer for the whole plane is the rounding of float32. (The library's own tiles are
not used.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    Step,
)
from deepspot_scale.blockwise.spots import Candidates
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.top_values import largest_values, n_above, stand_in
from deepspot_scale.networks.adapters.spotiflow import (
    SpotiflowShape,
    find_points,
    model_files,
    read_shape,
)
from deepspot_scale.stages.detection.points import POINTS, measure_points, own_points

_PERCENTILES: Final = (1.0, 99.8)
"""Of an image, which become 0 and 1."""
_EPS: Final = 1e-20
"""What the library adds to their distance."""


class Ends(NamedTuple):
    """Darkest and brightest pixels of some blocks."""

    dark: NDArray[np.float32]
    bright: NDArray[np.float32]
    n_pixels: int
    """All pixels."""


_ENDS: Key[Ends] = Key("spotiflow_ends")
_LEVELS: Key[tuple[float, float]] = Key("spotiflow_levels")


@dataclass(frozen=True)
class SpotiflowDetector:
    """Spots are what a Spotiflow model finds."""

    on: ClassVar[Literal["raw"]] = "raw"

    model: str
    """Folder that Spotiflow wrote; published models are not downloaded."""
    threshold: float | None = None
    """Least probability; None: that of the model."""
    distance: int = 1
    """Least distance of two spots in pixels, the library's ``min_distance``."""
    refine: bool = False
    """Whether places are refined on the raw image; else they are Spotiflow's."""
    binning: int = 1
    """Pixels between the points that make intensity and SNR."""

    def __post_init__(self) -> None:
        """Check the numbers and the folder."""
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise SettingsError(
                f"Spotiflow's threshold is a probability, got {self.threshold}"
            )
        if self.distance < 1:
            raise SettingsError(f"the distance is at least 1 px, got {self.distance}")
        read_shape(self.model)

    @property
    def shape(self) -> SpotiflowShape:
        """Stride and reach of the model."""
        return read_shape(self.model)

    @property
    def halo(self) -> int:
        """Pixels around a spot that decide about it."""
        return self.shape.reach

    @property
    def grid(self) -> int:
        """Stride that blocks begin on."""
        return self.shape.grid

    @property
    def files(self) -> tuple[str, ...]:
        """The model's files."""
        return model_files(self.model)

    def binned(self, binning: int) -> SpotiflowDetector:
        """Return the detector that measures spots wider by a factor.

        Which spots it finds is up to the network, which sees all pixels.
        """
        return replace(self, binning=self.binning * binning)

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the steps: percentiles, then points."""
        levels = Step(
            _ENDS,
            _FindEnds(layer),
            {layer: 0},
            agreed=(BRIGHTNESS,),
            settles=_LEVELS,
            combine=_join,
            finalize=_levels,
        )
        shape = self.shape
        find = Step(
            POINTS,
            _Find(self, layer, shape),
            {layer: shape.reach},
            agreed=(BRIGHTNESS, _LEVELS),
        )
        return levels, find, measure_points(self.binning)


@dataclass(frozen=True)
class _FindEnds:
    layer: str

    def __call__(self, here: BlockContext, agreed: Answers) -> Ends:
        counts = agreed[BRIGHTNESS].fill_in(here.pixels(self.layer).values)
        pixels = counts.astype(np.float32)
        n_dark, n_bright = _numbers(here.shape[-2] * here.shape[-1])
        dark = -largest_values(-pixels, n_dark)
        return Ends(dark, largest_values(pixels, n_bright), pixels.size)


def _numbers(n: int) -> tuple[int, int]:
    """Return how many of the darkest and brightest of n pixels decide."""
    low, high = (share / 100 for share in _PERCENTILES)
    return n_above(n, 1 - low), n_above(n, high)


def _join(one: Ends, other: Ends) -> Ends:
    dark, bright = (
        np.concatenate(pair) for pair in zip(one[:2], other[:2], strict=True)
    )
    return Ends(dark, bright, one.n_pixels + other.n_pixels)


def _levels(ends: Ends, _: Answers) -> tuple[float, float]:
    n_dark, n_bright = _numbers(ends.n_pixels)
    plane = stand_in(largest_values(ends.bright, n_bright), ends.n_pixels)
    dark = np.sort(-largest_values(-ends.dark, n_dark))
    plane[: dark.size] = dark
    low, high = np.percentile(plane, _PERCENTILES)
    return float(low), float(high)


@dataclass(frozen=True)
class _Find:
    detector: SpotiflowDetector
    layer: str
    shape: SpotiflowShape

    def __call__(self, here: BlockContext, agreed: Answers) -> tuple[Candidates, Any]:
        own, brightness = self.detector, agreed[BRIGHTNESS]
        box, counts = here.pixels(self.layer, self.shape.reach)
        filled = brightness.fill_in(counts)
        low, high = (np.float32(level) for level in agreed[_LEVELS])
        image = (filled.astype(np.float32) - low) / (high - low + np.float32(_EPS))
        image = _align(image, here.shape, self.shape.grid)
        points = find_points(
            own.model, image, threshold=own.threshold, distance=own.distance
        )
        # The network's shift may take a spot of the field's edge out of the image.
        places = np.clip(points, 0, np.array(box.shape) - 1)
        shown = Pixels(box, brightness.scale(filled))
        return own_points(here, places.T, shown, own.refine)


def _align(
    image: NDArray[np.float32], shape: tuple[int, ...], grid: int
) -> NDArray[np.float32]:
    """Return a window without its last rows and columns, as many as strides ask for.

    The library mirrors the edges of what it is given until it is a multiple of the
    stride, half of that at the top and left. With the whole plane's remainder a window,
    which begins on a multiple, is moved as far as the plane would be.
    """
    height, width = (
        own - (own - whole) % grid
        for own, whole in zip(image.shape, shape[-2:], strict=True)
    )
    return image[:height, :width]
