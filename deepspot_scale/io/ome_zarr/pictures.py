"""Writes one picture as an OME-Zarr image outside a plate, with its pyramid.

Numbers and the size of their pixels come in; a group of version 0.5 goes out, whose
finest level is the picture. It can lie over a camera's image: the place of its first
pixel is in the metadata. Nothing here knows what is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.io.ome_zarr import metadata, metadata_blocks, pyramid
from deepspot_scale.io.ome_zarr.layout import ImageLayout, listing_of
from deepspot_scale.io.ome_zarr.metadata import ImageListing, Level
from deepspot_scale.io.stores import Source, is_url, join, open_node, source_text

_SMALLEST: Final = 256
"""Pixels of the coarsest level, at most."""
_BRIGHT: Final = 0.995
"""Share of the lit pixels at or below the end of the display window."""


@dataclass(frozen=True)
class PicturePixels:
    """Where the pixels of a picture lie in the sample."""

    size_nm: float
    """Side of a pixel."""
    camera_nm: float | None = None
    """Side of the camera's pixels, if picture and camera image begin at the same outer
    corner: the centre of the camera's first pixel then has the coordinate 0. None: that
    of the picture has."""

    @property
    def first_um(self) -> float:
        """Coordinate of the centre of the first pixel, micrometres."""
        return 0.0 if self.camera_nm is None else (self.size_nm - self.camera_nm) / 2000


def write_picture(
    target: Source,
    picture: NDArray[Any],
    pixels: PicturePixels,
    *,
    name: str = "rendered",
    about: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a picture (y, x) of integers or floats.

    The metadata come last: a write that was killed leaves no valid image.

    Parameters
    ----------
    target
        Folder or fsspec URL of the new image.
    picture
        (y, x). Levels are means of 2 x 2 pixels.
    pixels
        Their size and place.
    name
        Of the image and its channel.
    about
        Further attributes of the group, beside those of OME.
    overwrite
        Replace an image that is there; anything else is never deleted.

    Raises
    ------
    SettingsError
        There is something at the target that may not be replaced, the picture is no
        plane, or the size of pixels is not above 0.
    """
    source = source_text(target)
    _check(source, picture, pixels, overwrite=overwrite)
    size = pixels.size_nm / 1000
    n_levels = 1 + max(0, (max(picture.shape) - 1) // _SMALLEST).bit_length()
    layout = ImageLayout(
        "yx",
        picture.shape,
        picture.dtype,
        channels=(name,),
        pixel_size_um=(size, size),
        n_levels=n_levels,
    )
    listing = _placed(listing_of(layout), size, pixels.first_um)
    pyramid.create_arrays(source, layout, {}, "0.5")
    pyramid.open_array(join(source, "0"))[...] = picture
    pyramid.fill_levels(source, listing, pyramid.halve_by_mean)
    block = metadata_blocks.multiscales_block(listing, name, "0.5")
    block |= _shown(name, picture)
    attributes = {**dict(about or {}), **metadata.wrap_block(block, "0.5")}
    zarr.open_group(source, mode="r+").attrs.put(attributes)


def _placed(listing: ImageListing, size: float, first: float) -> ImageListing:
    """Return the listing with the place of each level's first pixel."""
    levels: list[Level] = []
    for i, level in enumerate(listing.levels):
        # A coarse pixel's centre is amid its finer ones.
        at = first + (2**i - 1) * size / 2
        levels.append(replace(level, translation=(at, at)))
    return replace(listing, levels=tuple(levels))


def _shown(name: str, picture: NDArray[Any]) -> dict[str, Any]:
    """Return display metadata: most pictures of molecules are nearly black."""
    block = metadata_blocks.omero_block([name], picture.dtype)
    lit = picture[picture > 0]
    end = float(np.quantile(lit, _BRIGHT)) if lit.size else 1.0
    high = float(lit.max()) if lit.size else 1.0
    window = {"min": 0.0, "max": max(high, end), "start": 0.0, "end": end}
    block["omero"]["channels"][0]["window"] = window
    return block


def _check(
    source: str, picture: NDArray[Any], pixels: PicturePixels, *, overwrite: bool
) -> None:
    sizes = [pixels.size_nm]
    if pixels.camera_nm is not None:
        sizes.append(pixels.camera_nm)
    if picture.ndim != 2 or not all(0 < size < np.inf for size in sizes):
        raise SettingsError(
            "expected a picture (y, x) and pixels above 0 nm, got the shape "
            f"{picture.shape} and {sizes}"
        )
    if not is_url(source) and not os.path.lexists(source):
        return
    try:
        is_image = "multiscales" in metadata.read_block(open_node(source))
    except FileNotFoundError:
        if is_url(source) or (os.path.isdir(source) and not os.listdir(source)):
            return
        is_image = False
    except Exception:  # zarr raises many kinds on damaged metadata
        is_image = False
    if not (overwrite and is_image):
        raise SettingsError(
            f"{source} exists{'' if is_image else ' and is no image'}; choose another "
            f"place{' or ask to overwrite it' if is_image else ''}"
        )
