"""Limits for stored data that we do not trust: memory, paths, and code in codecs.

An open Zarr array or a path from metadata comes in; a FieldError that says what is
wrong goes out, or nothing. Only metadata are checked, before anything is allocated.
Nothing here knows images.
"""

from __future__ import annotations

import math
import os
from typing import Any, Final

import zarr
from zarr.core.metadata import ArrayV2Metadata

from deepspot_scale.errors import FieldError
from deepspot_scale.io.stores import is_url

MAX_AXIS: Final = 1 << 31
"""Most pixels along one axis."""
MAX_PLANE: Final = 1 << 36
"""Most pixels of one plane, 262144 squared: larger than any mosaic."""
MAX_PIXELS: Final = 1 << 43
MAX_CHUNK_BYTES: Final = 1 << 31
"""Most bytes of a chunk, which is decoded as a whole; also Blosc's limit."""
FREE_CHUNK_BYTES: Final = 1 << 26
"""Chunks up to this size are always accepted."""
MAX_EXCESS: Final = 8
"""Larger chunks may exceed the size of their whole array by this factor."""
CODE: Final = frozenset({"pickle"})
"""Codecs that execute code from the file."""


def check_array(array: zarr.Array[Any], source: str) -> None:
    """Raise FieldError unless an open array is safe to read; no data are read."""
    metadata = array.metadata
    codecs: list[Any] = list(getattr(metadata, "codecs", ()))
    if isinstance(metadata, ArrayV2Metadata):
        codecs = [metadata.compressor, *(metadata.filters or ())]
    names = {str(getattr(c, "codec_id", type(c).__name__)).lower() for c in codecs}
    if names & CODE or array.dtype.kind not in "biufc":
        raise FieldError(
            f"{source} holds {array.dtype}{' packed by pickle' * bool(names & CODE)}, "
            "which is no image and may hide a program; it was not read. Store numbers."
        )
    shape, chunk = array.shape, array.chunks
    n_bytes = math.prod(shape) * array.dtype.itemsize
    if (
        max(shape, default=1) > MAX_AXIS
        or math.prod(shape[-2:]) > MAX_PLANE
        or math.prod(shape) > MAX_PIXELS
    ):
        raise FieldError(
            f"{source} says that it has the shape {shape}, {n_bytes / 1e12:.3g} TB; "
            "no microscope gives that. Correct its metadata."
        )
    chunk_bytes = math.prod(chunk) * array.dtype.itemsize
    if chunk_bytes > MAX_CHUNK_BYTES or (
        chunk_bytes > FREE_CHUNK_BYTES and chunk_bytes > MAX_EXCESS * n_bytes
    ):
        raise FieldError(
            f"{source} says that one of its chunks, {chunk}, unpacks to "
            f"{chunk_bytes / 1e9:.3g} GB, for an image of {n_bytes / 1e9:.3g} GB. "
            "Correct its metadata, or store it in chunks of some megabytes."
        )


def check_within(path: str, root: str) -> None:
    """Raise FieldError if a local path leads out of `root`, for example by a link.

    URLs are not checked.
    """
    if is_url(path):
        return
    if os.path.islink(path) and not os.path.exists(path):
        raise FieldError(
            f"{path} is a link that leads nowhere or to itself. Replace it by a copy "
            "of the images."
        )
    real, inside = os.path.realpath(path), os.path.realpath(root)
    if real != inside and not real.startswith(inside.rstrip(os.sep) + os.sep):
        raise FieldError(
            f"{path} leads out of {root}, to {real}; it was not read. Copy the images "
            "into the plate instead of linking to them."
        )
