"""Reads one image file plane by plane.

A path comes in; axes, shape, dtype, channel names and pixel size go out without reading
pixels, then single planes or windows of them. Damaged files are errors, never black
pixels. Nothing here knows plates, or what a file's name means.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.bioio_files import is_bioio, open_bioio, split_scene
from deepspot_scale.io.image_files.ome_sets import (
    OwnPlanes,
    check_number,
    find_own_planes,
    read_ome,
)
from deepspot_scale.io.image_files.open_files import lend
from deepspot_scale.io.image_files.segments import check_expansion
from deepspot_scale.io.image_files.tiff_pages import (
    check_end,
    check_whole,
    find_series,
    is_stack,
    native_dtype,
    open_page,
    read_page,
    read_tiff_plane,
)
from deepspot_scale.io.image_files.tiff_tags import read_tags
from deepspot_scale.io.stored_image import StoredImage, Window, colour_error
from deepspot_scale.io.stores import field_errors
from deepspot_scale.io.trust import check_file
from deepspot_scale.vocabulary import AXES

Plane = NDArray[Any]
Pages = Literal["z", "c", "t"]
ENDINGS = (".tif", ".tiff", ".png")
"""Suffixes of the files that can be read, in lower case."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNG_GREY = 0
_WHOLE = (slice(None), slice(None))


@dataclass(frozen=True)
class OpenImage:
    """An open file; only `open_image` creates and closes one."""

    header: StoredImage
    _file: tifffile.TiffFile | None
    """None: it is no TIFF."""
    _stored_axes: str
    """Leading axes in stored order, such as ImageJ's ``zc``."""
    _pages: tuple[int, ...] = ()
    """Pages of the planes in stored order, in a file of a set; else empty."""
    _stored: StoredImage | None = None
    """The image in an ND2, CZI or LIF file."""
    plane: int | None = None
    """Number of the plane in its stack as the microscope wrote it, 0: a projection."""
    _appended: bool = False
    """Whether the planes are separate images, see `tiff_pages.is_stack`."""

    def read(self, index: Mapping[str, int], window: Window = _WHOLE) -> Plane:
        """Read one plane, or a window of slices (y, x) of it, in native byte order.

        Positions along t, c and z that `index` lacks are 0. Raises FieldError if the
        file is damaged.
        """
        with field_errors(f"reading {self.header.source}"):
            if self._stored is not None:
                return self._stored.plane(index, index.get("z", 0), window)
            if self._file is None:
                return _decode_png(self.header)[window]
            sizes = [self.header.size(axis) for axis in self._stored_axes]
            where = [index.get(axis, 0) for axis in self._stored_axes]
            number = int(np.ravel_multi_index(where, sizes)) if sizes else 0
            if self._pages:
                plane = read_page(self._file, self._pages[number], window)
            else:
                shape, dtype = self.header.shape[-2:], self.header.dtype
                series, number = find_series(self._file, number, self._appended)
                plane = read_tiff_plane(series, number, shape, dtype, window)
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
    """Open an image; `pages` of a TIFF without metadata are along that axis.

    The path of an image in an ND2, CZI or LIF file may end with ``#`` and its number.

    Raises FieldError if the file is unreadable, truncated or coloured, or is not one
    image with known axes.
    """
    with ExitStack() as files:
        with field_errors(f"opening {path}"):
            check_file(split_scene(str(path))[0])
            if path.suffix.lower() == ".png":
                opened = OpenImage(_png_header(path), None, "")
            elif is_bioio(str(path)):
                opened = _open_stored(open_bioio(str(path)))
            else:
                # Micro-Manager's own notes list the planes of other files too.
                file = files.enter_context(tifffile.TiffFile(path, is_mmstack=False))
                opened = _open_tiff(file, path, pages)
        yield opened


def _read_file(path: Path, pages: Pages, selection: Sequence[slice]) -> NDArray[Any]:
    """Read slices of an image; opens the file, since it may be another process.

    Files of many planes stay open for the next read.
    """
    opener = partial(open_image, path, pages=pages)
    many = len(selection) > 2
    with lend(str(path), pages, opener) if many else opener() as image:
        return image.read_block(selection)


