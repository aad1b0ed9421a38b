"""The cells of a field as sums of whole numbers, block by block.

Two rounds: first areas and centroids of cells and nuclei, then what lies where in each
cell, which needs them. All are sums of whole numbers by label, so a cell that crosses
blocks gives the same numbers as in one. Positions of spots count in 1/256 pixel from a
whole pixel near the cell's centroid, distances in 1/64 pixel. Where pixels are not
square, angles and distances are those of the specimen, see `kernels.pixel_shape`.
Nothing here knows tables or what is made of the sums.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import BlockContext
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.spots import SLACK
from deepspot_scale.kernels.dispersion import Moments
from deepspot_scale.kernels.distances import (
    PARTS,
    REACH,
    CellDistances,
    measure_distances,
)
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.regions import (
    LabelSums,
    Region,
    count_along,
    find_regions,
    iter_regions,
    no_labels,
    number_labels,
)
from deepspot_scale.kernels.sectors import angle_bins
from deepspot_scale.vocabulary import N_BINS

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Sides = tuple[slice, ...]

OUTLINE: Final = (
    *("area", "y", "x", "y_square", "x_square"),
    *("nucleus_area", "nucleus_y", "nucleus_x", "border"),
)
"""Columns of the first round's sums."""
PLACES: Final = (
    *("n_spots", "n_spots_nucleus", "n_spots_cytoplasm"),
    *("spot_y", "spot_x", "spot_y_square", "spot_x_square"),
    *("spot_to_edge", "spot_to_nucleus", "to_edge", "to_nucleus"),
)
"""Columns of the second round's sums after 360 bins of area and 360 of spots: spots,
their positions, distances of cytoplasmic spots, and of all cytoplasm pixels."""
_SPOT_PARTS: Final = 256
_WIDTH: Final = 2 * N_BINS + len(PLACES)


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
    """(n, 720 + `PLACES`)."""

    @property
    def area_bins(self) -> Integers:
        """(n, 360) cytoplasm pixels per degree from the reference."""
        return self.sums[:, :N_BINS]

    @property
    def spot_bins(self) -> Integers:
        """(n, 360) cytoplasm spots per degree from the reference."""
        return self.sums[:, N_BINS : 2 * N_BINS]

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
            sums.y / _SPOT_PARTS,
            sums.x / _SPOT_PARTS,
            sums.square / _SPOT_PARTS**2,
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


def sum_outlines(here: BlockContext) -> CellShapes:
    """Return the sums `OUTLINE` of the cells in the block's core."""
    if not here.read.has("cells"):
        return CellShapes(no_labels(len(OUTLINE)), False)
    core = here.block.core
    cells = here.read("cells", core)
    has_nuclei = here.read.has("nuclei")
    nuclei = here.read("nuclei", core) > 0 if has_nuclei else None
    found = list(iter_regions(cells))
    sums = np.zeros((len(found), len(OUTLINE)), np.int64)
    for row, (_, box, inside) in zip(sums, found, strict=True):
        y = np.arange(box[0].start, box[0].stop) + core.y.start
        x = np.arange(box[1].start, box[1].stop) + core.x.start
        in_rows, in_columns = count_along(inside)
        row[:5] = (
            in_rows.sum(),
            in_rows @ y,
            in_columns @ x,
            in_rows @ y**2,
            in_columns @ x**2,
        )
        if nuclei is not None:
            in_rows, in_columns = count_along(inside & nuclei[box])
            row[5:8] = in_rows.sum(), in_rows @ y, in_columns @ x
        edge_y = (y == 0) | (y == here.shape[0] - 1)
        edge_x = (x == 0) | (x == here.shape[1] - 1)
        if edge_y.any() or edge_x.any():
            row[8] = np.count_nonzero(inside & (edge_y[:, None] | edge_x))
    labels = np.array([label for label, _, _ in found], np.int64)
    return CellShapes(LabelSums(labels, sums), has_nuclei)


