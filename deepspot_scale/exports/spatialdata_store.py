"""SpatialData: spots as points, cells and nuclei as labels, measures as tables.

A run comes in; one ``.zarr`` folder goes out, written one element at a time, labels
chunk by chunk. Each field is a separate coordinate system, in micrometres if the pixel
size is known, otherwise in pixels. SpatialData's origin is the corner of the first
pixel, the run's is its centre: half a pixel is added.
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


def write_spatialdata(results: RunResults, path: Path, *, images: bool = False) -> None:
    """Write a SpatialData store.

    For the field ``B/03/0`` there are points ``B_03_0_spots`` (if it has spots),
    labels ``B_03_0_cells`` and ``B_03_0_nuclei``, named by the run's labels, and the
    coordinate system ``B_03_0``; with several time points ``B_03_0_t0_spots`` and so
    on. The table ``cells_CHANNEL`` annotates the labels of the cells. ``attrs`` has
    settings, provenance and the fields that failed. Without cells only points are
    written; images, with projected stacks, only on request.

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
        field = results.plate.open(found.address.path)
        for t in range(field.n_t):
            name = names[found.address.path] + (f"_t{t}" if field.n_t > 1 else "")
            frame = _Frame(name, field, t)
            cells.append(_write_frame(data, frame, found, results, images=images))
    if results.settings.cells is not None and cells:
        _write_tables(data, pd.concat(cells, ignore_index=True), results)
    data.write_consolidated_metadata()


def _write_frame(
    data: Any, frame: _Frame, found: FieldResult, results: RunResults, *, images: bool
) -> pd.DataFrame:
    """Write the elements of one frame; return its cells, each with its region."""
    spots = found["spots"][found["spots"]["t"] == frame.t]
    if len(spots):
        _write(data, "points", f"{frame.name}_spots", _points(spots, frame))
    project = results.settings.project  # images of SpatialData are 2D
    image = lazy_image(frame.field, "max" if project == "none" else project)
    if images:
        given = {"dims": ("c", "y", "x"), "c_coords": list(frame.field.channels)}
        element = _raster("Image2DModel", image, frame, **given)
        _write(data, "images", f"{frame.name}_image", element)
    regions = {}
    for label in filter(None, (results.settings.cells, results.settings.nuclei)):
        (plain,) = safe_names([label]).values()
        regions[label] = f"{frame.name}_{plain}"
        labels = lazy_labels(frame.field, label, image)
        element = _raster("Labels2DModel", labels, frame, dims=("y", "x"))
        _write(data, "labels", regions[label], element)
    wells = results.plate_map, results.index.sectors
    cells = measure_cells(found["cells"][found["cells"]["t"] == frame.t], *wells)
    return cells.assign(region=regions.get(results.settings.cells or ""))


def _write(data: Any, kind: str, name: str, element: Any) -> None:
    elements = getattr(data, kind)
    elements[name] = element
    data.write_element(name)
    if kind != "labels":  # tables refer to labels, which are lazy
        del elements[name]


def _placed(frame: _Frame) -> dict[str, Any]:
    """Return the transformation from pixels to the frame's coordinates."""
    transformations = load_library("spatialdata.transformations", EXTRA)
    size = frame.field.pixel_size_um
    if size is None:
        return {frame.name: transformations.Identity()}
    return {frame.name: transformations.Scale(list(size), axes=("y", "x"))}


def _points(spots: pd.DataFrame, frame: _Frame) -> Any:
    models = load_library("spatialdata.models", EXTRA)
    table = spots.drop(columns=_DROPPED).rename(columns={"z": "depth"})
    table = table.assign(
        y=spots["y"] + 0.5,
        x=spots["x"] + 0.5,
        channel=spots["channel"].astype("category"),
    )
    return models.PointsModel.parse(
        table.reset_index(drop=True),
        coordinates={"x": "x", "y": "y"},
        feature_key="channel",
        transformations=_placed(frame),
    )


def _raster(model: str, pixels: xr.DataArray, frame: _Frame, **given: Any) -> Any:
    """Return a frame's image or labels, in chunks of one size as the store needs."""
    own = pixels.isel(t=frame.t) if "t" in pixels.dims else pixels
    n_halved = max(0, math.ceil(math.log2(max(frame.field.shape_yx) / _CHUNK)))
    return getattr(load_library("spatialdata.models", EXTRA), model).parse(
        own.data.rechunk({-2: _CHUNK, -1: _CHUNK}),
        scale_factors=[2] * n_halved or None,
        transformations=_placed(frame),
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
