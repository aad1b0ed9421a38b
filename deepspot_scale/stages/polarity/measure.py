"""The stage *polarity*: per cell, where its spots and its area lie.

Two rounds: first the centroids of cells and nuclei, then cytoplasm pixels and spots
in 360 one-degree bins about the nucleus centroid, counted from the reference
direction, and how spread, central and far from edge and nucleus the spots are. All
are sums of whole numbers, so a cell that crosses blocks gives the same numbers as in
one. Where labels are volumes, pixels are voxels: directions, bins and the three indices
are in the plane, as if all planes lay on one another, and distances go through the
volume. Nothing here knows indices of groups, bootstraps or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, field_validator

from deepspot_scale.blockwise.answers import LABEL_HEIGHT, LABELS, PIXEL, REFERENCE
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.spots import ASSIGNED, SLACK
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.dispersion import measure_dispersion
from deepspot_scale.kernels.distances import REACH
from deepspot_scale.kernels.regions import LabelSums
from deepspot_scale.kernels.sectors import resultant
from deepspot_scale.stages.polarity.cell_places import sum_places
from deepspot_scale.stages.polarity.cell_sums import (
    Cells,
    CellShapes,
    SpotSums,
    locate_cells,
    ratio,
    sum_outlines,
)
from deepspot_scale.stages.polarity.cell_volumes import (
    NEXT,
    sum_volumes,
    volume_columns,
)
from deepspot_scale.stages.polarity.cell_voxels import sum_voxels
from deepspot_scale.vocabulary import CELLS, N_BINS, PLANE, RADIAL, PlaneIdentity

_SHAPES: Key[CellShapes] = Key("cell_shapes")
CELL_PLACES: Key[Cells] = Key("cell_places")
SPOT_SUMS: Key[LabelSums] = Key("spot_sums")


def _count_without_distances(cells: Cells) -> int:
    return 0 if cells.has_distances else len(cells.sums.labels)


_WITHOUT_DISTANCES = Count(
    "n_without_distances",
    "cells in volumes without distances: pixel size or z step is not known",
    CELL_PLACES,
    _count_without_distances,
)


@dataclass(frozen=True)
class PolarityMeasure:
    """Both rounds of the measure."""

    nucleus_margin: float = 0.0
    """Pixels around the nucleus that the bins of area and spots leave out, for spots
    above or below a nucleus whose mask is too small; 0: none. Where pixels are not
    square, square ones of the same area."""

    def __post_init__(self) -> None:
        if not 0 <= self.nucleus_margin < REACH:
            raise SettingsError(
                f"nucleus_margin is a distance of 0 to {REACH} pixels; "
                f"got {self.nucleus_margin}"
            )

    def work(self, layers: Iterable[str]) -> Work:
        """Return the work on those label images that are among `layers`."""
        labels = [name for name in LABELS.values() if name in set(layers)]
        shapes = Step(
            _SHAPES,
            _measure_shapes,
            dict.fromkeys(labels, NEXT),
            agreed=(REFERENCE, PIXEL, LABEL_HEIGHT),
            settles=CELL_PLACES,
            finalize=self._locate,
        )
        sums = Step(
            SPOT_SUMS,
            self._sum_spots,
            dict.fromkeys(labels, dict.fromkeys("zyx", REACH + SLACK)),
            uses=(ASSIGNED,),
            agreed=(CELL_PLACES,),
        )
        table = Table("cells", CELLS, (CELL_PLACES, SPOT_SUMS), plane_table)
        radial = Table("radial", RADIAL, (CELL_PLACES, SPOT_SUMS), radial_table)
        return Work((shapes, sums), (table, radial, _WITHOUT_DISTANCES), stacks=True)

    def _locate(self, total: CellShapes, agreed: Answers) -> Cells:
        height = agreed[LABEL_HEIGHT]
        cells = locate_cells(total, agreed[REFERENCE], agreed[PIXEL], height)
        if self.nucleus_margin > 0 and not cells.has_distances:
            raise FieldError(
                f"a nucleus_margin of {self.nucleus_margin:g} pixels goes along z too "
                "where labels are volumes, and the image does not say how far its "
                "planes are apart; write pixel size and z step into the image, or "
                "leave nucleus_margin out"
            )
        return cells

    def _sum_spots(self, here: BlockContext, agreed: Answers) -> LabelSums:
        spots, cells = here.answers[ASSIGNED].table, agreed[CELL_PLACES]
        measure = sum_places if cells.height is None else sum_voxels
        return measure(here, cells, spots, self.nucleus_margin)


def _measure_shapes(here: BlockContext, agreed: Answers) -> CellShapes:
    is_flat = agreed[LABEL_HEIGHT] is None
    return sum_outlines(here) if is_flat else sum_volumes(here)


def cell_table(cells: Cells, sums: LabelSums, plane: PlaneIdentity) -> pd.DataFrame:
    """Return one row a cell, the columns `vocabulary.CELLS`, ascending by label.

    Parameters
    ----------
    cells
        The field's answer of the first round.
    sums
        The field's answer of the second.
    plane
        Where the cells are.
    """
    labels, places = cells.sums.labels, _all_places(cells, sums)
    area, nucleus_area = cells.outline("area"), cells.outline("nucleus_area")
    length, direction = _mean_direction(places.spot_bins, cells.reference_deg)
    columns = {
        "cell": labels,
        "area": area,
        "nucleus_area": nucleus_area,
        "cell_y": ratio(cells.outline("y"), area),
        "cell_x": ratio(cells.outline("x"), area),
        "nucleus_y": ratio(cells.outline("nucleus_y"), nucleus_area),
        "nucleus_x": ratio(cells.outline("nucleus_x"), nucleus_area),
        "touches_border": cells.outline("border") > 0,
        "n_spots": places.column("n_spots"),
        "n_spots_nucleus": places.column("n_spots_nucleus"),
        "n_spots_cytoplasm": places.column("n_spots_cytoplasm"),
        "reference_deg": cells.reference_deg,
        "resultant_length": length,
        "resultant_deg": direction,
        **_spread(cells, places),
        **volume_columns(cells, plane),
        "area_bins": list(places.area_bins.astype(np.int32)),
        "spot_bins": list(places.spot_bins.astype(np.int32)),
    }
    return identify(pd.DataFrame(columns), plane, CELLS)


def _all_places(cells: Cells, sums: LabelSums) -> SpotSums:
    """Return a row for every cell; without cytoplasm and spots it has no sums."""
    zeros = np.zeros((cells.sums.labels.size, sums.sums.shape[1]), np.int64)
    return SpotSums((LabelSums(cells.sums.labels, zeros) + sums).sums)


def _spread(cells: Cells, places: SpotSums) -> dict[str, NDArray[np.float64]]:
    """Return the columns on how spread and how far out the spots of each cell are."""
    anchor_y, anchor_x = cells.anchors()
    indices = measure_dispersion(
        cells.moments(),
        places.moments(cells.pixel),
        (cells.centre_y - anchor_y) * cells.pixel.y,
        (cells.centre_x - anchor_x) * cells.pixel.x,
    )
    nucleus_area = cells.outline("nucleus_area")
    known = cells.has_distances
    pixels = (cells.outline("area") - nucleus_area) * known
    spots = places.column("n_spots_cytoplasm") * known
    has_nucleus = nucleus_area > 0
    return {
        "polarization_index": indices.polarization,
        "dispersion_index": indices.dispersion,
        "peripheral_index": indices.peripheral,
        "nucleus_distance": places.distance("spot_to_nucleus", spots * has_nucleus),
        "nucleus_distance_uniform": places.distance("to_nucleus", pixels * has_nucleus),
        "edge_distance": places.distance("spot_to_edge", spots),
        "edge_distance_uniform": places.distance("to_edge", pixels),
    }


def _mean_direction(
    spots: NDArray[np.int64], reference_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return length and absolute direction of the mean of each cell's spots.

    Taken from the bins' centres, exact to half a degree, since sums of bins do not
    depend on the order of blocks and sums of cosines do.
    """
    middle = np.radians(np.arange(N_BINS) + 0.5)
    length, direction = resultant(
        (spots * np.cos(middle)).sum(axis=1),
        (spots * np.sin(middle)).sum(axis=1),
        spots.sum(axis=1),
    )
    return length, (direction + np.nan_to_num(reference_deg)) % 360.0


