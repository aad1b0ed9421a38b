"""Verbs on cells: assign spots to them, and measure their polarity.

Spots and label images come in, tables go out. Nothing here knows plates or files.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import LABEL_HEIGHT, PIXEL, REFERENCE
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
    z_step_of,
)
from deepspot_scale.blockwise.lifting import (
    check_image,
    check_labels,
    is_lazy,
    is_volume,
    iter_planes,
    labels_at,
    read_whole,
    same_depth,
)
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import ASSIGNED, Spots
from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.pixel_shape import pixel_shape, voxel_height
from deepspot_scale.kernels.references import Reference
from deepspot_scale.stages.assignment import look_up
from deepspot_scale.stages.polarity.measure import PolarityMeasure
from deepspot_scale.tables import join_tables, rows_with
from deepspot_scale.vocabulary import CELLS, PROJECTED, FieldAddress, PlaneIdentity

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
    if is_volume(labels):
        _check_depth(spots)
        labels = same_depth(labels)
    # The index may repeat, as that of computed partitions does: rows go by place.
    rows = spots.reset_index(drop=True)
    parts = []
    for t in rows["t"].unique().tolist():
        arrays = {n: i.data for n, i in labels_at(labels, t).items()}
        shape = next(iter(arrays.values())).shape
        parts.append(look_up(rows[rows["t"] == t], read_whole(arrays), shape))
    return pd.concat(parts).sort_index().set_axis(spots.index) if parts else spots


def _check_depth(spots: pd.DataFrame) -> None:
    """Raise FieldError if spots have no depth, by which volumes give them cells."""
    if len(spots) and (spots["z"] == PROJECTED).all():
        raise FieldError(
            "the spots are of projected planes and have no depth, and the labels are "
            "volumes (z, y, x); give flat labels, or spots that were found in the stack"
        )


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
        Label images (y, x), (z, y, x) or with t in front, on the image's grid; 0 is
        background. Spots that were found in single planes have the depth of their
        plane.

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


def _planes_of(like: xr.DataArray, axes: str = "yx") -> list[PlaneIdentity]:
    image = check_image(like, "like")
    if "z" in axes:
        image = image.transpose(..., "z", "y", "x")
    return [plane_identity(image, index) for index, _ in iter_planes(image, axes)]


def _planes_with_spots(spots: pd.DataFrame) -> list[PlaneIdentity]:
    """Return the planes that have spots."""
    keys = ["row", "column", "field", "t", "channel", "plane", "acquisition"]
    rows = spots[keys].drop_duplicates().to_dict("records")
    return [
        PlaneIdentity(
            FieldAddress(row["row"], row["column"], row["field"]),
            row["t"],
            row["channel"],
            row["plane"],
            acquisition=row["acquisition"],
        )
        for row in rows
    ]


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
    again = look_up(unknown, read_whole(labels), shape)
    columns = ["cell", "nucleus"]
    other = (again[columns].to_numpy() != spots[columns].to_numpy()).any(axis=1)
    if other.any():
        raise FieldError(
            f"{other.sum()} spots have other cells or nuclei than these labels give "
            "them; assign the spots first, with the same cells and nuclei"
        )


class _LikePlanes(NamedTuple):
    """The planes of an image, taken one by one, or stack by stack if it has z."""

    planes: list[PlaneIdentity]
    stacks: list[PlaneIdentity] | None

    @classmethod
    def of_image(cls, like: xr.DataArray) -> _LikePlanes:
        stacks = _planes_of(like, "zyx") if "z" in like.dims else None
        return cls(_planes_of(like), stacks)

    def of(
        self, spots: pd.DataFrame, labels: dict[str, xr.DataArray]
    ) -> list[PlaneIdentity]:
        """Return those that spots are of; without spots those that labels are for."""
        in_stack = (spots["plane"] == PROJECTED).all() if len(spots) else True
        if self.stacks is None or not in_stack or not (len(spots) or is_volume(labels)):
            return self.planes
        return self.stacks


def _given_spots(_: BlockContext, agreed: Answers) -> Spots:
    return Spots(agreed[GIVEN_SPOTS], 0)


def _measure_tables(
    spots: pd.DataFrame,
    labels: dict[str, xr.DataArray],
    reference: Reference | None,
    like: _LikePlanes | None,
    measure: PolarityMeasure,
) -> pd.DataFrame:
    """Measure every plane, each with the labels of its time point, as one block."""
    given = Work((Step(ASSIGNED, _given_spots, agreed=(GIVEN_SPOTS,)),))
    pipeline = plan_pipeline(
        {"given": given, "polarity": measure.work(labels)},
        images=(),
        labels=tuple(labels),
        given=(REFERENCE, PIXEL, LABEL_HEIGHT, GIVEN_SPOTS),
    )
    table = next(each for each in pipeline.tables if each.name == "cells")
    tables = []
    stated = like.of(spots, labels) if like is not None else None
    spots, planes = _of_field(spots, stated)
    # Without spots or an image the cells are those of one nameless plane or stack.
    planes = planes or [PlaneIdentity(z=PROJECTED if is_volume(labels) else 0)]
    check_places(spots, labels.values())
    size, step = _sizes_of(spots, planes, labels)
    for plane, own in _by_plane(spots, planes):
        arrays = _arrays_of(labels, plane, own)
        _check_assigned(own, arrays)
        known = Answers({GIVEN_SPOTS.name: own, REFERENCE.name: reference})
        known[PIXEL], shape = pixel_shape(size), arrays["cells"].shape
        known[LABEL_HEIGHT] = voxel_height(size, step) if len(shape) == 3 else None
        blocks = one_block(shape, "zyx"[-len(shape) :])
        answers = reduce_rounds(pipeline, blocks, read_whole(arrays), known)
        told = replace(plane, pixel_size_um=size, z_step_um=step)
        tables.append(table.make(answers, told))
    return join_tables(tables, table.columns)


def _sizes_of(
    spots: pd.DataFrame,
    planes: list[PlaneIdentity],
    labels: dict[str, xr.DataArray],
) -> tuple[tuple[float, float] | None, float | None]:
    """Return pixel size and distance of planes, by whoever states them first."""
    stated = [*planes, *(plane_identity(image, {}) for image in labels.values())]
    sizes = [each.pixel_size_um for each in stated if each.pixel_size_um is not None]
    steps = [each.z_step_um for each in stated if each.z_step_um is not None]
    size = sizes[0] if sizes else pixel_size_of(spots)
    return size, steps[0] if steps else z_step_of(spots)


def _arrays_of(
    labels: dict[str, xr.DataArray], plane: PlaneIdentity, spots: pd.DataFrame
) -> dict[str, NDArray[Any]]:
    """Return the labels that go with a plane or stack, in memory."""
    if is_volume(labels):
        _check_depth(spots)
    z = None if plane.z == PROJECTED else plane.z
    own = same_depth(labels_at(labels, plane.t, z))
    return {name: np.asarray(image.data) for name, image in own.items()}


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
        Label images (y, x), (z, y, x) or with t in front, that the spots were assigned
        with. Without nuclei, directions are about the cell's centroid and all of it is
        cytoplasm. Spots of a stack are measured in label volumes as a whole, spots of
        single planes in their plane of them.
        Directions and distances are those of the specimen: `like`, coordinates of the
        labels or else the places of spots tell a pixel's height and width, and the
        distance of planes; without that one, distances in label volumes are NaN.
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
    planes = _LikePlanes.of_image(like) if like is not None else None
    labels = check_labels(cells, nuclei, like)
    if isinstance(spots, pd.DataFrame) and not is_lazy(*labels.values()):
        return _measure_tables(spots, labels, reference, planes, measure)
    from dask.delayed import delayed

    table = delayed(_measure_tables, pure=False)(
        delayed_table(spots), labels, reference, planes, measure
    )
    lazy: AnyTable = lazy_table([table], CELLS)
    return lazy
