"""One TIFF or PNG file, read plane by plane.

A path comes in; axes, shape, dtype, channel names and pixel size go out without a look
at the pixels, and then single planes. Damaged files are errors, never black pixels.
Nothing here knows plates, nor what a file's name means.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from deepspot_scale.errors import DeepspotError, FieldError
from deepspot_scale.io.tiff_tags import read_channels, read_pixel_size, read_z_step
from deepspot_scale.vocabulary import AXES

Plane = NDArray[Any]
Pages = Literal["z", "c", "t"]
ENDINGS = (".tif", ".tiff", ".png")
"""Of the files that can be read, in lower case."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_GREY = 0
_DESCRIPTION = 270


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about its image."""

    path: Path
    axes: str
    """Subset of ``tczyx`` in that order; y and x always."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    """In native byte order."""
    channels: tuple[str, ...] = ()
    """Names, one for each channel; empty when the file names none."""
    pixel_size_um: tuple[float, float] | None = None
    """(y, x); None when unknown."""
    z_step_um: float | None = None
    """Distance of planes; None when unknown."""

    def size(self, axis: str) -> int:
        """Return the size along an axis; 1 when the image does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1


@dataclass(frozen=True)
class OpenImage:
    """An open file; only `open_image` makes one, and closes it."""

    header: ImageHeader
    _file: tifffile.TiffFile | None
    """None: a PNG."""
    _stored_axes: str
    """Leading axes as stored, e.g. ``zc`` of ImageJ."""

    def read(self, *, t: int = 0, c: int = 0, z: int = 0) -> Plane:
        """Read one plane.

        Returns
        -------
        ndarray
            (y, x), in native byte order.

        Raises
        ------
        FieldError
            The file is damaged.
        """
        with _naming(self.header.path):
            if self._file is None:
                return _decode_png(self.header.path)
            index = {"t": t, "c": c, "z": z}
            sizes = [self.header.size(axis) for axis in self._stored_axes]
            where = [index[axis] for axis in self._stored_axes]
            number = int(np.ravel_multi_index(where, sizes)) if sizes else 0
            plane = _read_tiff_plane(self._file, number, self.header)
            return np.ascontiguousarray(plane, dtype=self.header.dtype)


