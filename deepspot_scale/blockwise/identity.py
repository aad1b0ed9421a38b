"""From the answers of planes to one table: who each row belongs to, in which units.

The image's own labels (address, channel, time, plane, pixel size) come in and become
columns. Nothing here knows what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.errors import FieldError
from deepspot_scale.tables import empty_table, join_tables, table_of
from deepspot_scale.vocabulary import (
    PROJECTED,
    Column,
    FieldAddress,
    PlaneIdentity,
)

MICROMETRES = frozenset(
    {"um", "\u00b5m", "\u03bcm", "micrometer", "micrometre", "micron"}
)
"""What coordinates in micrometres may say of their units."""
OFF_GRID = 0.01
"""Pixels that coordinates of one place may differ, by rounding."""


def plane_identity(image: xr.DataArray, index: dict[str, int]) -> PlaneIdentity:
    """Read the identity of one plane from an image's coordinates and attributes.

    Parameters
    ----------
    image
        As `open_plate` gives it, or any other; what it does not say stays empty.
    index
        Position of the plane along each leading dimension.
    """
    here = image.isel(index)

    def number(axis: str) -> int:
        if axis in index:
            return index[axis]
        if axis == "z" and axis in here.dims:
            return PROJECTED
        value = here.coords.get(axis)
        whole = value is not None and value.ndim == 0 and value.dtype.kind in "ui"
        return int(value) if whole and value is not None else 0

    named = here.coords.get("c")
    channel = str(named.item()) if named is not None else str(index.get("c", ""))
    (size_y, origin_y), (size_x, origin_x) = (_axis_um(image, axis) for axis in "yx")
    known = not np.isnan(size_y + size_x)
    return PlaneIdentity(
        FieldAddress.from_path(str(image.attrs.get("address", ""))),
        number("t"),
        channel,
        number("z"),
        (size_y, size_x) if known else None,
        (origin_y, origin_x) if known else (0.0, 0.0),
        int(image.attrs.get("acquisition", 0)),
        *_depth_um(image),
    )


def _depth_um(image: xr.DataArray) -> tuple[float | None, float]:
    """Return step and origin of z in micrometres, by its coordinates."""
    places = image.coords.get("z")
    units = places.attrs.get("units") if places is not None else None
    if places is None or places.ndim != 1 or places.size < 2:
        return None, 0.0
    if units not in MICROMETRES:
        return None, 0.0
    origin = float(places[0])
    return (float(places[-1]) - origin) / (places.size - 1), origin


def _axis_um(image: xr.DataArray, axis: str) -> tuple[float, float]:
    """Return step and origin of an axis in micrometres; a step of NaN: unknown.

    Coordinates are micrometres where they say so, or the image has a pixel size; whole
    numbers count pixels.
    """
    sizes = image.attrs.get("pixel_size_um")
    stated = float(sizes["yx".index(axis)]) if sizes is not None else np.nan
    places = image.coords.get(axis)
    units = places.attrs.get("units") if places is not None else None
    if places is None or (sizes is None and units not in MICROMETRES):
        return stated, 0.0
    of_pixels = stated if places.dtype.kind in "ui" and units is None else 1.0
    origin = float(places[0]) * of_pixels
    if places.size < 2:
        return stated, origin
    step = (float(places[-1]) * of_pixels - origin) / (places.size - 1)
    # The stated number where the steps are it: the same bits as without coordinates.
    return stated if np.isclose(step, stated, rtol=1e-9) else step, origin


def pixel_size_of(spots: pd.DataFrame) -> tuple[float, float] | None:
    """Return the pixel size by the places of spots in pixels and in micrometres.

    It is None where these do not tell: without micrometres, or with one place only.
    """
    sizes = []
    for axis in "yx":
        known = spots[spots[f"{axis}_um"].notna()]
        pixels, um = known[axis].to_numpy(), known[f"{axis}_um"].to_numpy()
        if len(np.unique(pixels)) < 2:
            return None
        ends = [pixels.argmin(), pixels.argmax()]
        sizes.append(float(np.diff(um[ends])[0] / np.diff(pixels[ends])[0]))
    return sizes[0], sizes[1]


def z_step_of(spots: pd.DataFrame) -> float | None:
    """Return the distance of planes by the places of spots, as `pixel_size_of` does."""
    known = spots[spots["z_um"].notna()]
    planes, um = known["z"].to_numpy(), known["z_um"].to_numpy()
    if len(np.unique(planes)) < 2:
        return None
    ends = [planes.argmin(), planes.argmax()]
    return float(np.diff(um[ends])[0] / np.diff(planes[ends])[0])


def check_places(spots: pd.DataFrame, labels: Iterable[xr.DataArray]) -> None:
    """Raise FieldError if spots are not where the labels' coordinates say."""
    for image in labels:
        grid = plane_identity(image, {})
        sizes = dict(zip("yx", grid.pixel_size_um or (), strict=False))
        begins = dict(zip("yx", grid.origin_um, strict=True))
        if "z" in image.dims and grid.z_step_um is not None:
            sizes["z"], begins["z"] = grid.z_step_um, grid.z_origin_um
        for axis, size in sizes.items():
            begin = begins[axis]
            off = (spots[f"{axis}_um"] - begin) / size - spots[axis]
            if (off.abs() > OFF_GRID).any():
                raise FieldError(
                    f"along {axis}, spots are up to {off.abs().max():.2f} pixels off "
                    "the labels, by the coordinates of both; give labels of the image "
                    "that the spots come from, cut out alike"
                )


