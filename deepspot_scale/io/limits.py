"""Limits for stored data that we do not trust: memory, time, and code in codecs.

An open Zarr array or a stored image comes in; a FieldError that says what is wrong goes
out, or nothing. Only metadata and names of files are looked at, before anything is
allocated. Nothing here knows plates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final

import zarr

from deepspot_scale.errors import FieldError
from deepspot_scale.io.inflation import HARMLESS, SIZES, codec_names
from deepspot_scale.io.trust import NO_TRUST, Trust

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


FREE_PIECES: Final = 10_000
"""So many chunks, or planes of a file, may always be absent."""
MAX_HOLES: Final = 100
"""Images with more chunks may have so many times those that are stored."""


def check_array(array: zarr.Array[Any], source: str, trust: Trust = NO_TRUST) -> None:
    """Raise FieldError unless an open array is safe to read; no data are read."""
    names = codec_names(array)
    if names & CODE or array.dtype.kind not in "biufc":
        raise FieldError(
            f"{source} holds {array.dtype}{' packed by pickle' * bool(names & CODE)}, "
            "which is no image and may hide a program; it was not read. Store numbers."
        )
    unchecked = names.difference(SIZES, HARMLESS)
    if unchecked and "sizes" not in trust.words:
        raise FieldError(
            f"{source} is stored with {', '.join(sorted(unchecked))}; how much memory "
            "its chunks need cannot be seen before they take it. Store it with Blosc, "
            "Zstandard or gzip, or, if you know where it comes from: --trust sizes."
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


def check_stored(
    source: str,
    shape: tuple[int, ...],
    pieces: tuple[int, ...],
    files: Iterable[str],
    trust: Trust = NO_TRUST,
) -> None:
    """Raise FieldError if an array has far more chunks than are stored.

    Each would be read as black, one by one, for as long as metadata say. `pieces` is
    the shape of a shard where there are shards, else of a chunk; `files` are those that
    are stored. A store that does not list its files is not checked.
    """
    declared = math.prod(-(-n // k) for n, k in zip(shape, pieces, strict=True))
    if declared <= FREE_PIECES or "holes" in trust.words:
        return
    enough = -(-declared // MAX_HOLES)
    try:
        stored = sum(1 for _ in islice(files, enough))
    except Exception:  # stores that list nothing raise many kinds
        return
    if stored < enough:
        raise FieldError(
            f"{source} says that it has {declared} chunks, but no more than {stored} "
            "are stored. Copy it again, or, if it is so empty: --trust holes."
        )
