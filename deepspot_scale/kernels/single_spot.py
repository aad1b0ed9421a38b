"""What one molecule of a stack looks like, by a sample of its spots.

Heights of spots, and of those that stand alone their fitted widths, come in from any
part of a field; height and width of one molecule go out, and how bright a spot is that
must be several. The sample is drawn by lot, so that it does not matter how the field is
divided. Nothing here knows blocks, fields or tables.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.volumes import (
    MOST_SIGMA_YX,
    MOST_SIGMA_Z,
    Real,
    SpotWidths,
)

SAMPLE: Final = 200
"""Spots that tell what one molecule looks like."""
LEAST_SPOTS: Final = 10
"""Fewer spots than these do not tell what one molecule looks like."""
_LEAST_SHARE, _DEVIATIONS = 1.2, 3.0
"""A spot is taken apart if it is so many times higher than one molecule, and stands out
of the others by so many standard deviations of their logarithms."""


class SingleSpot(NamedTuple):
    """What one molecule looks like in a field."""

    height: float
    """Counts above the background, as `spot_fit` fits it; NaN: not known."""
    limit: float
    """Such a height from which on a spot is several molecules."""
    width: SpotWidths
    """Of spots that stand alone."""
    peak: float
    """Counts above the background, fitted together with the width."""


def single_spot(sample: Sample, usual: SpotWidths) -> SingleSpot:
    """Return what one molecule looks like, by the spots that stand alone.

    With too few of them, by all, and with the width `usual`.
    """
    fitted = np.isfinite(sample.peaks) & (sample.heights > 0)
    alone = np.count_nonzero(fitted) >= LEAST_SPOTS
    known = fitted if alone else sample.heights > 0
    if np.count_nonzero(known) < LEAST_SPOTS:
        return SingleSpot(np.nan, np.inf, usual, np.nan)
    heights = sample.heights[known]
    height = float(np.median(heights))
    spread = 1.4826 * float(np.median(np.abs(np.log(heights / height))))
    limit = height * max(_LEAST_SHARE, float(np.exp(_DEVIATIONS * spread)))
    if not alone:
        return SingleSpot(height, limit, usual, height)
    z, yx = (float(np.median(each[known])) for each in (sample.z, sample.yx))
    width = SpotWidths(min(z, MOST_SIGMA_Z), min(yx, MOST_SIGMA_YX))
    return SingleSpot(height, limit, width, float(np.median(sample.peaks[known])))


class Sample(NamedTuple):
    """Some spots of a field, the same ones in whatever order they come."""

    rank: NDArray[np.uint64]
    """(n,) drawn lots, ascending; those of spots that stand alone come first."""
    heights: Real
    """(n,) counts above the background, at the usual width."""
    peaks: Real
    """(n,) the same at their own width; NaN: not fitted."""
    z: Real
    """(n,) standard deviation in planes, or NaN."""
    yx: Real
    """(n,) in pixels, or NaN."""

    def __add__(self, other: Any) -> Any:
        """Return the sample of both."""
        both = [np.concatenate(pair) for pair in zip(self, other, strict=True)]
        chosen = np.argsort(both[0], kind="stable")[:SAMPLE]
        return Sample(*(values[chosen] for values in both))


def draw_lots(
    voxels: NDArray[np.int64], alone: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    """Return the rank of spots by the numbers of their voxels in the field."""
    lots = voxels.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.where(alone, lots >> np.uint64(1), lots | np.uint64(1 << 63))
