"""The stage *quality*: how saturated, empty and sharp a plane is.

Sums over blocks come in, one row a plane goes out. All are sums of whole numbers, so
blocks give what the whole field gives; other pixels than 8- and 16-bit numbers are
first mapped to `LEVELS` of them. Pixels that were not imaged count only as zero; that
the rim of what was imaged is sharp says nothing of the focus. Nothing here decides what
is good enough.
"""

from __future__ import annotations

import operator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import BRIGHTNESS, IMAGE, Brightness
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.identity import plane_columns
from deepspot_scale.kernels.normalisation import exact_range
from deepspot_scale.tables import make_table
from deepspot_scale.vocabulary import QUALITY, PlaneIdentity

_NEIGHBOURS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
"""Of a pixel, which its Laplacian is of."""
LEVELS = 1 << 20
"""Steps from the least to the largest pixel of an image of a wide number format."""


class Units(NamedTuple):
    """How whole numbers stand for counts."""

    offset: float = 0.0
    """Counts of 0."""
    step: float = 1.0
    """Counts of 1."""


class QualitySums(NamedTuple):
    """Sums over the pixels of a plane, exact in whatever order."""

    units: Units
    """The same for all blocks."""
    n: int
    n_zero: int
    n_imaged: int
    """What follows is of these."""
    n_limit: int
    """Pixels at the number format's limit; of floats at the largest value."""
    total: int
    n_bumps: int
    """Pixels whose neighbours were imaged, too."""
    bumps: int
    """Of the Laplacian."""
    bumps_squared: int

    def __add__(self, other: object) -> QualitySums:
        """Add the sums of other pixels."""
        if not isinstance(other, QualitySums):
            return NotImplemented
        pairs = zip(self[1:], other[1:], strict=True)
        return QualitySums(self.units, *(one + another for one, another in pairs))


QUALITY_SUMS: Key[QualitySums] = Key("quality_sums")


def _measure(here: BlockContext, agreed: Answers) -> QualitySums:
    # With one pixel more the Laplacian of the core is that of the whole plane. At the
    # plane's own edge OpenCV repeats the last pixel.
    box, stack = here.pixels(IMAGE, 1)
    inside = here.block.core.within(box)[-2:]
    planes = stack.reshape(-1, *stack.shape[-2:])
    return reduce(operator.add, (_of_plane(p, inside, agreed) for p in planes))


def _of_plane(
    values: NDArray[Any], inside: tuple[slice, ...], agreed: Answers
) -> QualitySums:
    import cv2

    counts, bright = values[inside], agreed[BRIGHTNESS]
    whole, units = _as_whole(values, bright)
    bumps = cv2.Laplacian(whole, -1, ksize=1, borderType=cv2.BORDER_REFLECT)[inside]
    whole = whole[inside]
    n_imaged = n_bumps = counts.size
    if bright.fill is not None:
        imaged = (values != bright.fill).astype(np.uint8)
        amid = cv2.erode(imaged, _NEIGHBOURS)[inside]
        whole, bumps = whole * imaged[inside], bumps * amid
        n_imaged, n_bumps = (int(np.count_nonzero(m)) for m in (imaged[inside], amid))
    return QualitySums(
        units,
        counts.size,
        counts.size - int(np.count_nonzero(counts)),
        n_imaged,
        int(np.count_nonzero(counts >= _limit(values.dtype, bright))),
        _sum(whole),
        n_bumps,
        _sum(bumps),
        _sum_squares(bumps),
    )


def _limit(dtype: np.dtype[Any], bright: Brightness) -> float:
    if dtype.kind in "ui":
        return float(np.iinfo(dtype).max)
    return 1.0 if dtype.kind == "b" else bright.high


def _as_whole(
    values: NDArray[np.generic], bright: Brightness
) -> tuple[NDArray[Any], Units]:
    """Return whole numbers that stand for the pixels."""
    if exact_range(values.dtype) is not None:
        return values.astype(np.float32), Units()
    units = Units(bright.low, (bright.high - bright.low) / LEVELS or 1.0)
    scaled = (values.astype(np.float64) - units.offset) / units.step
    return np.rint(scaled.clip(0, LEVELS)), units


def _sum(whole: NDArray[Any]) -> int:
    # Far below 2^53, up to which float64 holds every whole number.
    return int(whole.sum(dtype=np.float64))


def _sum_squares(whole: NDArray[Any]) -> int:
    """Add up by rows: the sum of a row is below 2^63, that of a block need not be."""
    rows = whole.astype(np.int64)
    return sum(map(int, np.einsum("yx,yx->y", rows, rows)))


def _quality_row(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    sums = agreed[QUALITY_SUMS]
    offset, step = sums.units
    n_bumps = sums.n_bumps or np.nan  # no two imaged pixels need be neighbours
    mean = offset + step * sums.total / sums.n_imaged
    variance = (n_bumps * sums.bumps_squared - sums.bumps**2) / n_bumps**2
    row = {
        "saturated": sums.n_limit / sums.n_imaged,
        "zero": sums.n_zero / sums.n,
        "mean": mean,
        "focus": variance * step**2 / mean**2 if mean > 0 else np.nan,
    }
    return make_table([plane_columns(plane) | row], QUALITY)


class QualityOptions(StageOptions):
    """Whether the quality of images is measured."""

    use: bool = Field(
        default=True, description="Measure saturation and focus of each plane."
    )


def plan_quality(_: QualityOptions, __: RunContext) -> Work:
    """Return the stage's work."""
    step = Step(QUALITY_SUMS, _measure, {IMAGE: 1}, agreed=(BRIGHTNESS,))
    table = Table("quality", QUALITY, (QUALITY_SUMS,), _quality_row)
    return Work((step,), (table,), stacks=True)


MEASURE_QUALITY = Stage("quality", QualityOptions, plan_quality)
