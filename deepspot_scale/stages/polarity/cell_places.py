"""What lies where in each cell of a block: the second round of the measure.

Cytoplasm pixels and spots come in, with the cells as the first round found them; sums
of whole numbers by label go out. Each cell is looked at once, in its own box. Positions
of spots count in 1/256 pixel from a whole pixel near the cell's centroid, distances in
1/64 pixel. Nothing here knows how the sums become columns.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import BlockContext
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.spots import SLACK, nearest_pixel
from deepspot_scale.kernels.distances import (
    PARTS,
    REACH,
    CellDistances,
    measure_distances,
)
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.kernels.regions import (
    LabelSums,
    Region,
    Runs,
    find_runs,
    no_labels,
    number_labels,
)
from deepspot_scale.kernels.sectors import angle_bins
from deepspot_scale.stages.polarity.cell_sums import (
    PLACES,
    SPOT_PARTS,
    Cells,
    Floats,
    Integers,
    counts_pixels,
    flat_box,
    read_flat,
)
from deepspot_scale.vocabulary import N_BINS

_WIDTH: Final = 2 * N_BINS + len(PLACES)


class _SpotPlaces(NamedTuple):
    """The spots of a block that lie in cells."""

    y: Floats
    x: Floats
    in_nucleus: NDArray[np.bool_]
    labels: Integers
    """(k,), ascending, of the cells that have spots."""
    place: Integers
    """(n,), index of each spot's cell among `labels`."""
    order: Integers
    """(n,), the spots by cell."""
    first: Integers
    """(k + 1,), where each cell begins in `order`."""

    @classmethod
    def of(cls, spots: pd.DataFrame) -> _SpotPlaces:
        # A spot may lie on a label that only touches this block.
        inside = spots[spots["cell"] > 0]
        labels, place = number_labels(inside["cell"].to_numpy(np.int64))
        y, x = inside["y"].to_numpy(), inside["x"].to_numpy()
        in_nucleus = inside["nucleus"].to_numpy() != 0
        first = np.append(0, np.cumsum(np.bincount(place, minlength=labels.size)))
        order = np.argsort(place, kind="stable")
        return cls(y, x, in_nucleus, labels, place, order, first)

    def pixels(self, which: Integers, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return rows and columns of the pixels that hold some of the spots."""
        y, x = nearest_pixel(self.y[which]), nearest_pixel(self.x[which])
        return np.clip(y, 0, shape[0] - 1), np.clip(x, 0, shape[1] - 1)

    def of_cell(self, row: int) -> Integers:
        """Return the indices of the spots of one of the cells."""
        return self.order[self.first[row] : self.first[row + 1]]


class _Window(NamedTuple):
    """Labels around a block's core, as far as distances reach."""

    box: Box
    cells: NDArray[Any]
    nuclei: NDArray[Any] | None


class _Cell(NamedTuple):
    """One cell in a window's box."""

    y: int
    """Row of the field at which the box begins."""
    x: int
    cytoplasm: NDArray[np.bool_]
    distances: CellDistances

    @classmethod
    def of(cls, window: _Window, region: Region, pixel: PixelShape) -> _Cell:
        label, found = region
        # One pixel more to each side; numpy cuts a box at the window's far edges.
        box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in found)
        inside, nucleus = window.cells[box] == label, None
        if window.nuclei is not None:
            nucleus = inside & (window.nuclei[box] > 0)
        distances = measure_distances(inside, nucleus, pixel)
        cytoplasm = inside if nucleus is None else inside & ~nucleus
        y, x = (side.start for side in box)
        return cls(y + window.box.y.start, x + window.box.x.start, cytoplasm, distances)

    def at(self, y: Integers, x: Integers) -> tuple[Integers, Integers]:
        """Return the distances to edge and nucleus at pixels of the field."""
        to_edge, to_nucleus = (part[y - self.y, x - self.x] for part in self.distances)
        return to_edge.astype(np.int64), to_nucleus.astype(np.int64)

    def totals(self, core: Box) -> tuple[int, int]:
        """Return the sums of both distances over the cytoplasm in a block's core."""
        rows = slice(max(core.y.start - self.y, 0), max(core.y.stop - self.y, 0))
        columns = slice(max(core.x.start - self.x, 0), max(core.x.stop - self.x, 0))
        own = self.cytoplasm[rows, columns]
        to_edge, to_nucleus = (
            int((part[rows, columns] * own).sum(dtype=np.int64))
            for part in self.distances
        )
        return to_edge, to_nucleus


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
    box = here.block.core.grow(REACH + SLACK, here.shape)
    nuclei = read_flat(here, "nuclei", box) if cells.has_nuclei else None
    window = _Window(flat_box(box), read_flat(here, "cells", box), nuclei)
    places, core = _SpotPlaces.of(spots), flat_box(here.block.core)
    pixels = find_runs(np.zeros((0, 0), np.int64))
    if counts_pixels(here.block.core):
        pixels = _find_cytoplasm(core, window)
    areas = np.zeros((pixels.labels.size, _WIDTH), np.int64)
    distances = np.zeros((2, places.place.size), np.int64)
    row_of, spot_row_of = _rows_of(pixels.labels), _rows_of(places.labels)
    for label, found in find_runs(window.cells).regions():
        row, spot_row = row_of.get(label), spot_row_of.get(label)
        if row is None and spot_row is None:
            continue
        cell = _Cell.of(window, (label, found), cells.pixel)
        if row is not None:
            y, x = pixels.pixels(row)
            y, x = y + core.y.start, x + core.x.start
            bins = _bins_about(cells, np.searchsorted(cells.sums.labels, label), y, x)
            if nucleus_margin > 0:
                bins[cell.at(y, x)[1] <= nucleus_margin * PARTS] = -1
            areas[row, :N_BINS] = np.bincount(bins[bins >= 0], minlength=N_BINS)
            areas[row, _PIXEL_DISTANCES] = cell.totals(core)
        if spot_row is not None:
            own = places.of_cell(spot_row)
            distances[:, own] = cell.at(*places.pixels(own, here.shape[-2:]))
    sums = _sum_spots(places, distances, cells, nucleus_margin)
    return LabelSums(pixels.labels, areas) + LabelSums(places.labels, sums)


