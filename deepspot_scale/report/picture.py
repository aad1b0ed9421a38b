"""One field of a run as a picture: image, spots and cells in, SVG text out.

Reads one window of one plane, so that the page stays small whatever the field's size.
Nothing here knows the rest of the report.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.io.field import Field
from deepspot_scale.report.figures import overlay_svg
from deepspot_scale.settings import Settings, read_settings
from deepspot_scale.vocabulary import (
    DONE,
    PROJECTED,
    SPOTS,
    FieldAddress,
    empty_table,
)

_EDGE: Final = 1024
"""Largest edge of the picture in pixels; with more, spots could not be seen."""


class _Plane(NamedTuple):
    t: int
    channel: str
    z: int


def typical_field(fields: pd.DataFrame) -> FieldAddress | None:
    """Return the done field with the middle number of spots: typical, not the best.

    None when no field is done.
    """
    done = fields[fields["status"] == DONE]
    if done.empty:
        return None
    order = done.sort_values(["n_spots", "row", "column", "field"])
    line = order.iloc[len(order) // 2]
    return FieldAddress(line["row"], line["column"], line["field"])


def draw_field(folder: Path, field: Field) -> str:
    """Return a figure of a field as HTML: its image, ringed spots, outlined cells.

    Parameters
    ----------
    folder
        The run's folder, with settings.toml and spots/.
    field
        The open field.

    Raises
    ------
    FieldError
        The image can not be read.
    """
    settings = _read_settings(folder)
    spots = _spots_of(folder, field.address)
    plane = _first_plane(spots, field, settings)
    on_plane = (spots[list(plane._fields)] == pd.Series(plane._asdict())).all(axis=1)
    points = spots.loc[on_plane, ["y", "x"]].to_numpy(np.float64)
    window = _window(points, field.shape_yx)
    corner = np.array([part.start for part in window])
    points = points - corner
    size = np.array([part.stop for part in window]) - corner
    points = points[((points >= -0.5) & (points < size - 0.5)).all(axis=1)]
    svg = overlay_svg(
        _read_image(field, plane, settings, window),
        points,
        _read_cells(field, plane, settings, window),
    )
    rows, columns = (f"{part.start} to {part.stop - 1}" for part in window)
    caption = (
        f"{escape(plane.channel)}, rows {rows}, columns {columns}, {len(points):,} "
        "spots. The field with the middle number of spots was chosen; grey values run "
        "from the 1st to the 99.8th percentile."
    )
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _read_settings(folder: Path) -> Settings | None:
    path = folder / "settings.toml"
    return read_settings(path.read_text("utf-8")) if path.is_file() else None


def _spots_of(folder: Path, address: FieldAddress) -> pd.DataFrame:
    parts = folder / "spots"
    if not any(parts.glob("*.parquet")):
        return empty_table(SPOTS)
    names = ("row", "column", "field")
    return pd.read_parquet(
        parts, filters=[(name, "==", getattr(address, name)) for name in names]
    )


def _first_plane(
    spots: pd.DataFrame, field: Field, settings: Settings | None
) -> _Plane:
    """Return the plane with the most spots in the first channel."""
    if spots.empty:
        channel = settings.channels[0] if settings else field.channels[0]
        return _Plane(0, channel, PROJECTED)
    channels = list(dict.fromkeys(spots["channel"]))
    of_channel = spots[spots["channel"] == channels[0]]
    t, z = of_channel.groupby(["t", "z"]).size().idxmax()
    return _Plane(int(t), channels[0], int(z))


def _window(points: NDArray[np.float64], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return a window about the median spot, or the middle, inside the field."""
    middle = np.median(points, axis=0) if len(points) else np.array(shape) / 2
    starts = (
        int(np.clip(centre - _EDGE / 2, 0, max(0, size - _EDGE)))
        for centre, size in zip(middle, shape, strict=True)
    )
    rows, columns = (
        slice(start, min(start + _EDGE, size))
        for start, size in zip(starts, shape, strict=True)
    )
    return rows, columns


def _read_image(
    field: Field,
    plane: _Plane,
    settings: Settings | None,
    window: tuple[slice, slice],
) -> NDArray[Any]:
    mean = settings is not None and settings.project == "mean"
    return field.read(
        t=plane.t,
        channel=field.channel_index(plane.channel),
        z=plane.z if plane.z != PROJECTED else "mean" if mean else "max",
        window=window,
    )


def _read_cells(
    field: Field,
    plane: _Plane,
    settings: Settings | None,
    window: tuple[slice, slice],
) -> NDArray[Any] | None:
    if settings is None or settings.cells is None:
        return None
    return field.read_labels(settings.cells, t=plane.t, window=window)
