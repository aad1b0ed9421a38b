"""The verb *measure polarity*: per cell, where its spots and its area lie.

Two rounds: first the centroids of cells and nuclei, then cytoplasm pixels and spots
in 360 one-degree bins about the nucleus centroid, counted from the reference
direction, and how spread, central and far from edge and nucleus the spots are. All
are sums of whole numbers, so a cell that crosses blocks gives the same numbers as in
one. Nothing here knows indices of groups, bootstraps or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.geometry import one_block
from deepspot_scale.blockwise.identity import (
    PlaneIdentity,
    delayed_table,
    gather_tables,
    identify,
    lazy_table,
    plane_identity,
)
from deepspot_scale.blockwise.lifting import (
    check_image,
    check_labels,
    is_lazy,
    iter_planes,
    labels_at,
    read_whole,
)
from deepspot_scale.blockwise.rounds import (
    BlockContext,
    PlaneAnswers,
    Step,
    everything,
    reduce_rounds,
)
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.dispersion import measure_dispersion
from deepspot_scale.kernels.distances import REACH
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.regions import LabelSums
from deepspot_scale.kernels.sectors import resultant
from deepspot_scale.stages.polarity.cell_sums import (
    Cells,
    CellShapes,
    SpotSums,
    locate_cells,
    ratio,
    sum_outlines,
    sum_places,
)
from deepspot_scale.vocabulary import CELLS, N_BINS, FieldAddress


@dataclass(frozen=True)
class PolarityMeasure:
    """Both rounds of the measure; the reference is the field's answer ``reference``."""

    nucleus_margin: float = 0.0
    """Pixels around the nucleus that the bins of area and spots leave out, for spots
    above or below a nucleus whose mask is too small; 0: none."""

    def __post_init__(self) -> None:
        if not 0 <= self.nucleus_margin < REACH:
            raise SettingsError(
                f"nucleus_margin is a distance of 0 to {REACH} pixels; "
                f"got {self.nucleus_margin}"
            )

    def steps(self) -> tuple[Step, Step]:
        """Return ``cells`` and ``polarity``; the latter reads the block's spots."""
        first = Step("cells", self._measure, share=everything, finalize=self._locate)
        second = Step("polarity", self._places, share=everything)
        return first, second

    def _measure(self, here: BlockContext, _: PlaneAnswers) -> CellShapes:
        return sum_outlines(here)

    def _locate(self, total: CellShapes, field: PlaneAnswers) -> Cells:
        return locate_cells(total, field.get("reference"))

    def _places(self, here: BlockContext, field: PlaneAnswers) -> LabelSums:
        spots = here.answers["assigned"].table
        return sum_places(here, field["cells"], spots, self.nucleus_margin)


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
    labels = cells.sums.labels
    # Labels without cytoplasm and spots have no sums of their own.
    zeros = np.zeros((labels.size, sums.sums.shape[1]), np.int64)
    places = SpotSums((LabelSums(labels, zeros) + sums).sums)
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
        "area_bins": list(places.area_bins.astype(np.int32)),
        "spot_bins": list(places.spot_bins.astype(np.int32)),
    }
    return identify(pd.DataFrame(columns), plane, CELLS)


def _spread(cells: Cells, places: SpotSums) -> dict[str, NDArray[np.float64]]:
    """Return the columns on how spread and how far out the spots of each cell are."""
    anchor_y, anchor_x = cells.anchors()
    indices = measure_dispersion(
        cells.moments(),
        places.moments(),
        cells.centre_y - anchor_y,
        cells.centre_x - anchor_x,
    )
    nucleus_area = cells.outline("nucleus_area")
    pixels = cells.outline("area") - nucleus_area
    spots = places.column("n_spots_cytoplasm")
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


class GivenSpots(NamedTuple):
    """Spots that were found before, as the polarity step reads them."""

    table: pd.DataFrame
    """Columns y, x, cell, nucleus."""


def _given(_: BlockContext, field: PlaneAnswers) -> GivenSpots:
    return GivenSpots(field["given_spots"])


def _planes_of(like: xr.DataArray) -> list[PlaneIdentity]:
    image = check_image(like, "like")
    return [plane_identity(image, index) for index, _ in iter_planes(image)]


def _planes_with_spots(spots: pd.DataFrame) -> list[PlaneIdentity]:
    """Return the planes that have spots, or one nameless plane when none has."""
    keys = ["row", "column", "field", "t", "channel", "z"]
    rows = spots[keys].drop_duplicates().to_dict("records")
    found = [
        PlaneIdentity(
            FieldAddress(row["row"], row["column"], row["field"]),
            row["t"],
            row["channel"],
            row["z"],
        )
        for row in rows
    ]
    return found or [PlaneIdentity()]


def _measure_tables(
    spots: pd.DataFrame,
    labels: dict[str, xr.DataArray],
    reference: Reference | None,
    planes: list[PlaneIdentity] | None,
    measure: PolarityMeasure,
) -> pd.DataFrame:
    """Measure every plane, each with the labels of its time point, as one block."""
    first, second = measure.steps()
    rounds = ((first,), (Step("assigned", _given), second))
    tables = []
    for plane in planes if planes is not None else _planes_with_spots(spots):
        own = spots[
            (spots["t"] == plane.t)
            & (spots["z"] == plane.z)
            & (spots["channel"] == plane.channel)
        ]
        images = labels_at(labels, plane.t)
        shape = (images["cells"].sizes["y"], images["cells"].sizes["x"])
        given = {"given_spots": own, "reference": reference}
        read = read_whole(images)
        answers = reduce_rounds(rounds, one_block(shape), read, given)
        tables.append((answers, plane))
    table: pd.DataFrame = gather_tables(tables, plane_table, CELLS)
    return table


def plane_table(answers: PlaneAnswers, plane: PlaneIdentity) -> pd.DataFrame:
    """Return the cell table of one plane from the answers of both rounds."""
    return cell_table(answers["cells"], answers["polarity"], plane)


def measure_polarity(
    spots: Any,
    *,
    cells: xr.DataArray,
    nuclei: xr.DataArray | None = None,
    reference: Reference | None = None,
    like: xr.DataArray | None = None,
    nucleus_margin: float = 0.0,
) -> Any:
    """Measure every cell: areas, centroids, spot counts and directions of spots.

    Parameters
    ----------
    spots
        Table of one field from `assign`, lazy or not.
    cells, nuclei
        Label images (y, x) or (t, y, x) that the spots were assigned with. Without
        nuclei, directions are about the cell's centroid and all of it is cytoplasm.
    reference
        Where "toward" is; without one, bins count from +x.
    like
        The image the spots come from: its planes are reported even without spots.
    nucleus_margin
        As in `PolarityMeasure`.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.CELLS`; lazy when an input is.

    Raises
    ------
    FieldError
        Unfit label images.
    SettingsError
        A margin that is no distance.
    """
    measure = PolarityMeasure(nucleus_margin)
    labels = check_labels(cells, nuclei)
    planes = _planes_of(like) if like is not None else None
    if isinstance(spots, pd.DataFrame) and not is_lazy(*labels.values()):
        return _measure_tables(spots, labels, reference, planes, measure)
    from dask.delayed import delayed

    table = delayed(_measure_tables, pure=False)(
        delayed_table(spots), labels, reference, planes, measure
    )
    return lazy_table([table], CELLS)
