"""Reads one TIFF or PNG file plane by plane.

A path comes in; axes, shape, dtype, channel names and pixel size go out without reading
pixels, then single planes or windows of them. Damaged files are errors, never black
pixels. Nothing here knows plates, or what a file's name means.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.ome_sets import (
    OwnPlanes,
    find_own_planes,
    read_ome,
)
from deepspot_scale.io.image_files.tiff_tags import Tags, read_tags
from deepspot_scale.io.stored_image import Window
from deepspot_scale.io.stores import field_errors
from deepspot_scale.vocabulary import AXES

Plane = NDArray[Any]
Pages = Literal["z", "c", "t"]
ENDINGS = (".tif", ".tiff", ".png")
"""Suffixes of the files that can be read, in lower case."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_GREY = 0
_DESCRIPTION = 270
_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True)
class ImageHeader:
    """Description of the image in a file."""

    path: Path
    axes: str
    """Subset of ``tczyx`` in that order, with y and x."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """In native byte order."""
    piece: tuple[int, int]
    """(y, x) in pixels of the unit of decoding: a tile, a strip or a plane."""
    channels: tuple[str, ...] = ()
    """Stored names; an empty text for an unnamed channel."""
    spacing_um: Mapping[str, float] = field(default_factory=dict)
    """Pixel size by axis, for those of z, y, x where it is known."""
    plane: int | None = None
    """Number of the plane in its stack as the microscope wrote it, 0: a projection."""

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """(y, x) in micrometres; None: unknown."""
        sizes = self.spacing_um
        return (sizes["y"], sizes["x"]) if {"y", "x"} <= set(sizes) else None

    def size(self, axis: str) -> int:
        """Return the size along an axis; 1 if the image does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


@dataclass(frozen=True)
class OpenImage:
    """An open file; only `open_image` creates and closes one."""

    header: ImageHeader
    _file: tifffile.TiffFile | None
    """None for PNG."""
    _stored_axes: str
    """Leading axes in stored order, such as ImageJ's ``zc``."""
    _pages: tuple[int, ...] = ()
    """Pages of the planes in stored order, in a file of a set; else empty."""

    def read(self, index: Mapping[str, int], window: Window = _WHOLE) -> Plane:
        """Read one plane, or a window of slices (y, x) of it, in native byte order.

        Positions along t, c and z that `index` lacks are 0. Raises FieldError if the
        file is damaged.
        """
        with field_errors(f"reading {self.header.path}"):
            if self._file is None:
                return _decode_png(self.header)[window]
            sizes = [self.header.size(axis) for axis in self._stored_axes]
            where = [index.get(axis, 0) for axis in self._stored_axes]
            number = int(np.ravel_multi_index(where, sizes)) if sizes else 0
            if self._pages:
                plane = _read_page(self._file, self._pages[number], window)
            else:
                plane = _read_tiff_plane(self._file, number, self.header, window)
            return np.ascontiguousarray(plane, dtype=self.header.dtype)

    def read_block(self, selection: Sequence[slice] | None = None) -> NDArray[Any]:
        """Read the selection of one slice per axis of the header; None: everything."""
        header = self.header
        parts = selection or [slice(None)] * len(header.axes)
        ranges = [range(n)[part] for n, part in zip(header.shape, parts, strict=True)]
        block = np.empty([len(part) for part in ranges], header.dtype)
        planes = product(*ranges[:-2])
        for target, source in zip(np.ndindex(block.shape[:-2]), planes, strict=True):
            index = dict(zip(header.axes, source, strict=False))
            block[target] = self.read(index, (parts[-2], parts[-1]))
        return block


@contextmanager
def open_image(path: Path, *, pages: Pages = "z") -> Iterator[OpenImage]:
    """Open a TIFF or PNG file; `pages` of a TIFF without metadata are along that axis.

    Raises
    ------
    FieldError
        The file is unreadable, truncated or coloured, or is not one image with
        known axes.
    """
    with ExitStack() as files:
        with field_errors(f"opening {path}"):
            if path.suffix.lower() == ".png":
                opened = OpenImage(_png_header(path), None, "")
            else:
                file = files.enter_context(tifffile.TiffFile(path))
                opened = _open_tiff(file, path, pages)
        yield opened


