"""What the strips and tiles of a TIFF file unpack to, checked before they do.

A page comes in; a ValueError that says what is wrong goes out, or nothing. tifffile
lets LZW, Deflate and the like fill a strip's own size and no more, but JPEG and its
kind are whole images: they take the memory that their own headers say, and what exceeds
the strip is dropped without a word. Nothing here unpacks pixels.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Final

import tifffile

from deepspot_scale.io.limits import FREE_CHUNK_BYTES

MAX_EXPANSION: Final = 2000
"""Most bytes of pixels for each stored one; Deflate and LZW reach 1032 and 1370."""
_MAX_SAMPLES: Final = 4

Size = tuple[int, int, int]
"""Height, width and samples of an image, by its own header."""


def _jpeg_size(data: bytes) -> Size | None:
    at = 2
    while at + 10 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width, samples = struct.unpack_from(">HHB", data, at + 5)
            return height, width, samples
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _jpeg2000_size(data: bytes) -> Size | None:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 42 or data.count(b"\xff\x4f\xff\x51") > 1:
        return None
    width, height = struct.unpack_from(">II", data, at + 8)
    return height, width, int.from_bytes(data[at + 40 : at + 42], "big")


def _png_size(data: bytes) -> Size | None:
    if data[12:16] != b"IHDR" or len(data) < 26:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width, _MAX_SAMPLES


_SIZES: Final[dict[int, Callable[[bytes], Size | None]]] = {
    **dict.fromkeys((6, 7, 33007, 34892), _jpeg_size),
    **dict.fromkeys((33003, 33004, 33005, 34712), _jpeg2000_size),
    34933: _png_size,
}
"""By TIFF's number of a compression that is an image of its own."""
_BOUNDED: Final = frozenset(
    {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013}
)
"""None, CCITT, LZW, PackBits, Deflate, LZMA, Zstandard: filled to a strip's size."""


def check_segments(page: tifffile.TiffPage | tifffile.TiffFrame) -> None:
    """Raise ValueError if a strip or tile unpacks to more than it covers."""
    key = page if isinstance(page, tifffile.TiffPage) else page.keyframe
    if key is None:
        raise ValueError("a page has no keyframe")
    compression, shape = int(key.compression), key.chunks
    stored = max(page.databytecounts, default=0)
    itemsize = 1 if key.dtype is None else key.dtype.itemsize
    if compression != 1:
        check_expansion("it", math.prod(shape) * itemsize, stored)
    if compression in _BOUNDED:
        return
    if compression not in _SIZES:
        raise ValueError(
            f"how much memory its compression {key.compression!r} needs cannot be seen "
            "before it takes it; save it with LZW, Deflate or Zstandard"
        )
    file, (rows, columns) = page.parent.filehandle, shape[:2]
    for start, n in zip(page.dataoffsets, page.databytecounts, strict=True):
        file.seek(start)
        size = _SIZES[compression](file.read(n))
        limits = (rows, columns, _MAX_SAMPLES)
        if size is None or any(n > m for n, m in zip(size, limits, strict=True)):
            raise ValueError(
                f"a strip or tile of {rows} x {columns} pixels holds an image of "
                f"{'no size' if size is None else f'{size[0]} x {size[1]}'}"
            )


def check_expansion(source: object, n_bytes: int, stored: int) -> None:
    """Raise ValueError if pixels need far more bytes than any packing could save."""
    if n_bytes > max(FREE_CHUNK_BYTES, MAX_EXPANSION * stored):
        raise ValueError(
            f"{source} declares {n_bytes} bytes of pixels in one piece of {stored}"
        )
