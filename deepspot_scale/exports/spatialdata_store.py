"""SpatialData: spots as points, cells and nuclei as labels, measures as tables.

A run comes in; one ``.zarr`` folder goes out, written one element at a time, labels
chunk by chunk. Each field is a separate coordinate system, in micrometres if the pixel
size is known, otherwise in pixels. Spots, images and labels of a run on volumes keep
their depth. SpatialData's origin is the corner of the first pixel, the run's is its
centre: half a pixel, and half a plane, is added.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xarray as xr

from deepspot_scale.errors import SettingsError
from deepspot_scale.exports.anndata_file import make_anndata
from deepspot_scale.exports.libraries import anndata_defaults, load_library
from deepspot_scale.exports.measures import measure_cells
from deepspot_scale.exports.pixels import lazy_image, lazy_labels
from deepspot_scale.exports.targets import safe_names
from deepspot_scale.io.field import Field
from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import FieldResult, RunResults
from deepspot_scale.settings import write_settings

SIGN = ("zarr.json", "spatialdata_attrs")
"""A file, and a text in it, that identify an earlier export."""
EXTRA = "spatialdata"
_CHUNK = 1024
"""Edge of a stored chunk in pixels; levels end once the image fits into one."""
_DROPPED = ["row", "column", "field", "acquisition", "t"]
"""Columns of spots that are redundant with the element's name."""


class _Frame(NamedTuple):
    """One time point of one field: a coordinate system."""

    name: str
    field: Field
    t: int
    in_volume: bool


def write_spatialdata(results: RunResults, path: Path, *, images: bool = False) -> None:
    """Write a SpatialData store.

    For the field ``B/03/0`` there are points ``B_03_0_spots`` (if it has spots),
    labels ``B_03_0_cells`` and ``B_03_0_nuclei``, named by the run's labels, and the
    coordinate system ``B_03_0``; with several time points ``B_03_0_t0_spots`` and so
    on. The table ``cells_CHANNEL`` annotates the labels of the cells. ``attrs`` has
    settings, provenance and the fields that failed. Without cells only points are
    written; images only on request. Stacks are projected; in a run on volumes they
    are kept, points have z, and labels have it where they are stored with several
    planes.

    Raises SettingsError if the suffix is not ``.zarr``, or spatialdata is not
    installed.
    """
    if path.suffix != ".zarr":
        raise SettingsError(f"expected a folder name ending in .zarr, got {path.name}")
    failed = zip(addresses_of(results.failed), results.failed["reason"], strict=True)
    facts = {
        "settings": write_settings(results.settings),
        "provenance": json.dumps(results.provenance, indent=2),
        "failed": {address.path: reason for address, reason in failed},
    }
    spatialdata = load_library("spatialdata", EXTRA)
    data = spatialdata.SpatialData(attrs={"deepspot_scale": facts})
    data.write(path, consolidate_metadata=False)
    names = safe_names(address.path for address in addresses_of(results.done))
    cells = []
    for found in results.iter_fields():
        field = with_made(results, results.plate.open(found.address.path))
        for t in range(field.n_t):
            name = names[found.address.path] + (f"_t{t}" if field.n_t > 1 else "")
            frame = _Frame(name, field, t, results.settings.in_volume)
            cells.append(_write_frame(data, frame, found, results, images=images))
    if "cells" in label_names(results) and cells:
        _write_tables(data, pd.concat(cells, ignore_index=True), results)
    data.write_consolidated_metadata()


