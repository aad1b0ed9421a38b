"""The outlines of cells in volumes: the first round, where labels have a depth.

Labels (z, y, x) of a block and of the next voxel along each axis come in; the sums
`cell_sums.OUTLINE` go out, in which areas are voxels, and later their columns in
micrometres. A face between two voxels is counted by the block whose core holds the
first one, so each counts once. Faces at the field's own edge do not count, since what
lies beyond is not known. Nothing here knows spots or distances.
"""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import BlockContext
from deepspot_scale.kernels.faces import count_faces
from deepspot_scale.kernels.regions import LabelSums, no_labels
from deepspot_scale.stages.polarity.cell_sums import (
    OUTLINE,
    Cells,
    CellShapes,
    Floats,
    flat_box,
    ratio,
    sum_plane,
)
from deepspot_scale.vocabulary import PlaneIdentity

NEXT: Final = dict.fromkeys("zyx", 1)
"""Voxels around a block's core that are read for its faces."""


def sum_volumes(here: BlockContext) -> CellShapes:
    """Return the sums `OUTLINE` of the label volumes in the block's core."""
    core = here.block.core
    box = core.grow(NEXT, here.shape)
    begin = tuple(slice(side.start, None) for side in core.within(box))
    cells = here.read("cells", box)[begin]
    nuclei = here.read("nuclei", core) if here.read.has("nuclei") else None
    depth, rows, columns = core.shape
    total = no_labels(len(OUTLINE))
    for z in range(depth):
        own = cells[z, :rows, :columns]
        inner = None if nuclei is None else nuclei[z]
        sums = sum_plane(own, inner, flat_box(core), here.shape[-2:])
        total += _with_depth(sums, core.along("z").start + z, here.shape[0])
        total += _sum_faces(cells[z : z + 2], rows, columns)
    return CellShapes(total, nuclei is not None)


def _with_depth(plane: LabelSums, z: int, n_z: int) -> LabelSums:
    """Return the sums of plane number `z` with those along z."""
    sums = plane.sums
    area, nucleus_area = (sums[:, _column(n)] for n in ("area", "nucleus_area"))
    sums[:, _column("z")] = area * z
    sums[:, _column("nucleus_z")] = nucleus_area * z
    sums[:, _column("ends")] = area if z in {0, n_z - 1} else 0
    return plane


def _sum_faces(cells: NDArray[Any], rows: int, columns: int) -> LabelSums:
    """Return the faces between a plane's voxels and the next ones along each axis.

    `cells` has the plane, and the next one where there is one; the core's `rows` and
    `columns`, and a further one where there is one.
    """
    plane, own = cells[0], cells[:, :rows, :columns]
    sides = {
        "y": (plane[:-1, :columns], plane[1:, :columns]),
        "x": (plane[:rows, :-1], plane[:rows, 1:]),
    }
    if len(cells) > 1:
        sides["z"] = (own[0], own[1])
    return reduce(add, (_faces_along(axis, *pair) for axis, pair in sides.items()))


def _faces_along(axis: str, one: NDArray[Any], other: NDArray[Any]) -> LabelSums:
    faces = count_faces(one, other)
    sums = np.zeros((faces.labels.size, len(OUTLINE)), np.int64)
    sums[:, [_column(f"faces_{axis}"), _column(f"contact_{axis}")]] = faces.sums
    return LabelSums(faces.labels, sums)


def _column(name: str) -> int:
    return OUTLINE.index(name)


def volume_columns(cells: Cells, plane: PlaneIdentity) -> dict[str, NDArray[Any]]:
    """Return the columns of `vocabulary.CELLS` that only cells in volumes have.

    They are NaN of flat cells; of cells in volumes the area in micrometres is.
    """
    unknown = np.full(cells.sums.labels.size, np.nan)
    ends = cells.outline("ends") > 0
    if cells.height is None:
        depths = ("cell_z", "nucleus_z", "volume_um3", "nucleus_volume_um3")
        names = (*depths, "surface_um2", "contact_um2")
        return {"touches_ends": ends} | dict.fromkeys(names, unknown)
    area, nucleus_area = cells.outline("area"), cells.outline("nucleus_area")
    y, x = plane.pixel_size_um or (np.nan, np.nan)
    z = plane.z_step_um if np.isfinite(cells.height) else None
    sides = np.nan if z is None else z, y, x
    voxel = float(np.prod(sides))
    return {
        "touches_ends": ends,
        "area_um2": unknown,
        "cell_z": ratio(cells.outline("z"), area),
        "nucleus_z": ratio(cells.outline("nucleus_z"), nucleus_area),
        "volume_um3": area * voxel,
        "nucleus_volume_um3": nucleus_area * voxel,
        "surface_um2": _area_of_faces(cells, "faces", sides),
        "contact_um2": _area_of_faces(cells, "contact", sides),
    }


def _area_of_faces(
    cells: Cells, kind: str, sides: tuple[float, float, float]
) -> Floats:
    z, y, x = sides
    areas = {"z": y * x, "y": z * x, "x": z * y}
    parts = [cells.outline(f"{kind}_{axis}") * area for axis, area in areas.items()]
    return np.asarray(sum(parts), np.float64)
