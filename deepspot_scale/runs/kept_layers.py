"""Layers that a run keeps: one OME-Zarr plate for each, beside the tables.

A layer of labels is a plate of whole numbers. Nothing here knows how a layer was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import Layer
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.execution.planes import FieldTask, PlaneResult
from deepspot_scale.io.ome_zarr import creation
from deepspot_scale.io.ome_zarr.creation import plate_address
from deepspot_scale.io.ome_zarr.writing import ImageLayout, write_image
from deepspot_scale.io.plate import Field, FieldEntry, open_field
from deepspot_scale.io.tables import Folder
from deepspot_scale.vocabulary import AXES, FieldAddress

_CHUNK = 1024
"""Pixels along an edge of a stored chunk: a field is written whole, in few files."""


def plate_name(folder: str) -> str:
    """Return the name of a layer's plate in a run folder."""
    return f"{folder}.zarr"


def plate_url(out: Folder, folder: str) -> str:
    """Return the path or URL of a layer's plate."""
    if out.is_local:  # workers may have another working folder
        return str(out.local_path / plate_name(folder))
    return f"{out.url.rstrip('/')}/{plate_name(folder)}"


def create_plates(
    out: Folder, layers: Sequence[Layer], addresses: Sequence[FieldAddress]
) -> None:
    """Write the metadata of each plate, or the missing part, before any field."""
    for layer in layers:
        begun = out.exists(f"{plate_name(layer.stored_name)}/zarr.json")
        make = creation.complete_plate if begun else creation.create_plate
        url = plate_url(out, layer.stored_name)
        make(url, [plate_address(each) for each in addresses])


def open_layer(out: Folder, folder: str, address: FieldAddress) -> Field | None:
    """Open a field's layer; None if the run did not keep it."""
    if not out.exists(plate_name(folder)):
        return None
    inner = plate_address(address)  # the plate's list of fields is long, and not needed
    return open_field(FieldEntry(inner, f"{plate_url(out, folder)}/{inner.path}"))


def write_layers(
    task: FieldTask,
    planes: list[PlaneResult],
    channels: Sequence[str],
    pipeline: Pipeline,
    out: Folder,
) -> None:
    """Write the layers of one field, axes t, c, z, y, x."""
    source = open_field(task.entry)
    names = [source.channels[source.channel_index(name)] for name in channels]
    for layer in pipeline.layers:
        image = _in_order(
            np.stack([plane.layers[layer.name] for plane in planes]),
            {"t": source.n_t, "c": len(names), "z": -1},
            pipeline.axes,
        )
        size = _pixel_size(source, Fraction(layer.scale))
        layout = ImageLayout(AXES, image.shape, image.dtype, tuple(names), size, _CHUNK)
        url = plate_url(out, layer.stored_name)
        write_image(url, plate_address(task.entry.address), image, layout)


def _in_order(planes: NDArray[Any], sizes: dict[str, int], axes: str) -> NDArray[Any]:
    """Return stacked planes as one array, axes t, c, z, y, x."""
    looped = [axis for axis in AXES[:-2] if axis not in axes]
    image = planes.reshape(*(sizes[axis] for axis in looped), *planes.shape[1:])
    order = [*looped, *axes]
    return image.transpose([order.index(axis) for axis in AXES])


def _pixel_size(source: Field, scale: Fraction) -> tuple[float, float] | None:
    size = source.pixel_size_um
    return None if size is None else (float(size[0] / scale), float(size[1] / scale))
