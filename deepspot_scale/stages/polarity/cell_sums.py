"""The cells of a field as sums of whole numbers, block by block.

Two rounds: first areas and centroids of cells and nuclei, then what lies where in each
cell, which needs them. All are sums of whole numbers by label, so a cell that crosses
blocks gives the same numbers as in one. Positions of spots count in 1/256 pixel from a
whole pixel near the cell's centroid, distances in 1/64 pixel. Where pixels are not
square, angles and distances are those of the specimen, see `kernels.pixel_shape`.
The pixels of cells in volumes are voxels, which `cell_volumes` sums. Nothing here knows
tables or what is made of the sums.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import BlockContext
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.kernels.dispersion import Moments
from deepspot_scale.kernels.distances import PARTS
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.regions import (
    LabelSums,
    Runs,
    find_runs,
    no_labels,
)
from deepspot_scale.vocabulary import N_BINS, N_RINGS

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

OUTLINE: Final = (
    *("area", "y", "x", "y_square", "x_square"),
    *("nucleus_area", "nucleus_y", "nucleus_x", "border"),
    *("z", "nucleus_z", "ends"),
    *("faces_z", "faces_y", "faces_x"),
    *("contact_z", "contact_y", "contact_x"),
)
"""Columns of the first round's sums. The last three lines are of volumes, 0 of flat
cells: depths, voxels in the first or last plane, and faces across each axis, of which
contact are those with other cells."""
PLACES: Final = (
    *("n_spots", "n_spots_nucleus", "n_spots_cytoplasm"),
    *("spot_y", "spot_x", "spot_y_square", "spot_x_square"),
    *("spot_to_edge", "spot_to_nucleus", "to_edge", "to_nucleus"),
)
"""Columns of the second round's sums after 360 bins of area and 360 of spots: spots,
their positions, distances of cytoplasmic spots, and of all cytoplasm pixels. Behind
them stand the rings of pixels and those of spots."""
SPOT_PARTS: Final = 256


class CellShapes(NamedTuple):
    """The first round's share of a block."""

    sums: LabelSums
    """`OUTLINE` by cell."""
    has_nuclei: bool

    def __add__(self, other: Any) -> Any:
        return CellShapes(self.sums + other.sums, self.has_nuclei or other.has_nuclei)


class Cells(NamedTuple):
    """The cells of a field after the first round, one row each."""

    sums: LabelSums
    """`OUTLINE` by cell."""
    centre_y: Floats
    """Nucleus centroid; the cell's own where no nuclei were given; NaN: no nucleus."""
    centre_x: Floats
    reference_deg: Floats
    """NaN without reference or centre."""
    has_nuclei: bool
    """Whether nuclei were given."""
    pixel: PixelShape = PixelShape()
    height: float | None = None
    """As `answers.LABEL_HEIGHT`; None: the cells are flat."""

    @property
    def has_distances(self) -> bool:
        """Whether distances within the cells are known."""
        return self.height is None or bool(np.isfinite(self.height))

    def outline(self, name: str) -> Integers:
        """Return one column of `OUTLINE`."""
        return self.sums.sums[:, OUTLINE.index(name)]

    def anchors(self) -> tuple[Integers, Integers]:
        """Return a whole pixel near each cell's centroid, from which moments count."""
        area = np.maximum(self.outline("area"), 1)
        return self.outline("y") // area, self.outline("x") // area

    def moments(self) -> Moments:
        """Return the moments of each cell's pixels about its anchor."""
        area, total = self.outline("area"), []
        for axis, at in zip("yx", self.anchors(), strict=True):
            along, square = self.outline(axis), self.outline(f"{axis}_square")
            total += [along - area * at, square - 2 * at * along + area * at**2]
        y, y_square, x, x_square = total
        return moments_of(area, y, x, (y_square, x_square), self.pixel)


class SpotSums(NamedTuple):
    """What lies where in each cell of a field, one row each."""

    sums: Integers
    """(n, 720 + `PLACES` + 2 `N_RINGS`)."""

    @property
    def area_bins(self) -> Integers:
        """(n, 360) cytoplasm pixels per degree from the reference."""
        return self.sums[:, :N_BINS]

    @property
    def spot_bins(self) -> Integers:
        """(n, 360) cytoplasm spots per degree from the reference."""
        return self.sums[:, N_BINS : 2 * N_BINS]

    @property
    def rings(self) -> Integers:
        """(n, 2 `N_RINGS`) cytoplasm pixels, then spots, from nucleus to edge."""
        return self.sums[:, -2 * N_RINGS :]

    def column(self, name: str) -> Integers:
        """Return one column of `PLACES`."""
        return self.sums[:, 2 * N_BINS + PLACES.index(name)]

    def moments(self, pixel: PixelShape) -> Moments:
        """Return the moments of each cell's spots about its anchor."""
        names = ("n_spots", "spot_y", "spot_x", "spot_y_square", "spot_x_square")
        n, y, x, *squares = (self.column(name) for name in names)
        sums = moments_of(n, y, x, (squares[0], squares[1]), pixel)
        return Moments(
            sums.n,
            sums.y / SPOT_PARTS,
            sums.x / SPOT_PARTS,
            sums.square / SPOT_PARTS**2,
        )

    def distance(self, name: str, n: Integers) -> Floats:
        """Return a summed distance over n points in pixels; NaN without points."""
        return ratio(self.column(name) / PARTS, n)


