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
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.tiff_tags import read_tags
from deepspot_scale.io.stored_image import StoredImage, Window
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
class OpenImage:
    """An open file; only `open_image` creates and closes one."""

    header: StoredImage
    _file: tifffile.TiffFile | None
    """None for PNG."""
    _stored_axes: str
    """Leading axes in stored order, such as ImageJ's ``zc``."""

    def read(self, index: Mapping[str, int], window: Window = _WHOLE) -> Plane:
        """Read one plane, or a window of slices (y, x) of it, in native byte order.

        Positions along t, c and z that `index` lacks are 0. Raises FieldError if the
        file is damaged.
        """
        with field_errors(f"reading {self.header.source}"):
            if self._file is None:
                return _decode_png(self.header)[window]
            sizes = [self.header.size(axis) for axis in self._stored_axes]
            where = [index.get(axis, 0) for axis in self._stored_axes]
            number = int(np.ravel_multi_index(where, sizes)) if sizes else 0
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

    Raises FieldError if the file is unreadable, truncated or coloured, or is not one
    image with known axes.
    """
    with ExitStack() as files:
        with field_errors(f"opening {path}"):
            if path.suffix.lower() == ".png":
                opened = OpenImage(_png_header(path), None, "")
            else:
                file = files.enter_context(tifffile.TiffFile(path))
                opened = _open_tiff(file, path, pages)
        yield opened


def _read_file(path: Path, pages: Pages, selection: Sequence[slice]) -> NDArray[Any]:
    """Read slices of an image; opens the file, since it may be another process."""
    with open_image(path, pages=pages) as image:
        return image.read_block(selection)


def _png_header(path: Path) -> StoredImage:
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
    shape, read = (height, width), partial(_read_file, path, "z")
    return StoredImage(str(path), "yx", shape, np.dtype(f"u{bits // 8}"), shape, read)


def _decode_png(header: StoredImage) -> Plane:
    stored = np.fromfile(header.source, np.uint8)
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
    channels, spacing_um = read_tags(file)
    header = StoredImage(
        source=str(path),
        axes=axes,
        shape=tuple(sizes[axis] for axis in axes),
        dtype=_native_dtype(series.dtype, path),
        # The unit of decoding: a tile, a strip or a plane.
        chunks=(*(1 for _ in axes[:-2]), *page.chunks[-2:]),
        reader=partial(_read_file, path, pages),
        channels=channels,
        spacing_um=spacing_um,
    )
    return OpenImage(header, file, "".join(a for a in stored[:-2] if sizes[a] > 1))


def _is_stack(file: tifffile.TiffFile) -> bool:
    """Return whether a simple writer appended the planes as separate images."""
    kinds = {(series.axes, series.shape, series.dtype) for series in file.series}
    return len(file.series) > 1 and len(kinds) == 1 and file.series[0].axes == "YX"


def _native_dtype(stored: np.dtype[Any] | None, path: Path) -> np.dtype[Any]:
    if stored is not None and stored.kind == "b":
        return np.dtype(np.uint8)
    if stored is None or stored.kind not in "uif":
        raise FieldError(f"{path} has pixels of {stored}; expected real numbers.")
    return stored.newbyteorder("=")


def _check_whole(file: tifffile.TiffFile) -> None:
    """Raise ValueError if the file ends before its last page, pixel or description.

    tifffile reads a truncated file and only logs that the rest is missing.
    """
    first, last, series = file.pages.first, file.pages[-1], file.series[0]
    codes, _ = _read_directory(file, first.offset)
    _, following = _read_directory(file, last.offset)
    n_promised = (file.imagej_metadata or {}).get("images", 1)
    end = 0 if series.dataoffset is None else series.dataoffset + series.nbytes
    if (
        max(following + 1, end) > file.filehandle.size
        or n_promised > math.prod(series.shape[:-2])
        or (_DESCRIPTION in codes and _DESCRIPTION not in first.tags)
    ):
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
    file: tifffile.TiffFile, number: int, header: StoredImage, window: Window
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
    file: tifffile.TiffFile, begin: int, header: StoredImage, window: Window
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
    pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
    ends = [start + n if start and n else math.inf for start, n in pieces]
    n_pieces, size = math.prod(page.chunked), page.parent.filehandle.size
    if len(ends) < n_pieces or max(ends) > size:
        raise ValueError(f"plane {number} is incomplete")
