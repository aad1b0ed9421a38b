"""Writes OME-Zarr plates: 0.4 in Zarr v2, or 0.5 in Zarr v3 with or without shards.

Addresses, layouts and NumPy arrays come in; groups, metadata and whole chunks or
shards are written to a folder or fsspec URL. Several processes may write windows of one
image at the same time if no two share a chunk (or a shard, if there are shards).
Nothing here knows where the pixels come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from deepspot_scale.errors import DeepspotError, FieldError, PlateError, SettingsError
from deepspot_scale.io.ome_zarr import metadata, metadata_blocks, pyramid
from deepspot_scale.io.ome_zarr.creation import create_plate
from deepspot_scale.io.ome_zarr.layout import (
    ImageLayout,
    covers_evenly,
    label_layout,
    label_listing,
    listing_of,
)
from deepspot_scale.io.ome_zarr.metadata import ImageListing, Version
from deepspot_scale.io.stores import (
    Source,
    field_errors,
    is_safe_path,
    join,
    open_node,
    source_text,
)
from deepspot_scale.vocabulary import FieldAddress

__all__ = [
    "ImageLayout",
    "create_image",
    "create_plate",
    "write_image",
    "write_labels",
    "write_levels",
    "write_window",
]


def _version_at(source: str, address: FieldAddress) -> Version:
    """Check that the plate lists the field; return the plate's version."""
    try:
        node = open_node(join(source, address.row, address.column))
        fields = metadata.parse_well(node, source)
    except DeepspotError:
        raise
    except Exception as error:  # zarr raises many kinds on damaged metadata
        raise PlateError(
            f"{source} has no well {address.row}/{address.column} to write into: "
            f"{error}. Create the plate with all its addresses first."
        ) from error
    if fields is None or address.field not in dict(fields):
        raise PlateError(
            f"{source} does not list the field {address.path}. Create the plate with "
            "all its addresses first."
        )
    return "0.4" if node.metadata.zarr_format == 2 else "0.5"


def create_image(target: Source, address: FieldAddress, layout: ImageLayout) -> None:
    """Write an image's metadata and empty arrays; an existing image is deleted.

    Raises PlateError if there is no such plate or it does not list the field, and
    SettingsError if shards were asked for in a plate of version 0.4.
    """
    source = source_text(target)
    version = _version_at(source, address)
    group = join(source, address.path)
    block = _image_block(layout, address.field, version)
    pyramid.create_arrays(group, layout, block, version)


def _image_block(
    layout: ImageLayout,
    name: str,
    version: Version,
    ends: tuple[float, float] | None = None,
) -> metadata.Attributes:
    listing = listing_of(layout)
    dtype = np.dtype(layout.dtype)
    omero = metadata_blocks.omero_block(listing.channels, dtype, ends)
    return metadata_blocks.multiscales_block(listing, name, version) | omero


def write_image(
    target: Source, address: FieldAddress, image: NDArray[Any], layout: ImageLayout
) -> None:
    """Write a whole image with all its levels; an existing image is deleted.

    Raises the errors of `create_image`, and SettingsError if image and layout differ.
    """
    if image.shape != layout.shape or image.dtype != layout.dtype:
        raise SettingsError(
            f"expected an array of {layout.dtype} and shape {layout.shape}, but got "
            f"{image.dtype} and {image.shape}. Make the layout match the array."
        )
    source = source_text(target)
    version = _version_at(source, address)
    group = join(source, address.path)
    # Metadata come last, so that a killed write leaves no valid image.
    pyramid.create_arrays(group, layout, {}, version)
    pyramid.open_array(join(group, "0"))[...] = image
    pyramid.fill_levels(group, listing_of(layout), pyramid.halve_by_mean)
    ends = None
    if image.dtype.kind == "f" and image.size:
        ends = float(np.nanmin(image)), float(np.nanmax(image))
    block = _image_block(layout, address.field, version, ends)
    zarr.open_group(group, mode="r+").attrs.put(metadata.wrap_block(block, version))


def write_levels(target: Source, address: FieldAddress) -> None:
    """Fill the coarser levels of an image from its finest, piece by piece.

    For images written by `write_window`: call it once, after the last window. Each
    pixel is the mean of 2 x 2 pixels of the finer level, rounded for integers.
    """
    group = join(source_text(target), address.path)
    pyramid.fill_levels(group, _read_listing(group), pyramid.halve_by_mean)