def plane_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    """Return the cell table of one plane from the answers of both rounds."""
    return cell_table(agreed[CELL_PLACES], agreed[SPOT_SUMS], plane)


def radial_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    """Return `vocabulary.RADIAL` of one plane: a row for each cell with a nucleus.

    There are no rows where distances within the cells are not known.
    """
    cells = agreed[CELL_PLACES]
    places = _all_places(cells, agreed[SPOT_SUMS])
    kept = (cells.outline("nucleus_area") > 0) & cells.has_distances
    names = [column.name for column in RADIAL[len(PLANE) + 1 :]]
    rings = pd.DataFrame(places.rings[kept], columns=names)
    rings.insert(0, "cell", cells.sums.labels[kept])
    return identify(rings, plane, RADIAL)


class PolarityOptions(StageOptions):
    """How the RNA's side in each cell is measured and judged."""

    use: bool = Field(
        default=True, description="Measure cells, where there are labels."
    )
    sectors: int = Field(
        default=3, description="Sectors about the nucleus, a divisor of 180."
    )
    min_spots: int = Field(
        default=10, ge=1, description="Cytoplasmic spots a cell needs for the index."
    )
    rotation: Literal["fixed", "published"] = Field(
        default="fixed",
        description="published: DypFISH's densest rotation, which is biased.",
    )
    exclude_border: bool = Field(
        default=False, description="Leave cells at the field's edge out of the index."
    )
    nucleus_margin: float = Field(
        default=0.0,
        ge=0,
        lt=REACH,
        description="Pixels around the nucleus that do not count.",
    )

    @field_validator("sectors")
    @classmethod
    def _divides(cls, sectors: int) -> int:
        if sectors < 2 or 180 % sectors:
            raise ValueError(
                "sectors must be a divisor of 180, at least 2: 2, 3, 4 ..."
            )
        return sectors


def plan_polarity(options: PolarityOptions, context: RunContext) -> Work | None:
    """Return the stage's work; None without cells or spots."""
    if LABELS["cell"] not in context.layers or ASSIGNED.name not in context.answers:
        return None
    return PolarityMeasure(options.nucleus_margin).work(context.layers)


POLARITY = Stage("polarity", PolarityOptions, plan_polarity)