def _write_frame(
    data: Any, frame: _Frame, found: FieldResult, results: RunResults, *, images: bool
) -> pd.DataFrame:
    """Write the elements of one frame; return its cells, each with its region."""
    spots = found["spots"][found["spots"]["t"] == frame.t]
    if len(spots):
        _write(data, "points", f"{frame.name}_spots", _points(spots, frame))
    project = results.settings.projection
    # Planes of their own would be taken for the depth of one image.
    flat = project == "none" and not frame.in_volume
    image = lazy_image(frame.field, "max" if flat else project)
    if images:
        channels = list(frame.field.channels)
        element = _raster("Image", image, frame, c_coords=channels)
        _write(data, "images", f"{frame.name}_image", element)
    regions, names = {}, label_names(results)
    for label in names.values():
        (plain,) = safe_names([label]).values()
        regions[label] = f"{frame.name}_{plain}"
        deep = frame.field.open_labels(label).n_z > 1
        like = image if deep or "z" not in image.dims else image.isel(z=0)
        element = _raster("Labels", lazy_labels(frame.field, label, like), frame)
        _write(data, "labels", regions[label], element)
    wells = results.plate_map, results.index.sectors
    cells = measure_cells(found["cells"][found["cells"]["t"] == frame.t], *wells)
    return cells.assign(region=regions.get(names.get("cells", "")))


def _write(data: Any, kind: str, name: str, element: Any) -> None:
    elements = getattr(data, kind)
    elements[name] = element
    data.write_element(name)
    if kind != "labels":  # tables refer to labels, which are lazy
        del elements[name]


def _placed(frame: _Frame, axes: str) -> dict[str, Any]:
    """Return the transformation of these axes from pixels to the frame's coordinates.

    Planes whose distance is not known stay planes.
    """
    transformations = load_library("spatialdata.transformations", EXTRA)
    size = frame.field.pixel_size_um
    if size is None:
        return {frame.name: transformations.Identity()}
    step = frame.field.image.spacing_um.get("z", 1.0)
    known = dict(zip("zyx", (step, *size), strict=True))
    factors = [known[axis] for axis in axes]
    return {frame.name: transformations.Scale(factors, axes=tuple(axes))}


def _points(spots: pd.DataFrame, frame: _Frame) -> Any:
    models = load_library("spatialdata.models", EXTRA)
    axes = "zyx" if frame.in_volume else "yx"
    table = spots.drop(columns=_DROPPED)
    if not frame.in_volume:  # else z would be taken for the place of a point
        table = table.rename(columns={"z": "depth"})
    corners = {axis: spots[axis] + 0.5 for axis in axes}
    table = table.assign(**corners, channel=spots["channel"].astype("category"))
    return models.PointsModel.parse(
        table.reset_index(drop=True),
        coordinates={axis: axis for axis in reversed(axes)},
        feature_key="channel",
        transformations=_placed(frame, axes),
    )


def _raster(kind: str, pixels: xr.DataArray, frame: _Frame, **given: Any) -> Any:
    """Return a frame's image or labels, in chunks of one size as the store needs."""
    own = pixels.isel(t=frame.t) if "t" in pixels.dims else pixels
    dims = tuple(str(axis) for axis in own.dims)
    space = "".join(axis for axis in dims if axis != "c")
    n_halved = max(0, math.ceil(math.log2(max(frame.field.shape_yx) / _CHUNK)))
    halved = {axis: 1 if axis == "z" else 2 for axis in space}
    model = f"{kind}{len(space)}DModel"
    return getattr(load_library("spatialdata.models", EXTRA), model).parse(
        own.data.rechunk({-2: _CHUNK, -1: _CHUNK}),
        dims=dims,
        scale_factors=[halved] * n_halved or None,
        transformations=_placed(frame, space),
        **given,
    )


def _write_tables(data: Any, cells: pd.DataFrame, results: RunResults) -> None:
    """Write a table for each channel and, with separate planes, for each plane.

    Within one table each cell of a field must be unique.
    """
    models = load_library("spatialdata.models", EXTRA)
    channels = safe_names(cells["channel"].unique())
    several = ["z"] if cells["z"].nunique() > 1 else []
    for (channel, *plane), rows in cells.groupby(["channel", *several], sort=False):
        name = "_".join(["cells", channels[str(channel)], *(f"z{z}" for z in plane)])
        table = make_anndata(rows, results)
        table.obs["region"] = pd.Categorical(rows["region"])
        data.tables[name] = models.TableModel.parse(
            table,
            region=list(table.obs["region"].cat.categories),
            region_key="region",
            instance_key="cell",
        )
        with anndata_defaults():
            data.write_element(name)
        del data.tables[name]