def _png_header(path: Path) -> ImageHeader:
    with path.open("rb") as file:
        start = file.read(26)
    if start[:8] != _PNG_START:
        raise ValueError("it is no PNG file, although it is named like one")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if colour != _PNG_GREY:
        raise _coloured(path)
    if bits not in {8, 16}:
        raise FieldError(
            f"{path} has {bits} bits per pixel; expected 8 or 16. Save it again."
        )
    shape = (height, width)
    return ImageHeader(path, "yx", shape, np.dtype(f"u{bits // 8}"), shape)


def _decode_png(header: ImageHeader) -> Plane:
    stored = np.fromfile(header.path, np.uint8)
    image = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != header.shape:
        raise ValueError("it is damaged or incomplete")
    return image


def _coloured(path: Path) -> FieldError:
    return FieldError(
        f"{path} is a colour image (RGB, palette or alpha); expected one grey value "
        f"per pixel and channel. Export the channels as separate grey images: colours "
        f"for display do not keep the measured values."
    )


def _open_tiff(file: tifffile.TiffFile, path: Path, pages: Pages) -> OpenImage:
    _check_end(file)
    ome = read_ome(file, path)
    own = None if ome is None else find_own_planes(ome, path, len(file.pages))
    if own is not None:
        return _open_own(file, path, own)
    pixels = None if ome is None else ome.find("{*}Image/{*}Pixels")
    _check_whole(file)
    series = file.series[0]
    letters, shape = series.axes, series.shape
    if _is_stack(file):
        letters, shape = f"I{letters}", (len(file.series), *shape)
    elif any(other.shape[-2:] == shape[-2:] for other in file.series[1:]):
        raise FieldError(
            f"{path} contains {len(file.series)} images; expected one. Split the file."
        )
    page = series.keyframe
    if letters.endswith("S") or page.photometric == tifffile.PHOTOMETRIC.RGB:
        raise _coloured(path)
    # tifffile's letters: I and Q for unnamed pages, S for several values per pixel.
    stored = letters.translate(str.maketrans("IQS", f"{pages}{pages}c")).lower()
    sizes = dict(zip(stored, shape, strict=True))
    unknown = {axis for axis, size in sizes.items() if axis not in AXES and size > 1}
    if unknown or len(sizes) < len(stored) or not stored.endswith("yx"):
        raise FieldError(
            f"{path}: expected the axes {', '.join(AXES)}, each at most once and y, x "
            f"last, but the file has {letters} with the sizes {shape}. Convert it to "
            f"OME-TIFF or OME-Zarr first."
        )
    axes = "".join(axis for axis in AXES if sizes.get(axis, 1) > 1 or axis in "yx")
    dtype, (height, width) = _native_dtype(series.dtype, path), page.chunks[-2:]
    kept, piece = tuple(sizes[axis] for axis in axes), (height, width)
    header = _header(path, axes, kept, dtype, piece, read_tags(file, path, pixels))
    return OpenImage(header, file, "".join(a for a in stored[:-2] if sizes[a] > 1))


def _open_own(file: tifffile.TiffFile, path: Path, own: OwnPlanes) -> OpenImage:
    """Open the planes that a file of a set holds itself."""
    if max(own.pages) >= len(file.pages):
        raise ValueError("it is incomplete: it ends too early")
    page = _page(file, own.pages[0])
    if page.axes != "YX" or page.photometric == tifffile.PHOTOMETRIC.RGB:
        raise _coloured(path)
    sizes = {axis: n for axis, n in own.sizes.items() if n > 1}
    tags = read_tags(file, path, own.pixels)
    names = tuple(tags.channels[c] for c in own.channels if c < len(tags.channels))
    return OpenImage(
        _header(
            path,
            "".join(axis for axis in AXES if axis in sizes or axis in "yx"),
            (*(sizes[axis] for axis in AXES if axis in sizes), *page.shape),
            _native_dtype(page.dtype, path),
            page.chunks[-2:],
            replace(tags, channels=names),
        ),
        file,
        "".join(sizes),
        own.pages,
    )


def _header(
    path: Path,
    axes: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    piece: tuple[int, ...],
    tags: Tags,
) -> ImageHeader:
    height, width = piece
    return ImageHeader(
        path,
        axes,
        shape,
        dtype,
        (height, width),
        tags.channels,
        tags.spacing_um,
        tags.plane,
    )


