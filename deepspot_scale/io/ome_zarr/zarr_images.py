"""Opens images in Zarr: a level of an OME-Zarr image, or a plain array.

The path or URL of a group or array comes in, a StoredImage goes out. Nothing here
knows plates, and no pixel is read.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

from deepspot_scale.errors import FieldError
from deepspot_scale.io.limits import check_array, check_stored
from deepspot_scale.io.ome_zarr.metadata import ImageListing, parse_label_names
from deepspot_scale.io.stored_image import ChunkFiles, StoredImage
from deepspot_scale.io.stores import (
    Node,
    ZarrFormat,
    field_errors,
    iter_files,
    join,
    open_node,
)
from deepspot_scale.io.trust import NO_TRUST, Trust
from deepspot_scale.vocabulary import AXES


def open_image_node(
    source: str, zarr_format: ZarrFormat | None = None, trust: Trust = NO_TRUST
) -> Node:
    """Open the group or array of an image; FieldError if it cannot be read."""
    with field_errors(f"opening the image at {source}"):
        return open_node(source, zarr_format, trust)


def open_level(
    source: str,
    listing: ImageListing,
    level: int = 0,
    *,
    zarr_format: ZarrFormat | None = None,
    trust: Trust = NO_TRUST,
) -> StoredImage:
    """Open one level of a multiscale image; FieldError if it cannot be read."""
    path = join(source, listing.levels[level].path)
    array = _array(open_image_node(path, zarr_format, trust), path, trust)
    image = _stored(array, path, listing.axes)
    return replace(
        image,
        channels=listing.channels,
        spacing_um=listing.spacing_um(level),
        begin_um=listing.origin_um(level),
    )


def open_plain_array(node: Node, source: str, trust: Trust = NO_TRUST) -> StoredImage:
    """Return a Zarr array without OME metadata as an image.

    Its axes are Zarr v3's dimension names if these are OME axes, otherwise the last
    letters of ``tczyx``.
    """
    array = _array(node, source, trust)
    if not 2 <= array.ndim <= len(AXES):
        raise FieldError(
            f"{source}: expected an array with 2 to 5 axes, found the shape "
            f"{array.shape}. Cut it into images first."
        )
    names = getattr(array.metadata, "dimension_names", None) or ()
    known = len(names) == array.ndim and set(names) <= set(AXES)
    axes = "".join(names) if known else AXES[-array.ndim :]
    return _stored(array, source, axes)


def _stored(array: zarr.Array[Any], source: str, axes: str) -> StoredImage:
    dtype, pieces = np.dtype(array.dtype), array.shards or array.chunks
    name = array.metadata.encode_chunk_key
    files = ChunkFiles(name, pieces, array.chunks, _index_bytes(array))
    read = array.__getitem__
    return StoredImage(source, axes, array.shape, dtype, pieces, read, files=files)


def _index_bytes(array: zarr.Array[Any]) -> int | None:
    """Return the size of a shard's index, as in `ChunkFiles`.

    It has two numbers of 8 bytes for each chunk, and in all common files a checksum.
    """
    if array.shards is None:
        return 0
    codecs: tuple[Any, ...] = getattr(array.metadata, "codecs", ())
    codec = codecs[0] if len(codecs) == 1 else None
    if not isinstance(codec, ShardingCodec):
        return None
    kinds = [type(each) for each in codec.index_codecs]
    order = _word(getattr(codec.index_codecs[0], "endian", None))
    if kinds not in ([BytesCodec], [BytesCodec, Crc32cCodec]) or order != "little":
        return None
    pairs = zip(array.shards, array.chunks, strict=True)
    size = 16 * math.prod(shard // chunk for shard, chunk in pairs)
    size += 4 * (len(kinds) - 1)
    return size if _word(codec.index_location) == "end" else -size


def _word(value: object) -> object:
    """Return an option of a codec, which is an enum up to Zarr 3.2 and then text."""
    return getattr(value, "value", value)


def _array(node: Node, source: str, trust: Trust) -> zarr.Array[Any]:
    if isinstance(node, zarr.Array):
        check_array(node, source, trust)
        pieces = node.shards or node.chunks
        check_stored(source, node.shape, pieces, iter_files(source), trust)
        return node
    raise FieldError(f"{source}: expected a Zarr array, found a group. Write it again.")


def read_label_names(
    source: str, zarr_format: ZarrFormat, trust: Trust = NO_TRUST
) -> tuple[str, ...]:
    """Return the names of the label images below an image's group."""
    with field_errors(f"opening the labels of {source}"):
        try:
            node = open_node(join(source, "labels"), zarr_format, trust)
        except FileNotFoundError:
            return ()
        return parse_label_names(node, source)