def _find_cytoplasm(core: Box, window: _Window) -> Runs:
    """Return the pixels of cytoplasm in a block's core, in pixels of the core."""
    here = core.within(window.box)
    cells = window.cells[here]
    if window.nuclei is not None:
        cells = np.where(window.nuclei[here] == 0, cells, 0)
    return find_runs(cells)


def _rows_of(labels: Integers) -> dict[int, int]:
    return {label: row for row, label in enumerate(labels.tolist())}


def _sum_spots(
    spots: _SpotPlaces, distances: Integers, cells: Cells, nucleus_margin: float
) -> Integers:
    """Return the sums over the block's spots, a row for each cell that has some."""
    to_edge, to_nucleus = distances
    at = np.searchsorted(cells.sums.labels, spots.labels)[spots.place]
    outside = (~spots.in_nucleus).astype(np.int64)
    bins = _bins_about(cells, at, spots.y, spots.x)
    bins[spots.in_nucleus] = -1
    if nucleus_margin > 0:
        bins[to_nucleus <= nucleus_margin * PARTS] = -1
    anchor_y, anchor_x = cells.anchors()
    off_y = np.rint((spots.y - anchor_y[at]) * SPOT_PARTS).astype(np.int64)
    off_x = np.rint((spots.x - anchor_x[at]) * SPOT_PARTS).astype(np.int64)
    columns = {
        "n_spots": np.ones(at.size, np.int64),
        "n_spots_nucleus": 1 - outside,
        "n_spots_cytoplasm": outside,
        "spot_y": off_y,
        "spot_x": off_x,
        "spot_y_square": off_y**2,
        "spot_x_square": off_x**2,
        "spot_to_edge": outside * to_edge,
        "spot_to_nucleus": outside * to_nucleus,
    }
    n = spots.labels.size
    sums = np.zeros((n, _WIDTH), np.int64)
    flat = spots.place[bins >= 0] * N_BINS + bins[bins >= 0]
    counts = np.bincount(flat, minlength=n * N_BINS)
    sums[:, N_BINS : 2 * N_BINS] = counts.reshape(n, N_BINS)
    for name, values in columns.items():
        sums[:, _column(name)] = np.bincount(spots.place, values, n)
    return sums


def _column(name: str) -> int:
    return 2 * N_BINS + PLACES.index(name)


_PIXEL_DISTANCES: Final = [_column("to_edge"), _column("to_nucleus")]


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
