"""The pages of an open TIFF file: whether they are all there, and windows of them.

Missing or truncated pixels are errors, never black ones. Nothing here knows what the
pages mean.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.segments import check_segments
from deepspot_scale.io.stored_image import Window

_DESCRIPTION = 270
_WHOLE_BYTES = 2**22
"""Pages up to this size are unpacked whole, also for a window of them."""


def open_page(file: tifffile.TiffFile, number: int) -> tifffile.TiffPage:
    """Return a page; its description is read, not its pixels."""
    page = file.pages[number]
    if not isinstance(page, tifffile.TiffPage):
        raise ValueError(f"page {number} is not readable")  # a frame of a keyframe
    return page


def read_page(file: tifffile.TiffFile, number: int, window: Window) -> NDArray[Any]:
    """Read a window of one page."""
    page = open_page(file, number)
    _check_pieces(page, number)
    return _read_window(page, window)


def is_stack(file: tifffile.TiffFile) -> bool:
    """Return whether a simple writer appended the planes as separate images.

    OME's images are others' fields or positions, never planes.
    """
    kinds = {(series.axes, series.shape, series.dtype) for series in file.series}
    alike = len(file.series) > 1 and len(kinds) == 1 and not file.is_ome
    return alike and file.series[0].axes == "YX"


def native_dtype(stored: np.dtype[Any] | None, path: Path) -> np.dtype[Any]:
    """Return the dtype in native byte order; FieldError: these are no real numbers."""
    if stored is not None and stored.kind == "b":
        return np.dtype(np.uint8)
    if stored is None or stored.kind not in "uif":
        raise FieldError(f"{path} has pixels of {stored}; expected real numbers.")
    return stored.newbyteorder("=")


def check_end(file: tifffile.TiffFile) -> None:
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


def check_whole(file: tifffile.TiffFile) -> None:
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


def find_series(
    file: tifffile.TiffFile, number: int, appended: bool
) -> tuple[tifffile.TiffPageSeries, int]:
    """Return the series of a plane, and the plane's number in it.

    `appended`: the planes are separate images, see `is_stack`.
    """
    return (file.series[number], 0) if appended else (file.series[0], number)


def read_tiff_plane(
    series: tifffile.TiffPageSeries,
    number: int,
    shape_yx: tuple[int, ...],
    dtype: np.dtype[Any],
    window: Window,
) -> NDArray[Any]:
    """Read a window of one plane of a series, given its number as stored.

    A plane of another dtype than the file's is not yet converted.
    """
    if series.dataoffset is not None and series.dtype == dtype:
        n_bytes = math.prod(shape_yx) * dtype.itemsize
        begin = series.dataoffset + number * n_bytes
        return _read_rows(series.keyframe.parent, begin, shape_yx, dtype, window)
    page = _checked_page(series, number)
    if page.shape == tuple(shape_yx) and page.nbytes <= _WHOLE_BYTES:
        return _read_window(page, window)
    with series.aszarr(level=0) as store:
        planes = zarr.open_array(store, mode="r")
        where = np.unravel_index(number, planes.shape[:-2])
        selection: list[int | slice] = [*map(int, where), *window]
        return np.asarray(planes[tuple(selection)])


def _read_rows(
    file: tifffile.TiffFile,
    begin: int,
    shape_yx: tuple[int, ...],
    dtype: np.dtype[Any],
    window: Window,
) -> NDArray[Any]:
    """Read a window of a plane stored uncompressed and contiguous from a byte on."""
    height, width = shape_yx
    start, stop, step = window[0].indices(height)
    stored, n_rows = dtype.newbyteorder(file.byteorder), max(0, stop - start)
    begin += start * width * stored.itemsize
    rows = file.filehandle.read_array(stored, n_rows * width, offset=begin)
    return np.reshape(rows, (n_rows, width))[::step, window[1]]


def _read_window(
    page: tifffile.TiffPage | tifffile.TiffFrame, window: Window
) -> NDArray[Any]:
    """Read a window of a page; of a small one, all pieces: zarr takes longer."""
    if page.nbytes <= _WHOLE_BYTES:
        return np.asarray(page.asarray(maxworkers=1)[window])
    with page.aszarr() as store:
        return np.asarray(zarr.open_array(store, mode="r")[window])


def _checked_page(
    series: tifffile.TiffPageSeries, number: int
) -> tifffile.TiffPage | tifffile.TiffFrame:
    """Return a plane's page; ValueError if pixels are missing: they would read as 0."""
    # One page may hold several planes.
    page = series[number * len(series) // math.prod(series.shape[:-2])]
    if page is None:
        raise ValueError(f"plane {number} is missing")
    _check_pieces(page, number)
    return page


def _check_pieces(page: tifffile.TiffPage | tifffile.TiffFrame, number: int) -> None:
    pieces = zip(page.dataoffsets, page.databytecounts, strict=True)
    ends = [start + n if start and n else math.inf for start, n in pieces]
    n_pieces, size = math.prod(page.chunked), page.parent.filehandle.size
    if len(ends) < n_pieces or max(ends) > size:
        raise ValueError(f"plane {number} is incomplete")
    check_segments(page)
