"""The verb *measure polarity*: per cell, where its spots and its area lie.

Two rounds: first the centroids of cells and nuclei, then cytoplasm pixels and spots
in 360 one-degree bins about the nucleus centroid, counted from the reference
direction. All are sums of whole numbers, so a cell that crosses blocks gives the
same numbers as in one. Nothing here knows indices, bootstraps or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.geometry import one_block
from deepspot_scale.blockwise.mapping import (
    check_image,
    check_labels,
    is_lazy,
    iter_planes,
    labels_at,
    read_whole,
)
from deepspot_scale.blockwise.reduction import (
    FieldAnswers,
    Here,
    Step,
    everything,
    reduce_rounds,
)
from deepspot_scale.blockwise.tables import (
    PlaneIdentity,
    delayed_table,
    gather_tables,
    identify,
    lazy_table,
    plane_identity,
)
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.regions import (
    LabelSums,
    no_labels,
    number_labels,
    sum_by_label,
)
from deepspot_scale.kernels.sectors import (
    angle_bins,
    resultant,
)
from deepspot_scale.vocabulary import CELLS, N_BINS, FieldAddress

SUMS = ("area", "y", "x", "nucleus_area", "nucleus_y", "nucleus_x", "border")
"""Columns of the first round's sums."""


class Cells(NamedTuple):
    """The cells of a field after the first round, one row each."""

    sums: LabelSums
    """`SUMS` by cell."""
    centre_y: NDArray[np.float64]
    """Nucleus centroid; the cell's own where no nuclei were given; NaN: no nucleus."""
    centre_x: NDArray[np.float64]
    reference_deg: NDArray[np.float64]
    """NaN without reference or centre."""
    has_nuclei: bool
    """Whether nuclei were given."""


class _Partial(NamedTuple):
    sums: LabelSums
    has_nuclei: bool

    def __add__(self, other: Any) -> Any:
        return _Partial(self.sums + other.sums, self.has_nuclei or other.has_nuclei)


@dataclass(frozen=True)
class PolarityMeasure:
    """Both rounds of the measure; the reference is the field's answer ``reference``."""

    def steps(self) -> tuple[Step, Step]:
        """Return ``cells`` and ``polarity``; the latter reads the block's spots."""
        first = Step("cells", self._measure, share=everything, finalize=self._locate)
        second = Step("polarity", self._bins, share=everything)
        return first, second

    def _measure(self, here: Here, _: FieldAnswers) -> _Partial:
        if not here.read.has("cells"):
            return _Partial(no_labels(len(SUMS)), False)
        core = here.block.core
        cells = here.read("cells", core)
        rows, columns = np.nonzero(cells)
        labels = cells[rows, columns]
        y, x = rows + core.y.start, columns + core.x.start
        has_nuclei = here.read.has("nuclei")
        if has_nuclei:
            inside = (here.read("nuclei", core)[rows, columns] > 0).astype(np.int64)
        else:
            inside = np.zeros(y.size, np.int64)
        last_y, last_x = here.shape[0] - 1, here.shape[1] - 1
        border = (y == 0) | (x == 0) | (y == last_y) | (x == last_x)
        one = np.ones(y.size, np.int64)
        sums = [one, y, x, inside, inside * y, inside * x, border.astype(np.int64)]
        return _Partial(sum_by_label(labels, sums), has_nuclei)

    def _locate(self, total: _Partial, field: FieldAnswers) -> Cells:
        sums, has_nuclei = total
        area, y, x, nucleus_area, nucleus_y, nucleus_x, _ = sums.sums.T.astype(float)
        if has_nuclei:
            centre_y = _ratio(nucleus_y, nucleus_area)
            centre_x = _ratio(nucleus_x, nucleus_area)
        else:
            centre_y, centre_x = _ratio(y, area), _ratio(x, area)
        reference: Reference | None = field.get("reference")
        directions = np.full(area.size, np.nan)
        if reference is not None and area.size:
            directions = reference.directions(centre_y, centre_x)
        return Cells(sums, centre_y, centre_x, directions, has_nuclei)

    def _bins(self, here: Here, field: FieldAnswers) -> LabelSums:
        """Return area bins, spot bins and the three spot counts of each cell."""
        cells: Cells = field["cells"]
        if cells.sums.labels.size == 0:
            return no_labels(2 * N_BINS + 3)
        areas = self._area_bins(here, cells)
        return areas + _spot_bins(here.answers["assigned"].table, cells)

    def _area_bins(self, here: Here, cells: Cells) -> LabelSums:
        core = here.block.core
        labels = here.read("cells", core)
        cytoplasm = labels != 0
        if cells.has_nuclei:
            cytoplasm &= here.read("nuclei", core) == 0
        rows, columns = np.nonzero(cytoplasm)
        found = labels[rows, columns]
        if found.size == 0:
            return no_labels(2 * N_BINS + 3)
        # Directions need the centroid of each pixel's cell: look it up once a label.
        keys, place = number_labels(found)
        at = np.searchsorted(cells.sums.labels, keys)[place]
        bins = _bins_about(cells, at, rows + core.y.start, columns + core.x.start)
        known = bins >= 0
        flat = place[known] * N_BINS + bins[known]
        counts = np.bincount(flat, minlength=keys.size * N_BINS)
        sums = np.zeros((keys.size, 2 * N_BINS + 3), np.int64)
        sums[:, :N_BINS] = counts.reshape(keys.size, N_BINS)
        return LabelSums(keys, sums)