def _page(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    page = file.pages[number]
    if not isinstance(page, tifffile.TiffPage):
        raise ValueError(f"page {number} is not readable")  # a frame of a keyframe
    return page


def _read_page(file: tifffile.TiffFile, number: int, window: Window) -> Plane:
    page = _page(file, number)
    _check_pieces(page, number)
    with page.aszarr() as store:
        return np.asarray(zarr.open_array(store, mode="r")[window])


def _is_stack(file: tifffile.TiffFile) -> bool:
    """Return whether a simple writer appended the planes as separate images.

    OME's images are others' fields or positions, never planes.
    """
    kinds = {(series.axes, series.shape, series.dtype) for series in file.series}
    alike = len(file.series) > 1 and len(kinds) == 1 and not file.is_ome
    return alike and file.series[0].axes == "YX"


def _native_dtype(stored: np.dtype[Any] | None, path: Path) -> np.dtype[Any]:
    if stored is not None and stored.kind == "b":
        return np.dtype(np.uint8)
    if stored is None or stored.kind not in "uif":
        raise FieldError(f"{path} has pixels of {stored}; expected real numbers.")
    return stored.newbyteorder("=")


def _check_end(file: tifffile.TiffFile) -> None:
    """Raise ValueError if the file ends before its last page or its description.

    tifffile reads a truncated file and only logs that the rest is missing.
    """
    first, last = file.pages.first, file.pages[-1]
    codes, _ = _read_directory(file, first.offset)
    _, following = _read_directory(file, last.offset)
    if following + 1 > file.filehandle.size or (
        _DESCRIPTION in codes and _DESCRIPTION not in first.tags
    ):
        raise ValueError("it is incomplete: it ends too early")


def _check_whole(file: tifffile.TiffFile) -> None:
    """Raise ValueError if the file ends before its last pixel or promised page."""
    series = file.series[0]
    n_promised = (file.imagej_metadata or {}).get("images", 1)
    end = 0 if series.dataoffset is None else series.dataoffset + series.nbytes
    if end > file.filehandle.size or n_promised > math.prod(series.shape[:-2]):
        raise ValueError("it is incomplete: it ends too early")


def _read_directory(file: tifffile.TiffFile, offset: int) -> tuple[set[int], int]:
    """Return the codes of a page's tags and the offset of the next page, or 0."""
    stream, layout = file.filehandle, file.tiff
    stream.seek(offset)
    (n,) = struct.unpack(layout.tagnoformat, stream.read(layout.tagnosize))
    tags = stream.read(n * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, stream.read(layout.offsetsize))
    code = f"{layout.byteorder}H"
    codes = {struct.unpack_from(code, tags, i * layout.tagsize)[0] for i in range(n)}
    return codes, following


def _read_tiff_plane(
    file: tifffile.TiffFile, number: int, header: ImageHeader, window: Window
) -> Plane:
    """Read a window of one plane, given its number in stored order."""
    series = file.series[0]
    if _is_stack(file):
        series, number = file.series[number], 0
    if series.dataoffset is not None and series.dtype == header.dtype:
        n_bytes = math.prod(header.shape[-2:]) * header.dtype.itemsize
        begin = series.dataoffset + number * n_bytes
        return _read_rows(file, begin, header, window)
    _check_page(series, number)
    with series.aszarr(level=0) as store:
        planes = zarr.open_array(store, mode="r")
        where = np.unravel_index(number, planes.shape[:-2])
        selection: list[int | slice] = [*map(int, where), *window]
        return np.asarray(planes[tuple(selection)])


def _read_rows(
    file: tifffile.TiffFile, begin: int, header: ImageHeader, window: Window
) -> Plane:
    """Read a window of a plane stored uncompressed and contiguous from a byte on."""
    height, width = header.shape[-2:]
    start, stop, step = window[0].indices(height)
    stored, n_rows = header.dtype.newbyteorder(file.byteorder), max(0, stop - start)
    begin += start * width * stored.itemsize
    rows = file.filehandle.read_array(stored, n_rows * width, offset=begin)
    return np.reshape(rows, (n_rows, width))[::step, window[1]]


def _check_page(series: tifffile.TiffPageSeries, number: int) -> None:
    """Raise ValueError if pixels of a plane are missing: zarr would read them as 0."""
    # One page may hold several planes.
    page = series[number * len(series) // math.prod(series.shape[:-2])]
    if page is None:
        raise ValueError(f"plane {number} is missing")
    _check_pieces(page, number)


def _check_pieces(page: tifffile.TiffPage | tifffile.TiffFrame, number: int) -> None:
    pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
    ends = [start + n if start and n else math.inf for start, n in pieces]
    n_pieces, size = math.prod(page.chunked), page.parent.filehandle.size
    if len(ends) < n_pieces or max(ends) > size:
        raise ValueError(f"plane {number} is incomplete")
