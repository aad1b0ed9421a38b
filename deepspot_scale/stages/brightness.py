"""The stage *brightness*: the brightness of a field, agreed on by its blocks.

For 8- and 16-bit images the first step reads nothing, and the noise is measured only
where a later stage wants it, as the image scaled by it is made. Nothing here knows what
the scale is used for.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import (
    BACKGROUND,
    BRIGHTNESS,
    IMAGE,
    JOINT_NOISE,
    NOISE,
    SCALED,
    Brightness,
    noise_scale_at,
)
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.blockwise.geometry import Box, Span
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels import normalisation as kernel
from deepspot_scale.kernels.background import (
    TILE,
    complete_tiles,
    first_tile,
    tile_medians,
)
from deepspot_scale.kernels.binning import binning_for

LARGEST = 1e30
"""Counts. float32 holds up to 3e38, and its normal numbers down to 1e-38."""

Measured = kernel.Range | kernel.Spread
_MEASURED: Key[Measured] = Key("measured_range")
_RANGE: Key[kernel.Range] = Key("range")
_COUNTS: Key[NDArray[np.int64]] = Key("pixel_counts")
_Tiles = tuple[tuple[tuple[int, ...], NDArray[np.float32]], ...]
"""Place of the first tile in the field's tiles, and medians (..., rows, columns)."""
_TILES: Key[_Tiles] = Key("tile_medians")
_DEVIATIONS: Key[NDArray[np.int64]] = Key("deviations")
_DIFFERENCES: Key[NDArray[np.int64]] = Key("pixel_differences")


