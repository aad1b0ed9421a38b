"""Verbs on cells: assign spots to them, and measure their polarity.

Spots and label images come in, tables go out. Nothing here knows plates or files.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import PIXEL, REFERENCE
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Step,
    Work,
)
from deepspot_scale.blockwise.geometry import one_block
from deepspot_scale.blockwise.identity import (
    check_places,
    delayed_table,
    lazy_table,
    pixel_size_of,
    plane_columns,
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
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import ASSIGNED, Spots
from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.pixel_shape import pixel_shape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.stages.assignment import look_up
from deepspot_scale.stages.polarity.measure import PolarityMeasure
from deepspot_scale.tables import join_tables, rows_with
from deepspot_scale.vocabulary import CELLS, FieldAddress, PlaneIdentity

if TYPE_CHECKING:
    from deepspot_scale.verbs.images import AnyTable

_FIELD = ["row", "column", "field"]
GIVEN_SPOTS: Key[pd.DataFrame] = Key("given_spots")
"""Spots that were found before."""


def _fields_of(spots: pd.DataFrame) -> list[FieldAddress]:
    rows = spots[_FIELD].drop_duplicates().itertuples(index=False)
    return [FieldAddress(*row) for row in rows]


def _check_one_field(fields: list[FieldAddress]) -> None:
    if len(fields) > 1:
        names = ", ".join(each.path or "one without a name" for each in fields[:6])
        raise FieldError(
            f"the spots are of {len(fields)} fields ({names}"
            f"{', ...' if len(fields) > 6 else ''}) and the labels are of one; give "
            "the spots of each field alone, with its own labels"
        )


def _assign_table(
    spots: pd.DataFrame, labels: dict[str, xr.DataArray], fields: pd.DataFrame
) -> pd.DataFrame:
    """Return spots with their labels; `fields` are those of all partitions."""
    _check_one_field(_fields_of(fields))
    check_places(spots, labels.values())
    shape = next(iter(labels.values())).shape[-2:]
    # The index may repeat, as that of computed partitions does: rows go by place.
    rows = spots.reset_index(drop=True)
    parts = [
        look_up(
            rows[rows["t"] == t],
            read_whole({n: i.data for n, i in labels_at(labels, t).items()}),
            (shape[0], shape[1]),
        )
        for t in rows["t"].unique().tolist()
    ]
    return pd.concat(parts).sort_index().set_axis(spots.index) if parts else spots


def assign(
    spots: AnyTable,
    *,
    cells: xr.DataArray | None = None,
    nuclei: xr.DataArray | None = None,
) -> AnyTable:
    """Tell each spot its cell and its nucleus.

    Parameters
    ----------
    spots
        Table of one field from `detect`, lazy or not.
    cells, nuclei
        Label images (y, x) or (t, y, x) on the image's grid; 0 is background.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The same table with the columns cell and nucleus filled; lazy when `spots` is.

    Raises
    ------
    FieldError
        No label image, or unfit ones; spots of several fields, outside the labels, or
        elsewhere in micrometres (lazy ones: when computed).

    Examples
    --------
    >>> from deepspot_scale.simulation import render_spots
    >>> from deepspot_scale.verbs.images import detect
    >>> light = render_spots((40, 60), np.array([[20, 30]]), [500.0], [1.3])
    >>> image = xr.DataArray((100 + light).astype(np.uint16), dims=("y", "x"))
    >>> spots = detect(image, method="raw")
    >>> cells = xr.DataArray(np.full((40, 60), 7), dims=("y", "x"))
    >>> assign(spots, cells=cells)["cell"].tolist()
    [7]
    """
    labels = check_labels(cells, nuclei)
    if not labels:
        raise FieldError("assign needs cells or nuclei, got neither")
    if isinstance(spots, pd.DataFrame):
        return _assign_table(spots, labels, spots)
    from dask.delayed import delayed

    # A dictionary of DataArrays goes into the graph as one delayed value, so that
    # lazy labels are read once, by the tasks that need them. The fields of all
    # partitions are one more partition, which each of them gets.
    lazy: AnyTable = spots.map_partitions(
        _assign_table,
        delayed(dict)(labels),
        spots[_FIELD].drop_duplicates(split_out=1),
        meta=spots._meta,
        align_dataframes=False,
    )
    return lazy


def _planes_of(like: xr.DataArray) -> list[PlaneIdentity]:
    image = check_image(like, "like")
    return [plane_identity(image, index) for index, _ in iter_planes(image)]


def _planes_with_spots(spots: pd.DataFrame) -> list[PlaneIdentity]:
    """Return the planes that have spots, or one nameless plane when none has."""
    keys = ["row", "column", "field", "t", "channel", "plane", "acquisition"]
    rows = spots[keys].drop_duplicates().to_dict("records")
    found = [
        PlaneIdentity(
            FieldAddress(row["row"], row["column"], row["field"]),
            row["t"],
            row["channel"],
            row["plane"],
            acquisition=row["acquisition"],
        )
        for row in rows
    ]
    return found or [PlaneIdentity()]


def _of_field(
    spots: pd.DataFrame, planes: list[PlaneIdentity] | None
) -> tuple[pd.DataFrame, list[PlaneIdentity]]:
    """Return the spots of the planes' field, and planes that have its name.

    Where only one of the two has a name, they are of one field; no planes are those of
    the spots.
    """
    fields = _fields_of(spots)
    if planes is None:
        _check_one_field(fields)
        return spots, _planes_with_spots(spots)
    address = planes[0].address
    if address.field and all(each.field for each in fields):
        return spots[rows_with(spots, asdict(address))], planes
    _check_one_field(fields)
    if not address.field and fields:
        planes = [replace(plane, address=fields[0]) for plane in planes]
    return spots, planes


def _by_plane(
    spots: pd.DataFrame, planes: list[PlaneIdentity]
) -> list[tuple[PlaneIdentity, pd.DataFrame]]:
    """Return the planes with their spots; FieldError if a spot is in none of them."""
    keys = ["t", "channel", "plane"]
    found = [
        (plane, spots[rows_with(spots, dict(zip(keys, own, strict=True)))])
        for plane in planes
        for own in [(plane.t, plane.channel, plane.z)]
    ]
    n_left = len(spots) - sum(len(own) for _, own in found)
    if n_left:
        there = spots[keys].drop_duplicates().to_dict("records")
        raise FieldError(
            f"{n_left} of {len(spots)} spots are in no plane of like. Its first is of "
            f"{plane_columns(planes[0])}; the spots are of {there[:4]}. Give the image "
            "that they come from, or the spots of its planes alone"
        )
    return found


def _check_assigned(spots: pd.DataFrame, labels: dict[str, NDArray[Any]]) -> None:
    """Raise FieldError unless these labels give the spots their cells and nuclei."""
    unknown = spots.assign(cell=0, nucleus=0)
    shape = labels["cells"].shape
    again = look_up(unknown, read_whole(labels), (shape[0], shape[1]))
    columns = ["cell", "nucleus"]
    other = (again[columns].to_numpy() != spots[columns].to_numpy()).any(axis=1)
    if other.any():
        raise FieldError(
            f"{other.sum()} spots have other cells or nuclei than these labels give "
            "them; assign the spots first, with the same cells and nuclei"
        )


def _given_spots(_: BlockContext, agreed: Answers) -> Spots:
    return Spots(agreed[GIVEN_SPOTS], 0)


def _measure_tables(
    spots: pd.DataFrame,
    labels: dict[str, xr.DataArray],
    reference: Reference | None,
    planes: list[PlaneIdentity] | None,
    measure: PolarityMeasure,
) -> pd.DataFrame:
    """Measure every plane, each with the labels of its time point, as one block."""
    given = Work((Step(ASSIGNED, _given_spots, agreed=(GIVEN_SPOTS,)),))
    pipeline = plan_pipeline(
        {"given": given, "polarity": measure.work(labels)},
        images=(),
        labels=tuple(labels),
        given=(REFERENCE, PIXEL, GIVEN_SPOTS),
    )
    (table,) = pipeline.tables
    tables = []
    spots, planes = _of_field(spots, planes)
    check_places(spots, labels.values())
    stated = [*planes, *(plane_identity(image, {}) for image in labels.values())]
    sizes = [each.pixel_size_um for each in stated if each.pixel_size_um is not None]
    size = sizes[0] if sizes else pixel_size_of(spots)
    for plane, own in _by_plane(spots, planes):
        arrays = {n: np.asarray(i.data) for n, i in labels_at(labels, plane.t).items()}
        _check_assigned(own, arrays)
        known = Answers({GIVEN_SPOTS.name: own, REFERENCE.name: reference})
        known[PIXEL] = pixel_shape(size)
        blocks = one_block(arrays["cells"].shape)
        answers = reduce_rounds(pipeline, blocks, read_whole(arrays), known)
        tables.append(table.make(answers, replace(plane, pixel_size_um=size)))
    return join_tables(tables, table.columns)


def measure_polarity(
    spots: AnyTable,
    *,
    cells: xr.DataArray,
    nuclei: xr.DataArray | None = None,
    reference: Reference | None = None,
    like: xr.DataArray | None = None,
    nucleus_margin: float = 0.0,
) -> AnyTable:
    """Measure every cell: areas, centroids, spot counts and directions of spots.

    Parameters
    ----------
    spots
        Table of one field from `assign`, lazy or not; or of several, of which `like`
        says one.
    cells, nuclei
        Label images (y, x) or (t, y, x) that the spots were assigned with. Without
        nuclei, directions are about the cell's centroid and all of it is cytoplasm.
        Directions and distances are those of the specimen: `like`, coordinates of the
        labels or else the places of spots tell a pixel's height and width.
    reference
        Where "toward" is; without one, bins count from +x.
    like
        The image the spots come from: its planes are reported even without spots, and
        where it has an address, the spots of that field alone are counted.
    nucleus_margin
        As in `PolarityMeasure`.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.CELLS`; lazy when an input is.

    Raises
    ------
    FieldError
        Unfit label images; spots of several fields, in no plane of `like`, elsewhere in
        micrometres, or assigned with other labels (lazy ones: when computed).
    SettingsError
        A margin that is no distance.

    Examples
    --------
    >>> cells = xr.DataArray(np.ones((20, 30), np.uint8), dims=("y", "x"))
    >>> from deepspot_scale.tables import empty_table
    >>> from deepspot_scale.vocabulary import SPOTS
    >>> spots = empty_table(SPOTS)
    >>> table = measure_polarity(spots, cells=cells, reference=Reference(angle_deg=90))
    >>> table[["cell", "area", "n_spots", "reference_deg"]].to_numpy().tolist()
    [[1.0, 600.0, 0.0, 90.0]]
    """
    measure = PolarityMeasure(nucleus_margin)
    planes = _planes_of(like) if like is not None else None
    labels = check_labels(cells, nuclei, like)
    if isinstance(spots, pd.DataFrame) and not is_lazy(*labels.values()):
        return _measure_tables(spots, labels, reference, planes, measure)
    from dask.delayed import delayed

    table = delayed(_measure_tables, pure=False)(
        delayed_table(spots), labels, reference, planes, measure
    )
    lazy: AnyTable = lazy_table([table], CELLS)
    return lazy
