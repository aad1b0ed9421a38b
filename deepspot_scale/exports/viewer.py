"""The viewer: one field of a run in napari, its image, labels and spots laid out.

A run folder and a field come in; napari layers go out, as plain (data, metadata,
kind) tuples that are built without napari, or a window that shows them. Pixels are
Dask arrays and read as they are looked at. Nothing here alters a value.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.errors import InputWarning, SettingsError
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.pixels import lazy_image, lazy_labels
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.stores import Source
from deepspot_scale.plugins import install_line
from deepspot_scale.runs.changed_fields import check_unchanged
from deepspot_scale.runs.kept_layers import open_layer
from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults, open_run
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
    kept them, labels of cells and nuclei, stored or made by the run, spots of each
    channel. All have the same axes: t and z where the run kept several, y, x, in
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
    chosen = results.settings.channels
    axes = [str(axis) for axis in image.dims if axis != "c"]
    scale = tuple(opened.image.spacing_um.get(axis, 1.0) for axis in axes)
    layers = []
    for number, name in enumerate(opened.channels):
        visible = name in chosen or str(number) in chosen
        layers.append(_image_layer(image.isel(c=number), name, scale, visible=visible))
    layers += _enhanced_layers(results, found.address, scale)
    for name in label_names(results).values():
        if name in opened.label_names:
            labels = lazy_labels(opened, name, image).data
            given = {"name": name, "scale": scale, "opacity": 0.3}
            layers.append((labels, given, "labels"))
    return [*layers, *_spot_layers(found["spots"], axes, scale)]


def _image_layer(
    image: xr.DataArray, name: str, scale: tuple[float, ...], **given: Any
) -> Layer:
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
        _image_layer(image.isel(c=number), f"{name}, enhanced", scale, **limits)
        for number, name in enumerate(field.channels)
    ]


def _spot_layers(
    spots: pd.DataFrame, axes: list[str], scale: tuple[float, ...]
) -> list[Layer]:
    layers: list[Layer] = []
    measures = [*_MEASURES, *(name for name in _JUDGED if name in spots)]
    for channel, rows in spots.groupby("channel", sort=False):
        look = {
            "name": f"{channel}, spots",
            "scale": scale,
            "size": _SPOT_SIZE,
            "symbol": "ring",
            "face_color": "orange",
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