def plane_columns(plane: PlaneIdentity) -> dict[str, Any]:
    """Return the values of `vocabulary.PLANE` that every row of a plane has."""
    return {
        "row": plane.address.row,
        "column": plane.address.column,
        "field": plane.address.field,
        "acquisition": plane.acquisition,
        "t": plane.t,
        "channel": plane.channel,
        "z": plane.z,
    }


def identify(
    table: pd.DataFrame, plane: PlaneIdentity, columns: Sequence[Column]
) -> pd.DataFrame:
    """Return `table` with the plane's columns and those in micrometres filled in."""
    if table.empty:
        return empty_table(tuple(columns))
    size_y, size_x = plane.pixel_size_um or (np.nan, np.nan)
    values = {str(name): table[name].to_numpy() for name in table}
    depth = values.pop("z", None)
    for name, value in plane_columns(plane).items():
        same = np.empty(len(table), object if isinstance(value, str) else np.int64)
        same[:] = value
        values[name] = same
    if "y" in values:
        values["plane"], values["z_um"] = values["z"], np.full(len(table), np.nan)
        if depth is None:
            values["z"] = values["z"].astype(np.float64)
        else:
            step = np.nan if plane.z_step_um is None else plane.z_step_um
            values["z"], values["z_um"] = depth, depth * step + plane.z_origin_um
        values["y_um"] = values["y"] * size_y + plane.origin_um[0]
        values["x_um"] = values["x"] * size_x + plane.origin_um[1]
    if "area" in values and "area_um2" not in values:  # of voxels it is no area
        values["area_um2"] = values["area"] * size_y * size_x
    for name in ("nucleus_distance", "edge_distance"):
        if name in values:  # in pixels as if they were square
            values[f"{name}_um"] = values[name] * np.sqrt(size_y * size_x)
    return table_of(values, tuple(columns))


def in_reading_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows from top to bottom, then from left to right.

    Spots that were refined to one place go by their other numbers, or they would
    stand in the order of blocks.
    """
    if table.empty:
        return table.reset_index(drop=True)
    order = ("z", "y", "x", "enhanced", "intensity", "area")
    keys = [table[name].to_numpy() for name in reversed(order) if name in table]
    return table.take(np.lexsort(keys)).reset_index(drop=True)


def gather_tables(
    planes: Sequence[tuple[Any, PlaneIdentity]],
    make: Callable[[Any, PlaneIdentity], pd.DataFrame],
    columns: tuple[Column, ...],
) -> Any:
    """Return the table of all planes, lazy when the first plane's answers are.

    Parameters
    ----------
    planes
        Answers of each plane and its identity.
    make
        Turns them into the plane's table.
    columns
        The table's columns.
    """
    from dask.delayed import Delayed

    if isinstance(planes[0][0], Delayed):
        from dask.delayed import delayed

        call = delayed(make, pure=False)
        return lazy_table([call(*plane) for plane in planes], columns)
    return join_tables((make(*plane) for plane in planes), columns)


def lazy_table(parts: Sequence[Any], columns: tuple[Column, ...]) -> Any:
    """Return a Dask DataFrame of delayed tables, one partition each."""
    import dask
    import dask.dataframe as dd

    # Dask would turn the lists of bins into strings.
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed(parts, meta=empty_table(columns), verify_meta=False)


def delayed_table(table: Any) -> Any:
    """Return a table, or a delayed one as a whole, whatever it was split into."""
    if isinstance(table, pd.DataFrame):
        return table
    from dask.delayed import delayed

    return delayed(_concatenate, pure=False)(table.to_delayed())


def _concatenate(parts: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(parts, ignore_index=True)
