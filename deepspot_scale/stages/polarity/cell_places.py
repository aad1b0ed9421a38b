"""What lies where in each flat cell of a block: the second round of the measure.

Cytoplasm pixels and spots come in, with the cells as the first round found them; sums
of whole numbers by label go out. Each cell is looked at once, in its own box. Positions
of spots count in 1/256 pixel from a whole pixel near the cell's centroid, distances in
1/64 pixel. `cell_voxels` does the same for cells in volumes, by the words from here.
Nothing here knows how the sums become columns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

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
from deepspot_scale.kernels.regions import (
    LabelSums,
    Region,
    Runs,
    find_runs,
    no_labels,
    number_labels,
)
from deepspot_scale.kernels.rings import rings_of
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
from deepspot_scale.vocabulary import N_BINS, N_RINGS

WIDTH: Final = 2 * N_BINS + len(PLACES) + 2 * N_RINGS
"""Columns of the sums: bins of area, bins of spots, `PLACES`, rings of both."""
PIXEL_RINGS: Final = slice(WIDTH - 2 * N_RINGS, WIDTH - N_RINGS)
_SPOT_RINGS: Final = slice(WIDTH - N_RINGS, WIDTH)
MeasureDistances: TypeAlias = Callable[
    [NDArray[np.bool_], NDArray[np.bool_] | None], CellDistances
]
"""Distances in a cell, given its mask and that of its nucleus."""


class SpotPlaces(NamedTuple):
    """The spots of a block that lie in cells."""

    at: tuple[Floats, ...]
    """(n,) places along each axis of the labels: y and x, or z, y and x."""
    in_nucleus: NDArray[np.bool_]
    labels: Integers
    """(k,), ascending, of the cells that have spots."""
    place: Integers
    """(n,), index of each spot's cell among `labels`."""
    order: Integers
    """(n,), the spots by cell."""
    first: Integers
    """(k + 1,), where each cell begins in `order`."""

    @property
    def yx(self) -> tuple[Floats, Floats]:
        """Places in the plane."""
        return self.at[-2], self.at[-1]

    @classmethod
    def of(cls, spots: pd.DataFrame, axes: str = "yx") -> SpotPlaces:
        """Return those of a block's spots that lie in cells."""
        # A spot may lie on a label that only touches this block.
        inside = spots[spots["cell"] > 0]
        labels, place = number_labels(inside["cell"].to_numpy(np.int64))
        at = tuple(inside[axis].to_numpy() for axis in axes)
        in_nucleus = inside["nucleus"].to_numpy() != 0
        first = np.append(0, np.cumsum(np.bincount(place, minlength=labels.size)))
        order = np.argsort(place, kind="stable")
        return cls(at, in_nucleus, labels, place, order, first)

    def pixels(self, which: Integers, shape: tuple[int, ...]) -> list[Integers]:
        """Return the pixels along each axis that hold some of the spots."""
        return [
            np.clip(nearest_pixel(along[which]), 0, length - 1)
            for along, length in zip(self.at, shape, strict=True)
        ]

    def of_cell(self, row: int) -> Integers:
        """Return the indices of the spots of one of the cells."""
        return self.order[self.first[row] : self.first[row + 1]]


class LabelWindow(NamedTuple):
    """Labels around a block's core, as far as distances reach."""

    box: Box
    cells: NDArray[Any]
    nuclei: NDArray[Any] | None


class CellInBox(NamedTuple):
    """One cell in its own box, flat or in a stack."""

    begin: tuple[int, ...]
    """Pixel of the field, along each axis, at which the box begins."""
    cytoplasm: NDArray[np.bool_]
    distances: CellDistances

    @classmethod
    def of(
        cls, window: LabelWindow, region: Region, measure: MeasureDistances
    ) -> CellInBox:
        """Return the cell of one of the window's regions."""
        label, found = region
        # One pixel more to each side; numpy cuts a box at the window's far edges.
        box = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in found)
        inside, nucleus = window.cells[box] == label, None
        if window.nuclei is not None:
            nucleus = inside & (window.nuclei[box] > 0)
        distances = measure(inside, nucleus)
        cytoplasm = inside if nucleus is None else inside & ~nucleus
        begin = tuple(
            side.start + span.start
            for side, span in zip(box, window.box.spans, strict=True)
        )
        return cls(begin, cytoplasm, distances)

    def at(self, *pixels: Integers) -> tuple[Integers, Integers]:
        """Return the distances to edge and nucleus at pixels of the field."""
        here = tuple(p - begin for p, begin in zip(pixels, self.begin, strict=True))
        to_edge, to_nucleus = (part[here] for part in self.distances)
        return to_edge.astype(np.int64), to_nucleus.astype(np.int64)

    def part_in(self, core: Box) -> tuple[slice, ...]:
        """Return the part of the box that lies in a block's core."""
        return tuple(
            slice(max(span.start - begin, 0), max(span.stop - begin, 0))
            for span, begin in zip(core.spans, self.begin, strict=True)
        )

    def totals(self, core: Box) -> tuple[int, int]:
        """Return the sums of both distances over the cytoplasm in a block's core."""
        part = self.part_in(core)
        own = self.cytoplasm[part]
        to_edge, to_nucleus = (
            int((distance[part] * own).sum(dtype=np.int64))
            for distance in self.distances
        )
        return to_edge, to_nucleus

    def rings(self, core: Box) -> Integers:
        """Return the cytoplasm pixels of each ring in a block's core."""
        part = self.part_in(core)
        own = self.cytoplasm[part]
        to_edge, to_nucleus = (distance[part][own] for distance in self.distances)
        return np.bincount(rings_of(to_nucleus, to_edge), minlength=N_RINGS)


