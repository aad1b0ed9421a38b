"""The viewer: one field in napari, its image, and a run's labels and spots laid out.

A run folder or a plate and a field come in; napari layers go out, as plain (data,
metadata, kind) tuples that are built without napari, or a window that shows them.
Pixels are Dask arrays and read as they are looked at. Nothing here alters a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.delayed import delayed

from deepspot_scale.errors import InputWarning, RunError, SettingsError
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.pixels import Projection, lazy_image, lazy_labels
from deepspot_scale.exports.sector_labels import NAME as SECTORS
from deepspot_scale.exports.sector_labels import check_flat, draw_field
from deepspot_scale.io.field import Field
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.io.stores import Source
from deepspot_scale.plugins import install_line
from deepspot_scale.runs.changed_fields import check_unchanged
from deepspot_scale.runs.kept_layers import open_layer
from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import FieldResult, RunResults, open_run
from deepspot_scale.stages.enhancement import KEPT
from deepspot_scale.vocabulary import FieldAddress

ENHANCED = KEPT.stored_name
"""Plate of the enhanced images in a run folder."""

Layer = tuple[Any, dict[str, Any], str]
"""napari's LayerData: data, keyword arguments of the layer, kind of the layer."""
_SPOT_SIZE = 7
"""Diameter of a ring about a spot, in pixels; the spot inside stays visible."""
_MEASURES = ["enhanced", "intensity", "snr", "area", "cell", "nucleus"]
_JUDGED = ["probability", "molecules", "site"]
"""Measures that earlier runs do not have."""


def field_layers(
    run: Source, field: str, *, plate: Source | Plate | None = None
) -> list[Layer]:
    """Return one field as napari layers.

    Images of all channels (shown: those of the run), enhanced images where the run
    kept them, labels of cells and nuclei, stored or made by the run, the sectors that
    the run counted in (not shown at first; flat cells only), spots of each channel.
    All have the same axes: t and z where the run kept several, y, x, in
    micrometres where the pixel size is known. A field that failed has no spots.

    Parameters
    ----------
    run
        Run folder, or its fsspec URL.
    field
        Path such as ``B/03/0``.
    plate
        The run's input, or where it is now, if it was moved.

    Returns
    -------
    list
        (data, metadata, kind), as ``napari.layers.Layer.create`` takes them.

    Raises
    ------
    RunError
        There is no finished run, or the field has changed since.
    SettingsError
        The run has no such field, or `field` means several.
    PlateError, FieldError
        The run's input is not where it was, or is damaged.
    """
    results = open_run(run, plate=plate).only([field])
    addresses = addresses_of(results.fields)
    if len(addresses) > 1:
        paths = ", ".join(address.path for address in addresses)
        raise SettingsError(f"{field} has the fields {paths}; name one of them")
    note = check_unchanged(results, results.plate)
    if note:
        warnings.warn(note, InputWarning, stacklevel=2)
    found = results.of_field(addresses[0])
    opened = with_made(results, results.plate.open(found.address.path))
    image = lazy_image(opened, results.settings.projection)
    axes, scale = axes_of(opened, image)
    return [
        *_channel_layers(opened, image, results.settings.channels),
        *_enhanced_layers(results, found.address, scale),
        *_label_layers(opened, image, label_names(results).values()),
        *_sector_layers(results, opened, found, image),
        *spot_layers(found["spots"], axes, scale),
    ]


def plate_layers(
    plate: Source | Plate, field: str, *, project: Projection = "max"
) -> list[Layer]:
    """Return one field of a plate as napari layers: its channels and all its labels.

    Parameters
    ----------
    plate
        A plate, an image or a folder of images, as `open_plate` takes it.
    field
        Path such as ``B/03/0``.
    project
        How the planes of a z-stack become one; none: they are kept.

    Returns
    -------
    list
        As `field_layers`; the first channel is shown.

    Raises
    ------
    PlateError, FieldError
        There is no plate or no such field, or it is damaged.
    """
    opened = (plate if isinstance(plate, Plate) else open_plate(plate)).open(field)
    image = lazy_image(opened, project)
    return [
        *_channel_layers(opened, image, opened.channels[:1]),
        *_label_layers(opened, image, opened.label_names),
    ]


def axes_of(field: Field, image: xr.DataArray) -> tuple[list[str], tuple[float, ...]]:
    """Return the axes of a field's layers, and the size of a pixel along each.

    It is in micrometres, 1 where it is not known.
    """
    axes = [str(axis) for axis in image.dims if axis != "c"]
    return axes, tuple(field.image.spacing_um.get(axis, 1.0) for axis in axes)


