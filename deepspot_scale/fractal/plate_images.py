"""The plate around an image: a URL of an image comes in, plate and path in it go out.

Fractal names images, while references and addresses are those of a plate. Nothing here
reads pixels.
"""

from __future__ import annotations

import os

import zarr

from deepspot_scale.errors import PlateError
from deepspot_scale.io.ome_zarr.metadata import read_block
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.io.stores import Source, is_url, open_node, source_text


def open_image(source: Source) -> tuple[Plate, str]:
    """Return the plate that an OME-Zarr image is in, and the image's path in it.

    An image outside of plates is opened as a plate of its own.

    Raises
    ------
    PlateError
        There is no image, or the plate around it does not list it.
    """
    text = source_text(source).rstrip("/")
    image = text if is_url(text) else os.path.abspath(text)
    base, *path = image.rsplit("/", 3)
    if len(path) < 3 or not _is_plate(base):
        plate = open_plate(image)
        return plate, next(iter(plate))
    plate = open_plate(base)
    inner = "/".join(path)
    if inner not in plate:
        raise PlateError(
            f"the plate {base} does not list the image {inner}; give the zarr_url of "
            "one that it lists"
        )
    return plate, inner


def _is_plate(source: str) -> bool:
    try:
        node = open_node(source)
    except FileNotFoundError:
        return False
    return isinstance(node, zarr.Group) and "plate" in read_block(node)
