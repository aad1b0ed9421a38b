"""The brightness of a field, agreed on by its blocks before any of them is enhanced.

Two rounds, ``range`` and ``brightness``; for 8- and 16-bit images the first reads
nothing. Nothing here knows what the scale is used for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.rounds import BlockContext, PlaneAnswers, Step, everything
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels import normalisation as kernel

LARGEST = 1e30
"""Counts. float32 holds up to 3e38, and its normal numbers down to 1e-38."""


class Brightness(NamedTuple):
    """What a whole field says about its brightness."""

    scale: kernel.Scale
    """To the network's range."""
    low: float
    """Least pixel, counts."""
    high: float
    """Largest pixel, counts."""
    least_noise: float
    """Noise that the number format itself makes, counts."""


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

    def _range(
        self, here: BlockContext, _: PlaneAnswers
    ) -> kernel.Range | kernel.Spread:
        known = kernel.exact_range(here.read.dtype("image"))
        return known or kernel.measure_spread(here.read("image", here.block.core))

    def _check(
        self, found: kernel.Range | kernel.Spread, _: PlaneAnswers
    ) -> kernel.Range:
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

    def _count(self, here: BlockContext, field: PlaneAnswers) -> NDArray[np.int64]:
        values = here.read("image", here.block.core)
        return kernel.count_values(values, field["range"])

    def _brightness(self, counts: NDArray[np.int64], field: PlaneAnswers) -> Brightness:
        span = field["range"]
        step = (span.high - span.low) / (kernel.BINS - 1)
        used = np.flatnonzero(counts)
        least, largest = (span.low + float(used[i]) * step for i in (0, -1))
        if self.method == "max":
            scale = kernel.Scale(0.0, largest)
        else:
            low, high = (
                kernel.quantile(counts, span, q) for q in (self.low, self.high)
            )
            # Where almost all pixels are alike (half of them 0, one in a thousand
            # bright) the quantiles coincide; the largest pixel then sets the scale.
            scale = kernel.Scale(low, high if high > low else largest)
        return Brightness(scale, least, largest, 0.3 * step)

    def steps(self) -> tuple[tuple[Step], tuple[Step]]:
        """Return two rounds: ``range`` and ``brightness``."""
        span = Step("range", self._range, share=everything, finalize=self._check)
        bright = Step(
            "brightness", self._count, share=everything, finalize=self._brightness
        )
        return (span,), (bright,)