@contextmanager
def open_image(path: Path, *, pages: Pages = "z") -> Iterator[OpenImage]:
    """Open a TIFF or PNG file.

    Parameters
    ----------
    path
        The file.
    pages
        Axis of a multi-page TIFF whose metadata do not name it.

    Raises
    ------
    FieldError
        Unreadable, truncated, coloured, or not one image of known axes.
    """
    if path.suffix.lower() == ".png":
        with _naming(path):
            header = _png_header(path)
        yield OpenImage(header, None, "")
        return
    with _naming(path):
        file = tifffile.TiffFile(path)
    with file:
        with _naming(path):
            opened = _open_tiff(file, path, pages)
        yield opened


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on a damaged file into an error that names it."""
    try:
        yield
    except DeepspotError:
        raise
    except Exception as error:  # decoders raise all kinds: struct, zlib, Key, Index...
        raise FieldError(
            f"{path} can not be read as an image ({type(error).__name__}: {error}). "
            f"It is damaged, incomplete or of an unknown kind: copy it again."
        ) from error


def _png_header(path: Path) -> ImageHeader:
    with path.open("rb") as file:
        start = file.read(26)
    if start[:8] != _PNG_START:
        raise FieldError(f"{path} is no PNG file, although its name says so.")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if colour != _PNG_GREY:
        raise _coloured(path)
    if bits not in {8, 16}:
        raise FieldError(
            f"{path} has {bits} bits per pixel; expected are 8 or 16. Save it again."
        )
    return ImageHeader(path, "yx", (height, width), np.dtype(f"u{bits // 8}"))


def _decode_png(path: Path) -> Plane:
    stored = np.fromfile(path, np.uint8)
    image = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FieldError(f"{path} is damaged or incomplete: copy it again.")
    return image


def _coloured(path: Path) -> FieldError:
    return FieldError(
        f"{path} is a colour image (RGB, palette or alpha); expected is one grey value "
        f"per pixel and channel. Export the channels as separate grey images: colours "
        f"for display do not keep the measured values."
    )


def _open_tiff(file: tifffile.TiffFile, path: Path, pages: Pages) -> OpenImage:
    _check_whole(file, path)
    series = file.series[0]
    letters, shape = series.axes, series.shape
    if _is_stack(file):
        letters, shape = f"I{letters}", (len(file.series), *shape)
    elif any(other.shape[-2:] == shape[-2:] for other in file.series[1:]):
        raise FieldError(
            f"{path} holds {len(file.series)} images; expected is one. Split the file."
        )
    if letters.endswith("S"):
        raise _coloured(path)
    # I, Q, or S in front: pages that nobody has named.
    stored = letters.translate(str.maketrans("IQS", 3 * pages.upper())).lower()
    sizes = dict(zip(stored, shape, strict=True))
    alien = {axis for axis, size in sizes.items() if axis not in AXES and size > 1}
    if alien or len(sizes) < len(stored) or not stored.endswith("yx"):
        raise FieldError(
            f"{path} has axes {letters} of shape {shape}; expected are some of "
            f"{AXES.upper()}, each once and ending in YX."
        )
    axes = "".join(axis for axis in AXES if sizes.get(axis, 1) > 1 or axis in "yx")
    header = ImageHeader(
        path,
        axes,
        tuple(sizes[axis] for axis in axes),
        _native_dtype(series.dtype, path),
        read_channels(file, sizes.get("c", 1)),
        read_pixel_size(file),
        read_z_step(file),
    )
    return OpenImage(header, file, "".join(a for a in stored[:-2] if sizes[a] > 1))


def _is_stack(file: tifffile.TiffFile) -> bool:
    """Return whether a plain writer appended the planes one by one, as images."""
    kinds = {(series.axes, series.shape, series.dtype) for series in file.series}
    return len(file.series) > 1 and len(kinds) == 1 and file.series[0].axes == "YX"


def _native_dtype(stored: np.dtype[Any] | None, path: Path) -> np.dtype[Any]:
    if stored is not None and stored.kind == "b":
        return np.dtype(np.uint8)
    if stored is None or stored.kind not in "uif":
        raise FieldError(f"{path} has pixels of {stored}; expected are real numbers.")
    return stored.newbyteorder("=")


def _check_whole(file: tifffile.TiffFile, path: Path) -> None:
    """Raise FieldError when the file ends before its last page or its description.

    tifffile takes what is there and only logs that the rest is missing.
    """
    first, last = file.pages.first, file.pages[-1]
    codes, _ = _read_directory(file, first.offset)
    _, following = _read_directory(file, last.offset)
    n_planes = math.prod(file.series[0].shape[:-2])
    n_promised = (file.imagej_metadata or {}).get("images", 1)
    if (
        following >= file.filehandle.size
        or n_promised > n_planes
        or (_DESCRIPTION in codes and _DESCRIPTION not in first.tags)
    ):
        raise FieldError(f"{path} is incomplete: it ends too early. Copy it again.")


def _read_directory(file: tifffile.TiffFile, offset: int) -> tuple[set[int], int]:
    """Return the codes of a page's tags and the offset of the next page, 0 if none."""
    stream, layout = file.filehandle, file.tiff
    stream.seek(offset)
    (n,) = struct.unpack(layout.tagnoformat, stream.read(layout.tagnosize))
    tags = stream.read(n * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, stream.read(layout.offsetsize))
    code = f"{layout.byteorder}H"
    codes = {struct.unpack_from(code, tags, i * layout.tagsize)[0] for i in range(n)}
    return codes, following


def _read_tiff_plane(
    file: tifffile.TiffFile, number: int, header: ImageHeader
) -> Plane:
    """Read one plane by its number in the order of storage."""
    n_planes, shape = math.prod(header.shape[:-2]), header.shape[-2:]
    series = file.series[0]
    if _is_stack(file):
        series, number, n_planes = file.series[number], 0, 1
    if series.dataoffset is not None and series.dtype == header.dtype:
        stored = header.dtype.newbyteorder(file.byteorder)
        start = series.dataoffset + number * math.prod(shape) * stored.itemsize
        plane = file.filehandle.read_array(stored, math.prod(shape), offset=start)
        return np.reshape(plane, shape)
    if len(series.pages) != n_planes:  # several planes in one compressed page
        planes: Plane = series.asarray().reshape(n_planes, *shape)
        return np.asarray(planes[number])
    page = series.pages[number]
    if page is None:
        raise FieldError(f"{header.path} lacks plane {number}, which it announces.")
    return np.reshape(page.asarray(), shape)