def locate_cells(
    total: CellShapes, reference: Reference | None, pixel: PixelShape
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
    return Cells(total.sums, centre_y, centre_x, directions, total.has_nuclei, pixel)


class _Window(NamedTuple):
    """Labels around a block's core, as far as distances reach."""

    box: Box
    cells: NDArray[Any]
    nuclei: NDArray[Any] | None
    regions: list[Region]
    """Cells that the core or its spots can be of."""
    distances: CellDistances


def sum_places(
    here: BlockContext, cells: Cells, spots: pd.DataFrame, nucleus_margin: float
) -> LabelSums:
    """Return bins and `PLACES` of the cells in the block's core.

    Parameters
    ----------
    here
        The block.
    cells
        The field's cells.
    spots
        The block's own spots: y, x, cell, nucleus.
    nucleus_margin
        Pixels around the nucleus that the bins leave out.
    """
    if cells.sums.labels.size == 0:
        return no_labels(_WIDTH)
    inside = spots[spots["cell"] > 0]
    window = _open_window(here, cells)
    areas = _sum_pixels(here.block.core, window, cells, nucleus_margin)
    return areas + _sum_spots(inside, window, cells, nucleus_margin)


def _open_window(here: BlockContext, cells: Cells) -> _Window:
    core = here.block.core
    box = core.grow(REACH + SLACK, here.shape)
    around = here.read("cells", box)
    nuclei = here.read("nuclei", box) if cells.has_nuclei else None
    near = core.grow(SLACK, here.shape).within(box)
    regions = [
        (label, found)
        for label, found in find_regions(around)
        if _common(found, near) is not None
    ]
    distances = measure_distances(around, nuclei, regions, cells.pixel)
    return _Window(box, around, nuclei, regions, distances)


def _common(one: Sides, other: Sides) -> Sides | None:
    """Return the rows and columns that two boxes share; None: none."""
    y, x = (
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(one, other, strict=True)
    )
    return (y, x) if y.start < y.stop and x.start < x.stop else None


def _sum_pixels(
    core: Box, window: _Window, cells: Cells, nucleus_margin: float
) -> LabelSums:
    """Return the sums over the core's pixels of cytoplasm."""
    here = core.within(window.box)
    keys = np.array([label for label, _ in window.regions], np.int64)
    sums = np.zeros((keys.size, _WIDTH), np.int64)
    at = np.searchsorted(cells.sums.labels, keys)
    for row, cell, (label, found) in zip(sums, at, window.regions, strict=True):
        box = _common(found, here)
        if box is None:
            continue
        cytoplasm = window.cells[box] == label
        if window.nuclei is not None:
            cytoplasm &= window.nuclei[box] == 0
        y, x = np.nonzero(cytoplasm)
        y += box[0].start + window.box.y.start
        x += box[1].start + window.box.x.start
        to_edge, to_nucleus = (part[box][cytoplasm] for part in window.distances)
        bins = _bins_about(cells, cell, y, x)
        bins[to_nucleus <= nucleus_margin * PARTS] = -1
        row[:N_BINS] = np.bincount(bins[bins >= 0], minlength=N_BINS)
        row[_column("to_edge")] = to_edge.sum(dtype=np.int64)
        row[_column("to_nucleus")] = to_nucleus.sum(dtype=np.int64)
    return LabelSums(keys, sums)


def _sum_spots(
    spots: pd.DataFrame, window: _Window, cells: Cells, nucleus_margin: float
) -> LabelSums:
    """Return the sums over the block's spots in cells."""
    if spots.empty:
        return no_labels(_WIDTH)
    # A spot may lie on a label that only touches this block; all labels are known.
    keys, place = number_labels(spots["cell"].to_numpy(np.int64))
    at = np.searchsorted(cells.sums.labels, keys)[place]
    y, x = spots["y"].to_numpy(), spots["x"].to_numpy()
    to_edge, to_nucleus = _distances_at(window, y, x)
    outside = (spots["nucleus"].to_numpy() == 0).astype(np.int64)
    bins = _bins_about(cells, at, y, x)
    bins[outside == 0] = -1
    if nucleus_margin > 0:
        bins[to_nucleus <= nucleus_margin * PARTS] = -1
    anchor_y, anchor_x = cells.anchors()
    off_y = np.rint((y - anchor_y[at]) * _SPOT_PARTS).astype(np.int64)
    off_x = np.rint((x - anchor_x[at]) * _SPOT_PARTS).astype(np.int64)
    columns = {
        "n_spots": np.ones(len(spots), np.int64),
        "n_spots_nucleus": 1 - outside,
        "n_spots_cytoplasm": outside,
        "spot_y": off_y,
        "spot_x": off_x,
        "spot_y_square": off_y**2,
        "spot_x_square": off_x**2,
        "spot_to_edge": outside * to_edge,
        "spot_to_nucleus": outside * to_nucleus,
    }
    sums = np.zeros((keys.size, _WIDTH), np.int64)
    sums[:, N_BINS : 2 * N_BINS] = _count_bins(place, bins, keys.size)
    for name, values in columns.items():
        sums[:, _column(name)] = np.bincount(place, values, keys.size)
    return LabelSums(keys, sums)


def _column(name: str) -> int:
    return 2 * N_BINS + PLACES.index(name)


def _count_bins(place: Integers, bins: Integers, n: int) -> Integers:
    """Count the bins of n cells; -1 is none."""
    flat = place[bins >= 0] * N_BINS + bins[bins >= 0]
    return np.bincount(flat, minlength=n * N_BINS).reshape(n, N_BINS)


def _distances_at(window: _Window, y: Floats, x: Floats) -> tuple[Integers, Integers]:
    """Return the distances at the pixels that hold the points."""
    height, width = window.cells.shape
    rows = np.clip(np.floor(y + 0.5) - window.box.y.start, 0, height - 1).astype(int)
    columns = np.clip(np.floor(x + 0.5) - window.box.x.start, 0, width - 1).astype(int)
    to_edge, to_nucleus = (part[rows, columns] for part in window.distances)
    return to_edge.astype(np.int64), to_nucleus.astype(np.int64)


def _bins_about(cells: Cells, at: Any, y: Any, x: Any) -> Integers:
    """Return the bin of points (y, x) about the centre of cells `at`; -1: no centre."""
    known = np.isfinite(cells.centre_y)[at]
    # Without a reference, bins count from +x.
    zero = np.nan_to_num(cells.reference_deg[at], nan=0.0)
    bins = angle_bins(
        (y - np.nan_to_num(cells.centre_y[at])) * cells.pixel.y,
        (x - np.nan_to_num(cells.centre_x[at])) * cells.pixel.x,
        zero,
    )
    return np.where(known, bins, -1)