@dataclass(frozen=True)
class Normalisation:
    """The brightness scale of a field, from quantiles of all its pixels.

    ``method="max"`` is the paper's: nothing becomes 0 but 0, the maximum becomes 1;
    fragile against one hot pixel.
    """

    method: Literal["quantile", "max"] = "quantile"
    """quantile or max."""
    low: float = 0.01
    """Share of pixels at or below the value that becomes 0."""
    high: float = 0.999
    """Share of pixels at or below the value that becomes 1."""
    layer: str = IMAGE
    """The image whose brightness it is."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.method not in {"quantile", "max"}:
            raise SettingsError(
                f"normalisation is quantile or max, not {self.method!r}"
            )
        if not 0 <= self.low < self.high <= 1:
            raise SettingsError(
                f"quantiles must rise within [0, 1], got {self.low} and {self.high}"
            )

    def _range(self, here: BlockContext, _: Answers) -> Measured:
        known = kernel.exact_range(here.read.dtype(self.layer))
        return known or _by_plane(kernel.measure_spread, here, self.layer)

    def _check(self, found: Measured, _: Answers) -> kernel.Range:
        span = found if isinstance(found, kernel.Range) else found.range
        if span.n_not_finite:
            raise FieldError(
                f"image has {span.n_not_finite} pixels that are NaN or infinite; "
                "replace them before the run"
            )
        width = span.high - span.low
        if max(abs(span.low), abs(span.high)) > LARGEST or 0 < width < 1 / LARGEST:
            raise FieldError(
                f"image goes from {span.low:g} to {span.high:g}, beyond what can be "
                f"measured ({1 / LARGEST:g} to {LARGEST:g}); rescale it before the run"
            )
        return found.without_wild() if isinstance(found, kernel.Spread) else span

    def _count(self, here: BlockContext, agreed: Answers) -> NDArray[np.int64]:
        count = partial(kernel.count_values, span=agreed[_RANGE])
        counts: NDArray[np.int64] = _by_plane(count, here, self.layer)
        return counts

    def _brightness(self, counts: NDArray[np.int64], agreed: Answers) -> Brightness:
        span = agreed[_RANGE]
        step = (span.high - span.low) / (kernel.BINS - 1)
        used = np.flatnonzero(counts)
        least, largest = (span.low + float(used[i]) * step for i in (0, -1))
        fill = kernel.find_fill(counts, span)
        if self.method == "max":
            scale = kernel.Scale(0.0, largest)
        else:
            imaged = kernel.without(counts, span, fill)
            low, high = (
                kernel.quantile(imaged, span, q) for q in (self.low, self.high)
            )
            # Where almost all pixels are alike (half of them 0, one in a thousand
            # bright) the quantiles coincide; the largest pixel then sets the scale.
            scale = kernel.Scale(low, high if high > low else largest)
        dark = kernel.darkest_pixels(counts, span)
        median = kernel.quantile(kernel.without(counts, span, dark), span, 0.5)
        # Of 12 bits that are stored as 16, each value is a multiple of 16.
        apart = step * float(np.diff(used).min() if used.size > 1 else 1)
        return Brightness(scale, least, largest, 0.3 * apart, median, dark, fill)

    def work(self, binning: int = 1) -> Work:
        """Return the steps to the answers that begin with `BRIGHTNESS`.

        `binning` is the number of pixels along each axis that a network sees as one:
        the tiles of the background are wider for wide spots.
        """
        image, check = {self.layer: 0}, self._check
        span = Step(_MEASURED, self._range, image, settles=_RANGE, finalize=check)
        counts = Step(
            _COUNTS,
            self._count,
            image,
            agreed=(_RANGE,),
            settles=BRIGHTNESS,
            finalize=self._brightness,
        )
        differences = Step(
            _DIFFERENCES,
            partial(_count_differences, layer=self.layer),
            {self.layer: kernel.LAG},
            agreed=(BRIGHTNESS,),
            settles=NOISE,
            finalize=_noise,
        )
        background = _Background(TILE * binning, self.layer)
        tiles = Step(
            _TILES,
            background.measure,
            {self.layer: background.tile},
            agreed=(BRIGHTNESS,),
            settles=BACKGROUND,
            finalize=background.lay,
        )
        deviations = Step(
            _DEVIATIONS,
            background.deviate,
            image,
            agreed=(BRIGHTNESS, NOISE, BACKGROUND),
            settles=JOINT_NOISE,
            finalize=_joint_noise,
        )
        scaled = Step(
            SCALED,
            background.scale,
            image,
            agreed=(BRIGHTNESS, BACKGROUND, JOINT_NOISE),
        )
        steps = (span, counts, differences, tiles, deviations, scaled)
        return Work(steps, stacks=True)


def _by_plane(measure: Callable[[Any], Any], here: BlockContext, layer: str) -> Any:
    """Return a measure that adds up, plane by plane: a stack takes less memory so."""
    values = here.pixels(layer).values
    planes = values.reshape(-1, *values.shape[-2:])
    return reduce(operator.add, map(measure, planes))


def _count_differences(
    here: BlockContext, agreed: Answers, *, layer: str
) -> NDArray[np.int64]:
    core, around = here.block.core, here.pixels(layer, kernel.LAG)
    # Only what follows the core: a pair is counted where its first pixel is.
    ahead = tuple(
        slice(own.start - read.start, None)
        for own, read in zip(core.spans, around.box.spans, strict=True)
    )
    dark = agreed[BRIGHTNESS].darkest
    return kernel.count_differences(around.values[ahead], core.shape[-2:], dark)


def _noise(differences: NDArray[np.int64], _: Answers) -> float:
    return kernel.measure_noise(differences)


@dataclass(frozen=True)
class _Background:
    """Steps to the background, and to what deviates from it."""

    tile: int
    layer: str

    def measure(self, here: BlockContext, agreed: Answers) -> _Tiles:
        """Return the tiles that begin in the core: first tile, then medians."""
        core, tile = here.block.core, self.tile
        first, last = (
            [first_tile(pixel, tile) for pixel in ends]
            for ends in zip(*core.spans[-2:], strict=True)
        )
        if any(k == n for k, n in zip(first, last, strict=True)):
            return ()
        spans = (
            Span(k * tile, min(n * tile, length))
            for k, n, length in zip(first, last, here.shape[-2:], strict=True)
        )
        box = Box((*core.spans[:-2], *spans), core.axes)
        around = here.pixels(self.layer, tile)
        pixels, fill = around.values[box.within(around.box)], agreed[BRIGHTNESS].fill
        origin = (*(span.start for span in core.spans[:-2]), *first)
        return ((origin, tile_medians(pixels, tile=tile, fill=fill)),)

    def lay(self, tiles: _Tiles, agreed: Answers) -> NDArray[np.float32]:
        """Return the medians of all tiles of the field, each in its place."""
        ends = [np.add(origin, values.shape) for origin, values in tiles]
        field = np.empty(np.max(ends, axis=0), np.float32)
        for (origin, values), end in zip(tiles, ends, strict=True):
            field[tuple(map(slice, origin, end))] = values
        return complete_tiles(field, agreed[BRIGHTNESS].median)

    def deviate(self, here: BlockContext, agreed: Answers) -> NDArray[np.int64]:
        """Count the core's pixels by their distance from the background."""
        core, pixels = here.block.core, here.pixels(self.layer).values
        medians = agreed[BACKGROUND][core.slices[:-2]]
        scale = kernel.NoiseScale(
            medians, agreed[NOISE], agreed[BRIGHTNESS].fill, self.tile
        )
        return scale.count_deviations(pixels, (core.y.start, core.x.start))

    def scale(self, here: BlockContext, agreed: Answers) -> Pixels:
        """Return the image scaled by its noise, where it is wanted."""
        box = here.wanted
        scale = noise_scale_at(agreed, box, self.tile)
        scaled = scale(here.read(self.layer, box), (box.y.start, box.x.start))
        return Pixels(box, scaled)


def _joint_noise(deviations: NDArray[np.int64], agreed: Answers) -> float:
    return kernel.joint_noise(agreed[NOISE], deviations)


class BrightnessOptions(StageOptions):
    """How the brightness scale of a field is found."""

    use: Literal[True] = True
    normalisation: Literal["quantile", "max"] = Field(
        default="quantile",
        description="Brightness scale of a field; max is the paper's.",
    )


def plan_brightness(options: BrightnessOptions, context: RunContext) -> Work:
    """Return the stage's work."""
    binning = binning_for(context.spot_sigma)
    return Normalisation(options.normalisation, layer=context.image).work(binning)


MEASURE_BRIGHTNESS = Stage("brightness", BrightnessOptions, plan_brightness)