def write_labels(
    target: Source,
    address: FieldAddress,
    name: str,
    labels: NDArray[Any],
    *,
    axes: str = "yx",
    about: metadata.Attributes | None = None,
) -> None:
    """Write labels of a field's image; labels of the same name are replaced.

    Parameters
    ----------
    target, address
        A plate, and the field with the image in it.
    name
        Name such as ``cells`` or ``nuclei``.
    labels
        Integers, 0 for background; they cover the image along y and x, at the same
        or another resolution, and so along z, with a whole number of planes for each
        of the others; or they have one plane for all.
    axes
        Axes of `labels`, without c.
    about
        What made them; kept as the attribute ``deepspot_scale``, beside OME's metadata.

    Raises
    ------
    FieldError
        The image is missing or its metadata are damaged.
    SettingsError
        Name, dtype or axes are not valid for labels, or they are of another form than
        the image.
    """
    if not (is_safe_path(name) and "/" not in name):
        raise SettingsError(f"labels need a name such as cells, not {name!r}")
    if labels.dtype.kind not in "ui" or "c" in axes or labels.ndim != len(axes):
        raise SettingsError(
            "labels must be integers with one axis for each letter of axes, without "
            f"c; got {labels.dtype}, {labels.shape} and axes {axes!r}"
        )
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise SettingsError(f"labels must be 0 or more, got {labels.min()}")
    image_group = join(source_text(target), address.path)
    version = _version_at(source_text(target), address)
    image_listing = _read_listing(image_group)
    image = _open_finest(image_group, image_listing)
    if not covers_evenly(labels.shape, image.shape):
        raise SettingsError(
            f"labels of {labels.shape[-2:]} pixels cannot cover an image of "
            f"{image.shape[-2:]} at one resolution along y and x; write labels of the "
            "whole image"
        )
    _check_planes(image_listing, image.shape, labels.shape, axes)
    layout = label_layout(image_listing, image, labels, axes)
    listing = label_listing(image_listing, image, layout)
    group = join(image_group, "labels", name)
    block = metadata_blocks.multiscales_block(listing, name, version)
    block |= metadata_blocks.label_block(version)
    # A killed write leaves labels that are not listed, also where there were others.
    _list_labels(image_group, name, version, listed=False)
    pyramid.create_arrays(group, layout, block, version, about=about)
    pyramid.open_array(join(group, "0"))[...] = labels
    pyramid.fill_levels(group, listing, pyramid.halve_by_nearest)
    _list_labels(image_group, name, version, listed=True)


def _check_planes(
    listing: ImageListing, image: tuple[int, ...], labels: tuple[int, ...], axes: str
) -> None:
    """Raise SettingsError unless the planes of labels can cover those of the image."""
    n_image = dict(zip(listing.axes, image, strict=True)).get("z", 1)
    n_labels = dict(zip(axes, labels, strict=True)).get("z", 1)
    few, many = sorted((n_image, n_labels))
    if few > 1 and many % few:
        raise SettingsError(
            f"labels of {n_labels} planes cannot cover an image of {n_image} at one "
            "resolution along z; write labels of the whole stack, or of one plane"
        )


def _list_labels(
    image_group: str, name: str, version: Version, *, listed: bool
) -> None:
    """Add a name to the list of an image's labels, or take it off."""
    path, zarr_format = join(image_group, "labels"), metadata.zarr_format(version)
    group = zarr.open_group(path, mode="a", zarr_format=zarr_format)
    names = metadata.parse_label_names(group, image_group)
    if (name in names) != listed:
        others = [other for other in names if other != name]
        now = [*others, name] if listed else others
        block = metadata.read_block(group) | {"labels": now}
        group.attrs.update(metadata.wrap_block(block, version))


def write_window(
    target: Source,
    address: FieldAddress,
    data: NDArray[Any],
    *,
    index: Mapping[str, int],
    window: tuple[slice, slice],
) -> None:
    """Write one window of one plane of an image's finest level.

    Parameters
    ----------
    target, address
        A plate, and the field in it whose image `create_image` has created.
    data
        (y, x), of the window's shape; converted to the image's dtype.
    index
        Position along each axis of the image other than y and x.
    window
        (y, x) in pixels; must consist of whole chunks (or shards, if there are any), so
        that concurrent tasks with other windows write other files.

    Raises
    ------
    FieldError
        There is no such image.
    SettingsError
        Index or window do not fit the image, or the window cuts through a chunk.
    """
    group = join(source_text(target), address.path)
    listing = _read_listing(group)
    array = _open_finest(group, listing)
    if set(index) != set(listing.axes[:-2]):
        raise SettingsError(
            f"index must name the axes {listing.axes[:-2]!r} of {group}, not "
            f"{sorted(index)}"
        )
    units = (array.shards or array.chunks)[-2:]
    selection: list[int | slice] = [int(index[axis]) for axis in listing.axes[:-2]]
    for part, unit, size in zip(window, units, array.shape[-2:], strict=True):
        start, stop = part.start or 0, size if part.stop is None else part.stop
        if (
            not 0 <= start < stop <= size
            or start % unit
            or (stop % unit and stop < size)
        ):
            raise SettingsError(
                f"a window must consist of whole stored pieces of {unit} pixels within "
                f"{size}, not {start} to {stop} ({group})"
            )
        selection.append(slice(start, stop))
    array[tuple(selection)] = data


def _read_listing(group: str) -> ImageListing:
    try:
        node = open_node(group)
    except Exception as error:  # zarr raises many kinds on damaged metadata
        raise FieldError(
            f"{group} has no image that can be read: {error}. Create it first."
        ) from error
    return metadata.parse_image(node, group)


def _open_finest(group: str, listing: ImageListing) -> zarr.Array[Any]:
    with field_errors(f"opening the finest level of {group}"):
        return pyramid.open_array(join(group, listing.levels[0].path))
