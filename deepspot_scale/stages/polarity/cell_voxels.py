"""What lies where in each cell of a volume: the second round of the measure.

Cytoplasm voxels and spots (z, y, x) come in, sums of whole numbers by label go out, as
from `cell_places` for flat cells. Bins are about the nucleus' centroid in the plane and
hold voxels; distances go along z too, by the height of a voxel, and are not measured
where that is not known. Each cell is looked at once, in its own box. Nothing here knows
how the sums become columns.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import BlockContext
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.spots import SLACK
from deepspot_scale.kernels.distances import (
    PARTS,
    REACH,
    CellDistances,
    measure_distances,
)
from deepspot_scale.kernels.regions import LabelSums, Region, find_boxes, no_labels
from deepspot_scale.stages.polarity.cell_places import (
    PIXEL_DISTANCES,
    PIXEL_RINGS,
    WIDTH,
    CellInBox,
    LabelWindow,
    MeasureDistances,
    SpotPlaces,
    bins_about,
    rows_of,
    sum_spots,
)
from deepspot_scale.stages.polarity.cell_sums import Cells, Integers
from deepspot_scale.vocabulary import N_BINS


def sum_voxels(
    here: BlockContext, cells: Cells, spots: pd.DataFrame, nucleus_margin: float
) -> LabelSums:
    """Return bins and `PLACES` of the label volumes in the block's core.

    Parameters
    ----------
    here
        The block.
    cells
        The field's cells.
    spots
        The block's own spots: z, y, x, cell, nucleus.
    nucleus_margin
        Pixels around the nucleus that the bins leave out; 0 where the height of a voxel
        is not known.
    """
    if cells.sums.labels.size == 0:
        return no_labels(WIDTH)
    core = here.block.core
    box = core.grow(dict.fromkeys("zyx", REACH + SLACK), here.shape)
    nuclei = here.read("nuclei", box) if cells.has_nuclei else None
    window = LabelWindow(box, here.read("cells", box), nuclei)
    places, measure = SpotPlaces.of(spots, "zyx"), _measure_in(cells)
    spot_row_of = rows_of(places.labels)
    distances = np.zeros((2, places.place.size), np.int64)
    areas: dict[int, Integers] = {}
    for region in find_boxes(window.cells):
        label, spot_row = region[0], spot_row_of.get(region[0])
        counts = _has_voxels(window, region, core)
        if spot_row is None and not counts:
            continue
        cell = CellInBox.of(window, region, measure)
        if counts:
            areas[label] = _sum_cell(cell, label, cells, core, nucleus_margin)
        if spot_row is not None:
            own = places.of_cell(spot_row)
            distances[:, own] = cell.at(*places.pixels(own, here.shape))
    labels = np.array(list(areas), np.int64)
    sums = np.array(list(areas.values()), np.int64).reshape(-1, WIDTH)
    of_spots = sum_spots(places, distances, cells, nucleus_margin)
    return LabelSums(labels, sums) + LabelSums(places.labels, of_spots)


def _measure_in(cells: Cells) -> MeasureDistances:
    if cells.height is None or not cells.has_distances:
        return _measure_nothing
    return partial(measure_distances, pixel=cells.pixel, height=cells.height)


def _measure_nothing(
    inside: NDArray[np.bool_], _: NDArray[np.bool_] | None
) -> CellDistances:
    """Return zeros, of which `Cells.has_distances` says that they mean nothing."""
    zeros = np.zeros(inside.shape, np.uint16)
    return CellDistances(zeros, zeros)


def _has_voxels(window: LabelWindow, region: Region, core: Box) -> bool:
    """Return whether a region of the window has voxels in the core."""
    label, found = region
    both = tuple(
        slice(max(own.start, inner.start), max(min(own.stop, inner.stop), 0))
        for own, inner in zip(found, core.within(window.box), strict=True)
    )
    return bool((window.cells[both] == label).any())


def _sum_cell(
    cell: CellInBox, label: int, cells: Cells, core: Box, nucleus_margin: float
) -> Integers:
    """Return the sums of one cell's cytoplasm in the core."""
    part = cell.part_in(core)
    counted = cell.cytoplasm[part]
    if nucleus_margin > 0:
        near = cell.distances.to_nucleus[part] <= nucleus_margin * PARTS
        counted = counted & ~near
    # The bin of a voxel is that of its column: one angle for all planes.
    columns: NDArray[Any] = counted.sum(axis=0, dtype=np.int64)
    y, x = np.nonzero(columns)
    bins = bins_about(
        cells,
        np.searchsorted(cells.sums.labels, label),
        y + part[1].start + cell.begin[1],
        x + part[2].start + cell.begin[2],
    )
    sums = np.zeros(WIDTH, np.int64)
    known = bins >= 0
    np.add.at(sums[:N_BINS], bins[known], columns[y, x][known])
    sums[PIXEL_DISTANCES] = cell.totals(core)
    sums[PIXEL_RINGS] = cell.rings(core)
    return sums