def _channel_layers(
    field: Field, image: xr.DataArray, shown: Sequence[str]
) -> list[Layer]:
    _, scale = axes_of(field, image)
    return [
        image_layer(
            image.isel(c=number),
            name,
            scale,
            visible=name in shown or str(number) in shown,
        )
        for number, name in enumerate(field.channels)
    ]


def _label_layers(
    field: Field, image: xr.DataArray, names: Iterable[str]
) -> list[Layer]:
    _, scale = axes_of(field, image)
    given = {"scale": scale, "opacity": 0.3}
    return [
        (lazy_labels(field, name, image).data, {"name": name, **given}, "labels")
        for name in names
        if name in field.label_names
    ]


def _sector_layers(
    results: RunResults, field: Field, found: FieldResult, image: xr.DataArray
) -> list[Layer]:
    """Return the sectors, drawn when they are first looked at; none without cells."""
    name = label_names(results).get("cells")
    if name not in field.label_names or found["cells"].empty:
        return []
    try:
        check_flat(field, found, results)
    except RunError:  # label volumes have no flat sectors to show
        return []
    shape = (field.n_t, *field.shape_yx)
    drawn = delayed(draw_field, pure=False)(field, found["cells"], results)
    sectors = xr.DataArray(da.from_delayed(drawn, shape, np.uint8), dims=("t", *"yx"))
    axes, scale = axes_of(field, image)
    if "t" not in axes:
        sectors = sectors.isel(t=0)
    if "z" in axes:
        sectors = sectors.expand_dims(z=image.sizes["z"])
    given = {"name": SECTORS, "scale": scale, "opacity": 0.3, "visible": False}
    return [(sectors.transpose(*axes).data, given, "labels")]


def image_layer(
    image: xr.DataArray, name: str, scale: tuple[float, ...], **given: Any
) -> Layer:
    """Return an image as a gray layer; `given` are more of napari's arguments."""
    look = {"name": name, "scale": scale, "colormap": "gray", "blending": "additive"}
    return image.data, look | given, "image"


def _enhanced_layers(
    results: RunResults, address: FieldAddress, scale: tuple[float, ...]
) -> list[Layer]:
    field = (
        None if results.done.empty else open_layer(results.folder, ENHANCED, address)
    )
    if field is None:
        return []
    image = lazy_image(field, results.settings.projection)
    limits = {"contrast_limits": (0, 255), "visible": False}
    return [
        image_layer(image.isel(c=number), f"{name}, enhanced", scale, **limits)
        for number, name in enumerate(field.channels)
    ]


def spot_layers(
    spots: pd.DataFrame, axes: list[str], scale: tuple[float, ...]
) -> list[Layer]:
    """Return the spots of each channel as points, their measures as features."""
    layers: list[Layer] = []
    measures = [*_MEASURES, *(name for name in _JUDGED if name in spots)]
    for channel, rows in spots.groupby("channel", sort=False):
        look = {
            "name": f"{channel}, spots",
            "scale": scale,
            "size": _SPOT_SIZE,
            "symbol": "ring",
            "face_color": "orange",
            "border_width": 0,
            "features": rows[measures].reset_index(drop=True),
        }
        # A point before the first plane would move the steps of napari's slider off the
        # planes, and the last plane could no longer be seen.
        places = rows[axes]
        if "z" in axes:
            places = places.assign(z=places["z"].clip(lower=0.0))
        layers.append((places.to_numpy(np.float64), look, "points"))
    return layers


def view_field(run: Source, field: str, *, plate: Source | Plate | None = None) -> None:
    """Show one field in napari; returns when its window is closed.

    Parameters and errors are those of `field_layers`.

    Raises
    ------
    SettingsError
        napari is not installed, or has nothing to draw windows with.
    """
    napari = load_library("napari", "napari")
    layers = field_layers(run, field, plate=plate)
    viewer = napari.Viewer(title=f"{field} of {run}")
    for layer in layers:
        viewer.add_layer(napari.layers.Layer.create(*layer))
    try:
        napari.run()
    except ImportError as error:  # napari comes without a windowing library
        reason = str(error).split("\n", maxsplit=1)[0]
        raise SettingsError(
            f"napari cannot open a window: {reason} Run: {install_line('napari')}"
        ) from error
