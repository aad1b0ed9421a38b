"""The stage *quality*: how saturated, empty and sharp a plane is, and its parts.

Sums over blocks come in, one row a plane goes out. All are sums of whole numbers, so
blocks give what the whole field gives; other pixels than 8- and 16-bit numbers are
first mapped to `LEVELS` of them. Pixels that were not imaged count only as zero; that
the rim of what was imaged is sharp says nothing of the focus. Sharpness is summed up by
parts of the plane, `GRID` of them along each axis whatever the blocks, since a plane
may be blurred in part. Nothing here decides what is good enough.
"""

from __future__ import annotations

import operator
from functools import reduce
from itertools import pairwise
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
GRID = 4
"""Parts of a plane along each axis: a blurred half holds 8 of 16, a corner 4."""
LEAST_SHARP = 0.25
"""Share of the parts that are at most as sharp as `focus_low` says."""


class Units(NamedTuple):
    """How whole numbers stand for counts."""

    offset: float = 0.0
    """Counts of 0."""
    step: float = 1.0
    """Counts of 1."""


class FocusSums(NamedTuple):
    """Sums over pixels that tell how sharp they are, exact in whatever order."""

    n: int = 0
    total: int = 0
    n_bumps: int = 0
    """Pixels whose neighbours were imaged, too."""
    bumps: int = 0
    """Of the Laplacian."""
    bumps_squared: int = 0

    def __add__(self, other: object) -> FocusSums:
        """Add the sums of other pixels."""
        if not isinstance(other, FocusSums):
            return NotImplemented
        return FocusSums(*map(operator.add, self, other))

    def focus(self, units: Units) -> float:
        """Return the variance of the Laplacian over the squared mean; NaN: no mean."""
        if not self.n_bumps or (mean := self.mean(units)) <= 0:
            return np.nan
        variance = (self.n_bumps * self.bumps_squared - self.bumps**2) / self.n_bumps**2
        return variance * units.step**2 / mean**2

    def mean(self, units: Units) -> float:
        """Return the mean of the pixels in counts; there is at least one."""
        return units.offset + units.step * self.total / self.n


class QualitySums(NamedTuple):
    """Sums over the pixels of a plane, exact in whatever order."""

    units: Units
    """The same for all blocks."""
    n: int
    n_zero: int
    n_limit: int
    """Pixels at the number format's limit; of floats at the largest value."""
    parts: tuple[FocusSums, ...]
    """Of each part of the plane, row by row: of the pixels that were imaged."""

    def __add__(self, other: object) -> QualitySums:
        """Add the sums of other pixels."""
        if not isinstance(other, QualitySums):
            return NotImplemented
        return QualitySums(
            self.units,
            self.n + other.n,
            self.n_zero + other.n_zero,
            self.n_limit + other.n_limit,
            tuple(map(operator.add, self.parts, other.parts)),
        )


QUALITY_SUMS: Key[QualitySums] = Key("quality_sums")


def _measure(here: BlockContext, agreed: Answers) -> QualitySums:
    # With one pixel more the Laplacian of the core is that of the whole plane. At the
    # plane's own edge OpenCV repeats the last pixel.
    box, stack = here.pixels(IMAGE, 1)
    inside = here.block.core.within(box)[-2:]
    planes = stack.reshape(-1, *stack.shape[-2:])
    parts = _parts(here)
    return reduce(operator.add, (_of_plane(p, inside, parts, agreed) for p in planes))


def _parts(here: BlockContext) -> list[tuple[slice, slice]]:
    """Return where the parts of the plane lie in the block's core; many are empty."""
    along = []
    for axis, size in zip("yx", here.shape[-2:], strict=True):
        core = here.block.core.along(axis)
        ends = [
            min(max(size * i // GRID, core.start), core.stop) - core.start
            for i in range(GRID + 1)
        ]
        along.append([slice(*pair) for pair in pairwise(ends)])
    return [(rows, columns) for rows in along[0] for columns in along[1]]


def _of_plane(
    values: NDArray[Any],
    inside: tuple[slice, ...],
    parts: list[tuple[slice, slice]],
    agreed: Answers,
) -> QualitySums:
    import cv2

    counts, bright = values[inside], agreed[BRIGHTNESS]
    whole, units = _as_whole(values, bright)
    bumps = cv2.Laplacian(whole, -1, ksize=1, borderType=cv2.BORDER_REFLECT)[inside]
    whole, imaged, amid = whole[inside], None, None
    if bright.fill is not None:
        known = (values != bright.fill).astype(np.uint8)
        imaged, amid = known[inside], cv2.erode(known, _NEIGHBOURS)[inside]
    return QualitySums(
        units,
        counts.size,
        counts.size - int(np.count_nonzero(counts)),
        int(np.count_nonzero(counts >= _limit(values.dtype, bright))),
        tuple(
            _of_part(
                whole[part],
                bumps[part],
                None if imaged is None else imaged[part],
                None if amid is None else amid[part],
            )
            for part in parts
        ),
    )


def _of_part(
    whole: NDArray[Any],
    bumps: NDArray[Any],
    imaged: NDArray[Any] | None,
    amid: NDArray[Any] | None,
) -> FocusSums:
    """Return the sums of one part; the masks are of pixels that count, None: all do."""
    if not whole.size:
        return FocusSums()
    n = n_bumps = whole.size
    if imaged is not None and amid is not None:
        whole, bumps = whole * imaged, bumps * amid
        n, n_bumps = int(np.count_nonzero(imaged)), int(np.count_nonzero(amid))
    return FocusSums(n, _sum(whole), n_bumps, _sum(bumps), _sum_squares(bumps))


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
    whole = reduce(operator.add, sums.parts)
    each = np.array([part.focus(sums.units) for part in sums.parts])
    known = np.sort(each[np.isfinite(each)])
    row = {
        "saturated": sums.n_limit / whole.n,
        "zero": sums.n_zero / sums.n,
        "mean": whole.mean(sums.units),
        "focus": whole.focus(sums.units),
        "focus_low": known[int(LEAST_SHARP * (len(known) - 1))]
        if len(known)
        else np.nan,
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