def sum_places(
    here: BlockContext, cells: Cells, spots: pd.DataFrame, nucleus_margin: float
) -> LabelSums:
    """Return bins and `PLACES` of the flat cells in the block's core.

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
        return no_labels(WIDTH)
    box = here.block.core.grow(REACH + SLACK, here.shape)
    nuclei = read_flat(here, "nuclei", box) if cells.has_nuclei else None
    window = LabelWindow(flat_box(box), read_flat(here, "cells", box), nuclei)
    places, core = SpotPlaces.of(spots), flat_box(here.block.core)
    pixels = find_runs(np.zeros((0, 0), np.int64))
    if counts_pixels(here.block.core):
        pixels = _find_cytoplasm(core, window)
    measure = partial(measure_distances, pixel=cells.pixel)
    areas = np.zeros((pixels.labels.size, WIDTH), np.int64)
    distances = np.zeros((2, places.place.size), np.int64)
    row_of, spot_row_of = rows_of(pixels.labels), rows_of(places.labels)
    for label, found in find_runs(window.cells).regions():
        row, spot_row = row_of.get(label), spot_row_of.get(label)
        if row is None and spot_row is None:
            continue
        cell = CellInBox.of(window, (label, found), measure)
        if row is not None:
            y, x = pixels.pixels(row)
            y, x = y + core.y.start, x + core.x.start
            bins = bins_about(cells, np.searchsorted(cells.sums.labels, label), y, x)
            if nucleus_margin > 0:
                bins[cell.at(y, x)[1] <= nucleus_margin * PARTS] = -1
            areas[row, :N_BINS] = np.bincount(bins[bins >= 0], minlength=N_BINS)
            areas[row, PIXEL_DISTANCES] = cell.totals(core)
            areas[row, PIXEL_RINGS] = cell.rings(core)
        if spot_row is not None:
            own = places.of_cell(spot_row)
            distances[:, own] = cell.at(*places.pixels(own, here.shape[-2:]))
    sums = sum_spots(places, distances, cells, nucleus_margin)
    return LabelSums(pixels.labels, areas) + LabelSums(places.labels, sums)


def _find_cytoplasm(core: Box, window: LabelWindow) -> Runs:
    """Return the pixels of cytoplasm in a block's core, in pixels of the core."""
    here = core.within(window.box)
    cells = window.cells[here]
    if window.nuclei is not None:
        cells = np.where(window.nuclei[here] == 0, cells, 0)
    return find_runs(cells)


def rows_of(labels: Integers) -> dict[int, int]:
    """Return the row of each label."""
    return {label: row for row, label in enumerate(labels.tolist())}


def sum_spots(
    spots: SpotPlaces, distances: Integers, cells: Cells, nucleus_margin: float
) -> Integers:
    """Return the sums over the block's spots, a row for each cell that has some."""
    to_edge, to_nucleus = distances
    at = np.searchsorted(cells.sums.labels, spots.labels)[spots.place]
    outside = (~spots.in_nucleus).astype(np.int64)
    y, x = spots.yx
    bins = bins_about(cells, at, y, x)
    bins[spots.in_nucleus] = -1
    if nucleus_margin > 0:
        bins[to_nucleus <= nucleus_margin * PARTS] = -1
    anchor_y, anchor_x = cells.anchors()
    off_y = np.rint((y - anchor_y[at]) * SPOT_PARTS).astype(np.int64)
    off_x = np.rint((x - anchor_x[at]) * SPOT_PARTS).astype(np.int64)
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
    sums = np.zeros((n, WIDTH), np.int64)
    flat = spots.place[bins >= 0] * N_BINS + bins[bins >= 0]
    counts = np.bincount(flat, minlength=n * N_BINS)
    sums[:, N_BINS : 2 * N_BINS] = counts.reshape(n, N_BINS)
    for name, values in columns.items():
        sums[:, _column(name)] = np.bincount(spots.place, values, n)
    ring = spots.place * N_RINGS + rings_of(to_nucleus, to_edge)
    counts = np.bincount(ring[~spots.in_nucleus], minlength=n * N_RINGS)
    sums[:, _SPOT_RINGS] = counts.reshape(n, N_RINGS)
    return sums


def _column(name: str) -> int:
    return 2 * N_BINS + PLACES.index(name)


PIXEL_DISTANCES: Final = [_column("to_edge"), _column("to_nucleus")]


def bins_about(cells: Cells, at: Any, y: Any, x: Any) -> Integers:
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