def _ratio(total: NDArray[np.float64], n: NDArray[np.float64]) -> NDArray[np.float64]:
    answer: NDArray[np.float64] = np.full(n.size, np.nan)
    return np.divide(total, n, out=answer, where=n > 0)


def _bins_about(
    cells: Cells, at: NDArray[np.int64], y: Any, x: Any
) -> NDArray[np.int64]:
    """Return the bin of points (y, x) about the centre of cells `at`; -1: no centre."""
    known = np.isfinite(cells.centre_y)[at]
    # Without a reference, bins count from +x.
    zero = np.nan_to_num(cells.reference_deg, nan=0.0)
    bins = angle_bins(
        y - np.nan_to_num(cells.centre_y)[at],
        x - np.nan_to_num(cells.centre_x)[at],
        zero[at],
    )
    return np.where(known, bins, -1)


def _spot_bins(spots: pd.DataFrame, cells: Cells) -> LabelSums:
    """Count the spots of each cell, by place and by direction."""
    inside = spots[spots["cell"] > 0]
    # A spot may lie on a label that only touches this block; all labels are known.
    labels = inside["cell"].to_numpy(np.int64)
    if labels.size == 0:
        return no_labels(2 * N_BINS + 3)
    in_nucleus = inside["nucleus"].to_numpy() > 0
    keys, place = number_labels(labels)
    at = np.searchsorted(cells.sums.labels, keys)[place]
    bins = _bins_about(cells, at, inside["y"].to_numpy(), inside["x"].to_numpy())
    counted = ~in_nucleus & (bins >= 0)
    flat = place[counted] * N_BINS + bins[counted]
    sums = np.zeros((keys.size, 2 * N_BINS + 3), np.int64)
    counts = np.bincount(flat, minlength=keys.size * N_BINS)
    sums[:, N_BINS : 2 * N_BINS] = counts.reshape(keys.size, N_BINS)
    for column, chosen in enumerate((labels > 0, in_nucleus, ~in_nucleus)):
        sums[:, 2 * N_BINS + column] = np.bincount(place[chosen], minlength=keys.size)
    return LabelSums(keys, sums)


def cell_table(cells: Cells, bins: LabelSums, plane: PlaneIdentity) -> pd.DataFrame:
    """Return one row a cell, the columns `vocabulary.CELLS`, ascending by label.

    Parameters
    ----------
    cells
        The field's answer of the first round.
    bins
        The field's answer of the second.
    plane
        Where the cells are.
    """
    labels = cells.sums.labels
    # Labels without cytoplasm and spots have no bins of their own.
    zeros = np.zeros((labels.size, 2 * N_BINS + 3), np.int64)
    all_bins = (LabelSums(labels, zeros) + bins).sums
    area, y, x, nucleus_area, nucleus_y, nucleus_x, border = cells.sums.sums.T
    spots = all_bins[:, N_BINS : 2 * N_BINS]
    length, direction = _mean_direction(spots, cells.reference_deg)
    columns = {
        "cell": labels,
        "area": area,
        "nucleus_area": nucleus_area,
        "cell_y": _ratio(y.astype(float), area.astype(float)),
        "cell_x": _ratio(x.astype(float), area.astype(float)),
        "nucleus_y": _ratio(nucleus_y.astype(float), nucleus_area.astype(float)),
        "nucleus_x": _ratio(nucleus_x.astype(float), nucleus_area.astype(float)),
        "touches_border": border > 0,
        "n_spots": all_bins[:, 2 * N_BINS],
        "n_spots_nucleus": all_bins[:, 2 * N_BINS + 1],
        "n_spots_cytoplasm": all_bins[:, 2 * N_BINS + 2],
        "reference_deg": cells.reference_deg,
        "resultant_length": length,
        "resultant_deg": direction,
        "area_bins": list(all_bins[:, :N_BINS].astype(np.int32)),
        "spot_bins": list(spots.astype(np.int32)),
    }
    return identify(pd.DataFrame(columns), plane, CELLS)


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


def _given(_: Here, field: FieldAnswers) -> GivenSpots:
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
) -> pd.DataFrame:
    """Measure every plane, each with the labels of its time point, as one block."""
    first, second = PolarityMeasure().steps()
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


def plane_table(answers: FieldAnswers, plane: PlaneIdentity) -> pd.DataFrame:
    """Return the cell table of one plane from the answers of both rounds."""
    return cell_table(answers["cells"], answers["polarity"], plane)


def measure_polarity(
    spots: Any,
    *,
    cells: xr.DataArray,
    nuclei: xr.DataArray | None = None,
    reference: Reference | None = None,
    like: xr.DataArray | None = None,
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

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.CELLS`; lazy when an input is.

    Raises
    ------
    FieldError
        Unfit label images.
    """
    labels = check_labels(cells, nuclei)
    planes = _planes_of(like) if like is not None else None
    if isinstance(spots, pd.DataFrame) and not is_lazy(*labels.values()):
        return _measure_tables(spots, labels, reference, planes)
    from dask.delayed import delayed

    table = delayed(_measure_tables, pure=False)(
        delayed_table(spots), labels, reference, planes
    )
    return lazy_table([table], CELLS)
