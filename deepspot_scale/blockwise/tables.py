"""From the answers of planes to one table: who each row belongs to, in which units.

The image's own labels (address, channel, time, plane, pixel size) come in and become
columns. Nothing here knows what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.vocabulary import Column, FieldAddress, as_table, empty_table


@dataclass(frozen=True)
class PlaneIdentity:
    """What every row of one plane's table has in common."""

    address: FieldAddress = FieldAddress("", "", "")
    """The field."""
    t: int = 0
    """Time point."""
    channel: str = ""
    """Channel name."""
    z: int = 0
    """Plane, or `vocabulary.PROJECTED`."""
    pixel_size_um: tuple[float, float] | None = None
    """(y, x) micrometres; None when unknown."""


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
        value = here.coords.get(axis)
        whole = value is not None and value.ndim == 0 and value.dtype.kind in "ui"
        return int(value) if whole and value is not None else 0

    named = here.coords.get("c")
    channel = str(named.item()) if named is not None else str(index.get("c", ""))
    size = image.attrs.get("pixel_size_um")
    return PlaneIdentity(
        FieldAddress.from_path(str(image.attrs.get("address", ""))),
        number("t"),
        channel,
        number("z"),
        (float(size[0]), float(size[1])) if size is not None else None,
    )


def identify(
    table: pd.DataFrame, plane: PlaneIdentity, columns: Sequence[Column]
) -> pd.DataFrame:
    """Return `table` with the plane's columns and those in micrometres filled in."""
    if table.empty:
        return empty_table(tuple(columns))
    size_y, size_x = plane.pixel_size_um or (np.nan, np.nan)
    known: dict[str, Any] = {
        "row": plane.address.row,
        "column": plane.address.column,
        "field": plane.address.field,
        "t": plane.t,
        "channel": plane.channel,
        "z": plane.z,
    }
    if "y" in table:
        known |= {"y_um": table["y"] * size_y, "x_um": table["x"] * size_x}
    if "area" in table:
        known["area_um2"] = table["area"] * size_y * size_x
    return as_table(table.assign(**known), tuple(columns))


def in_reading_order(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows from top to bottom, then from left to right.

    Spots that were refined to one place go by their other numbers, or they would
    stand in the order of blocks.
    """
    if table.empty:
        return table.reset_index(drop=True)
    order = ("y", "x", "enhanced", "intensity", "area")
    keys = [table[name].to_numpy() for name in reversed(order)]
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
    tables = [make(answers, identity) for answers, identity in planes]
    kept = [table for table in tables if len(table)]
    if not kept:
        return empty_table(columns)
    return pd.concat(kept, ignore_index=True)


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
