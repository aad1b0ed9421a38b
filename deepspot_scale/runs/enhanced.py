"""Enhanced images kept as a plate beside the tables: uint8, 255 the brightest.

Nothing here knows how they were made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepspot_scale.execution.planes import FieldTask, PlaneAnswer
from deepspot_scale.io.ome_zarr.creation import (
    complete_plate,
    create_plate,
    plate_address,
)
from deepspot_scale.io.ome_zarr.writing import ImageLayout, write_image
from deepspot_scale.io.plate import Field, open_field, open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.settings import Settings
from deepspot_scale.vocabulary import FieldAddress

NAME = "enhanced.zarr"
AXES = "tczyx"


def plate_url(out: Folder) -> str:
    """Return where the plate of enhanced images is."""
    if out.is_local:  # workers may have another working folder
        return str(out.local_path / NAME)
    return f"{out.url.rstrip('/')}/{NAME}"


def open_enhanced(out: Folder, address: FieldAddress) -> Field | None:
    """Open the enhanced image of a field; None where the run kept none."""
    if not out.exists(NAME):
        return None
    return open_plate(plate_url(out)).open(plate_address(address).path)


def create_enhanced_plate(out: Folder, addresses: Sequence[FieldAddress]) -> None:
    """Write the metadata of the plate, or what it still lacks, before any field."""
    make = complete_plate if out.exists(f"{NAME}/zarr.json") else create_plate
    make(plate_url(out), [plate_address(each) for each in addresses])


def write_enhanced(
    task: FieldTask, planes: list[PlaneAnswer], settings: Settings, out: Folder
) -> None:
    """Write the enhanced planes of one field, axes t, c, z, y, x."""
    source = open_field(task.entry)
    images = [plane.enhanced for plane in planes if plane.enhanced is not None]
    n_channels = len(settings.channels)
    shape = (source.n_t, n_channels, -1, *source.shape_yx)
    image = np.stack(images).reshape(shape)
    names = [source.channels[source.channel_index(name)] for name in settings.channels]
    layout = ImageLayout(
        AXES, image.shape, image.dtype, tuple(names), source.pixel_size_um
    )
    write_image(plate_url(out), plate_address(task.entry.address), image, layout)