def moments_of(
    n: Integers,
    y: Integers,
    x: Integers,
    squares: tuple[Integers, Integers],
    pixel: PixelShape,
) -> Moments:
    """Return moments in square pixels; `squares` are sums of y and of x squared."""
    columns = (n, y, x, *squares)
    n_, y_, x_, y_square, x_square = (each.astype(np.float64) for each in columns)
    square = y_square * pixel.y**2 + x_square * pixel.x**2
    return Moments(n_, y_ * pixel.y, x_ * pixel.x, square)


def ratio(total: NDArray[Any], n: NDArray[Any]) -> Floats:
    """Return total / n; NaN where n is 0."""
    answer: Floats = np.full(n.shape, np.nan)
    return np.asarray(np.divide(total, n, out=answer, where=n > 0), np.float64)


def flat_box(box: Box) -> Box:
    """Return the rows and columns of a box."""
    return Box(box.spans[-2:])


def counts_pixels(core: Box) -> bool:
    """Return whether a block counts the pixels of flat cells: in a stack the first."""
    return all(span.start == 0 for span in core.spans[:-2])


def read_flat(here: BlockContext, name: str, box: Box) -> NDArray[Any]:
    """Return the (y, x) labels of a box, which in a stack are those of all planes."""
    labels = here.read(name, box)
    return labels if labels.ndim == 2 else labels[0]


def sum_outlines(here: BlockContext) -> CellShapes:
    """Return the sums `OUTLINE` of the flat cells in the block's core."""
    has_nuclei = here.read.has("nuclei")
    if not here.read.has("cells") or not counts_pixels(here.block.core):
        return CellShapes(no_labels(len(OUTLINE)), has_nuclei)
    cells = read_flat(here, "cells", here.block.core)
    nuclei = read_flat(here, "nuclei", here.block.core) if has_nuclei else None
    core, shape = flat_box(here.block.core), here.shape[-2:]
    return CellShapes(sum_plane(cells, nuclei, core, shape), has_nuclei)


def sum_plane(
    cells: NDArray[Any],
    nuclei: NDArray[Any] | None,
    core: Box,
    shape: tuple[int, ...],
) -> LabelSums:
    """Return the sums `OUTLINE` of one plane (y, x) of labels.

    Parameters
    ----------
    cells, nuclei
        Labels in `core`.
    core
        Where they are.
    shape
        Pixels (y, x) of the field.
    """
    runs = find_runs(cells)
    sums = np.zeros((runs.labels.size, len(OUTLINE)), np.int64)
    sums[:, :5] = runs.sums(_moments_of_runs(runs, core))
    sums[:, 8] = runs.sums([_on_border(runs, core, shape)])[:, 0]
    if nuclei is not None:
        inner = find_runs(np.where(nuclei > 0, cells, 0))
        rows = np.searchsorted(runs.labels, inner.labels)
        sums[rows, 5:8] = inner.sums(_moments_of_runs(inner, core)[:3])
    return LabelSums(runs.labels, sums)


def _moments_of_runs(runs: Runs, core: Box) -> list[Integers]:
    """Return each run's number of pixels and sums of y, x, y squared, x squared."""
    n, y = runs.stop - runs.start, runs.row + core.y.start
    first, end = runs.start + core.x.start, runs.stop + core.x.start
    x = (first + end - 1) * n // 2
    return [n, n * y, x, n * y**2, _sum_of_squares(end) - _sum_of_squares(first)]


def _sum_of_squares(end: Integers) -> Integers:
    """Return the sum of the squares of all whole numbers below each of some ends."""
    return (end - 1) * end * (2 * end - 1) // 6


def _on_border(runs: Runs, core: Box, shape: tuple[int, ...]) -> Integers:
    """Return how many pixels of each run lie at the edge of the field."""
    n, y = runs.stop - runs.start, runs.row + core.y.start
    first = (runs.start + core.x.start == 0).astype(np.int64)
    last = (runs.stop + core.x.start == shape[1]).astype(np.int64)
    whole = (y == 0) | (y == shape[0] - 1)
    return np.asarray(np.where(whole, n, np.minimum(first + last, n)), np.int64)


def locate_cells(
    total: CellShapes,
    reference: Reference | None,
    pixel: PixelShape,
    height: float | None = None,
) -> Cells:
    """Return the field's cells with their centres and directions of the reference."""
    sums = dict(zip(OUTLINE, total.sums.sums.T, strict=True))
    prefix = "nucleus_" if total.has_nuclei else ""
    centre_y, centre_x = (
        ratio(sums[f"{prefix}{axis}"], sums[f"{prefix}area"]) for axis in "yx"
    )
    directions = np.full(centre_y.size, np.nan)
    if reference is not None and centre_y.size:
        directions = reference.directions(centre_y, centre_x, pixel)
    located = centre_y, centre_x, directions
    return Cells(total.sums, *located, total.has_nuclei, pixel, height)