def _png_header(path: Path) -> StoredImage:
    with path.open("rb") as file:
        start = file.read(26)
    if start[:8] != _PNG_START:
        raise ValueError("it is no PNG file, although it is named like one")
    width, height, bits, colour = struct.unpack(">IIBB", start[16:26])
    if colour != _PNG_GREY:
        raise colour_error(path)
    if bits not in {8, 16}:
        raise FieldError(
            f"{path} has {bits} bits per pixel; expected 8 or 16. Save it again."
        )
    check_expansion(path, height * width * bits // 8, path.stat().st_size)
    shape, read = (height, width), partial(_read_file, path, "z")
    return StoredImage(str(path), "yx", shape, np.dtype(f"u{bits // 8}"), shape, read)


def _decode_png(header: StoredImage) -> Plane:
    stored = np.fromfile(header.source, np.uint8)
    image = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
    if image is None or image.shape != header.shape:
        raise ValueError("it is damaged or incomplete")
    return image


def _open_stored(image: StoredImage) -> OpenImage:
    axes = "".join(a for a in image.axes if image.size(a) > 1 or a in "yx")
    header = replace(
        image,
        axes=axes,
        shape=tuple(map(image.size, axes)),
        chunks=tuple(image.chunks[image.axes.index(axis)] for axis in axes),
        reader=partial(_read_file, Path(image.source), "z"),
    )
    return OpenImage(header, None, "", (), image)


def _open_tiff(file: tifffile.TiffFile, path: Path, pages: Pages) -> OpenImage:
    check_end(file)
    ome = read_ome(file, path)
    own = None if ome is None else find_own_planes(ome, path, len(file.pages))
    if own is not None:
        return _open_own(file, path, own)
    pixels = None if ome is None else ome.find("{*}Image/{*}Pixels")
    if pixels is not None:
        check_number(pixels, len(file.pages))
    check_whole(file)
    series = file.series[0]
    letters, shape = series.axes, series.shape
    appended = is_stack(file)
    if appended:
        letters, shape = f"I{letters}", (len(file.series), *shape)
    elif any(other.shape[-2:] == shape[-2:] for other in file.series[1:]):
        raise FieldError(
            f"{path} contains {len(file.series)} images; expected one. Split the file."
        )
    page = series.keyframe
    if letters.endswith("S") or page.photometric == tifffile.PHOTOMETRIC.RGB:
        raise colour_error(path)
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
    tags = read_tags(file, path, pixels)
    header = StoredImage(
        source=str(path),
        axes=axes,
        shape=tuple(sizes[axis] for axis in axes),
        dtype=native_dtype(series.dtype, path),
        # The unit of decoding: a tile, a strip or a plane.
        chunks=(*(1 for _ in axes[:-2]), *page.chunks[-2:]),
        reader=partial(_read_file, path, pages),
        channels=tags.channels,
        spacing_um=tags.spacing_um,
    )
    order = "".join(axis for axis in stored[:-2] if sizes[axis] > 1)
    return OpenImage(header, file, order, plane=tags.plane, _appended=appended)


def _open_own(file: tifffile.TiffFile, path: Path, own: OwnPlanes) -> OpenImage:
    """Open the planes that a file of a set holds itself."""
    if max(own.pages) >= len(file.pages):
        raise ValueError("it is incomplete: it ends too early")
    page = open_page(file, own.pages[0])
    if page.axes != "YX" or page.photometric == tifffile.PHOTOMETRIC.RGB:
        raise colour_error(path)
    sizes = {axis: n for axis, n in own.sizes.items() if n > 1}
    tags = read_tags(file, path, own.pixels)
    header = StoredImage(
        source=str(path),
        axes="".join(axis for axis in AXES if axis in sizes or axis in "yx"),
        shape=(*(sizes[axis] for axis in AXES if axis in sizes), *page.shape),
        dtype=native_dtype(page.dtype, path),
        chunks=(*(1 for _ in sizes), *page.chunks[-2:]),
        reader=partial(_read_file, path, "z"),
        channels=tuple(
            tags.channels[c] for c in own.channels if c < len(tags.channels)
        ),
        spacing_um=tags.spacing_um,
    )
    return OpenImage(header, file, "".join(sizes), own.pages)
