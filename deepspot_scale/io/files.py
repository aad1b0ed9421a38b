"""Images in single files: TIFF and PNG, and ND2, CZI and LIF through bioio.

The path of a file comes in, a StoredImage whose axes are in OME's order goes out.
Every read opens the file anew, so that tasks can carry the image to other processes.
Nothing here knows plates or folders' meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.images import StoredImage
from deepspot_scale.io.stores import field_errors
from deepspot_scale.vocabulary import AXES

TIFF_SUFFIXES = (".tif", ".tiff")
PNG_SUFFIX = ".png"
BIOIO_SUFFIXES = (".nd2", ".czi", ".lif")
SUFFIXES = (*TIFF_SUFFIXES, PNG_SUFFIX, *BIOIO_SUFFIXES)

_UNKNOWN_AXES = "IQ"
"""tifffile's letters for pages in a row without a meaning: planes."""
_MICROMETRES = {
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,
    "\\u00b5m": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
}


def is_image_file(path: str) -> bool:
    """Return whether a file's name ends like one of the formats read here."""
    name = Path(path.rpartition("#")[0] or path).name
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def stem(path: str) -> str:
    """Return a file's name without folder and suffix: ``a`` for ``x/a.ome.tif``."""
    return Path(path).stem.removesuffix(".ome")


def list_sources(path: str) -> tuple[tuple[str, str], ...]:
    """Return name and source of each image in a file; more than one only for bioio.

    Raises
    ------
    PlateError
        The format needs bioio, which is not installed or can not read the file.
    """
    if not path.lower().endswith(BIOIO_SUFFIXES):
        return ((stem(path), path),)
    try:
        n_scenes = len(_bioio_image(path).scenes)
    except (PlateError, MemoryError):
        raise
    except Exception as error:  # each plug-in of bioio raises kinds of its own
        raise PlateError(f"bioio can not read {path}: {error}") from error
    if n_scenes == 1:
        return ((stem(path), path),)
    return tuple((f"{stem(path)}_{k}", f"{path}#{k}") for k in range(n_scenes))


def open_file(source: str) -> StoredImage:
    """Open one image in a file.

    Parameters
    ----------
    source
        Path; for one of several images in a file, followed by ``#`` and its number.

    Raises
    ------
    FieldError
        The file is missing or damaged, or has axes that OME has not.
    PlateError
        The format needs bioio, which is not installed.
    """
    with field_errors(f"opening {source}"):
        if source.lower().endswith(TIFF_SUFFIXES):
            return _open_tiff(source)
        if source.lower().endswith(PNG_SUFFIX):
            return _open_png(source)
        return _open_bioio(source)


@dataclass(frozen=True)
class TiffReader:
    """Reads slices along OME's axes from the first series of a TIFF file."""

    path: str
    places: tuple[int, ...]
    """Position in the file of each axis of the image."""
    is_stack: bool
    """Whether the planes are series of their own."""

    def __call__(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Return the selected pixels."""
        with tifffile.TiffFile(self.path) as tiff:
            if self.is_stack:
                planes = tiff.series[selection[0]]
                return np.stack([_read_series(s, selection[1:]) for s in planes])
            series = tiff.series[0]
            stored: list[slice | int] = [0] * len(series.shape)
            for place, part in zip(self.places, selection, strict=True):
                stored[place] = part
            data = _read_series(series, tuple(stored))
        return data.transpose(np.argsort(np.argsort(self.places)))


def _read_series(
    series: tifffile.TiffPageSeries, selection: tuple[slice | int, ...]
) -> NDArray[Any]:
    with series.aszarr(level=0) as store:
        return np.asarray(zarr.open_array(store, mode="r")[selection])


def _tiff_chunks(series: tifffile.TiffPageSeries) -> tuple[int, ...]:
    with series.aszarr(level=0) as store:
        return zarr.open_array(store, mode="r").chunks


def _open_tiff(path: str) -> StoredImage:
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        # Pages that a plain writer appended one by one are one series each.
        is_stack = len(tiff.series) > 1 and all(
            (s.axes, s.shape, s.dtype) == ("YX", series.shape, series.dtype)
            for s in tiff.series
        )
        stored_axes = series.axes
        shape, chunks = series.shape, _tiff_chunks(series)
        if is_stack:
            stored_axes = f"Z{stored_axes}"
            shape, chunks = (len(tiff.series), *shape), (1, *chunks)
        axes, places = _ome_axes(stored_axes, shape, path)
        channels, spacing = _tiff_metadata(tiff)
    return StoredImage(
        source=path,
        axes=axes,
        shape=tuple(shape[place] for place in places),
        dtype=np.dtype(series.dtype),
        chunks=tuple(chunks[place] for place in places),
        reader=TiffReader(path, places, is_stack),
        channels=channels,
        spacing_um={a: size for a, size in spacing.items() if a in axes},
    )


def _ome_axes(
    letters: str, shape: tuple[int, ...], path: str
) -> tuple[str, tuple[int, ...]]:
    """Return the axes in OME's order, and where each stands in the file."""
    places: dict[str, int] = {}
    unknown = []
    for place, letter in enumerate(letters):
        axis = "c" if letter == "S" and "C" not in letters else letter.lower()
        if axis in AXES and axis not in places:
            places[axis] = place
        elif shape[place] > 1:
            unknown.append((letter, place))
    if len(unknown) == 1 and unknown[0][0] in _UNKNOWN_AXES and "z" not in places:
        places["z"] = unknown.pop()[1]
    if unknown or not {"y", "x"} <= set(places):
        raise FieldError(
            f"{path}: expected the axes t, c, z, y, x, but the TIFF file has {letters} "
            f"with the sizes {shape}. Convert it to OME-TIFF or OME-Zarr first."
        )
    axes = "".join(axis for axis in AXES if axis in places)
    return axes, tuple(places[axis] for axis in axes)


def _tiff_metadata(
    tiff: tifffile.TiffFile,
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Return channel names and pixel sizes of OME or ImageJ metadata, else nothing."""
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_metadata(tiff.ome_metadata)
    metadata = tiff.imagej_metadata if tiff.is_imagej else None
    unit = _MICROMETRES.get(str((metadata or {}).get("unit")).lower())
    if metadata is None or unit is None:
        return (), {}
    sizes = {"z": float(metadata.get("spacing") or 0)}
    for axis, per_unit in zip("xy", tiff.pages.first.resolution, strict=True):
        sizes[axis] = 1 / per_unit if per_unit else 0.0
    return (), {axis: size * unit for axis, size in sizes.items() if size > 0}


def _ome_metadata(xml: str) -> tuple[tuple[str, ...], dict[str, float]]:
    pixels = ElementTree.fromstring(xml).find("{*}Image/{*}Pixels")
    if pixels is None:
        return (), {}
    names = tuple(c.get("Name") or "" for c in pixels.findall("{*}Channel"))
    spacing = {}
    for axis in "ZYX":
        size = pixels.get(f"PhysicalSize{axis}")
        # The OME schema makes micrometres the unit that need not be written.
        unit = _MICROMETRES.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if size is not None and unit is not None and float(size) > 0:
            spacing[axis.lower()] = float(size) * unit
    return names, spacing


@dataclass(frozen=True)
class PngReader:
    """Reads slices of a PNG file, grey or with its colours as channels."""

    path: str

    def __call__(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Return the selected pixels."""
        with Image.open(self.path) as png:
            mode = _png_mode(png.mode)
            pixels = np.asarray(png if png.mode == mode else png.convert(mode))
        return (
            np.moveaxis(pixels, -1, 0)[selection]
            if mode == "RGB"
            else pixels[selection]
        )


def _png_mode(mode: str) -> str:
    """Return the mode to read in: palettes resolved, transparency left out."""
    return {"P": "RGB", "RGBA": "RGB", "LA": "L", "1": "L"}.get(mode, mode)


def _open_png(path: str) -> StoredImage:
    with Image.open(path) as png:
        mode, (width, height) = _png_mode(png.mode), png.size
    colours = ("red", "green", "blue") if mode == "RGB" else ()
    shape = (*((3,) if colours else ()), height, width)
    dtypes = {"L": "uint8", "RGB": "uint8", "I;16": "uint16", "I": "int32"}
    if mode not in dtypes:
        raise FieldError(
            f"{path}: expected grey or RGB, found {mode}. Convert the image first."
        )
    return StoredImage(
        source=path,
        axes="cyx" if colours else "yx",
        shape=shape,
        dtype=np.dtype(dtypes[mode]),
        chunks=shape,
        reader=PngReader(path),
        channels=colours,
    )


@dataclass(frozen=True)
class BioioReader:
    """Reads slices along t, c, z, y, x of one scene that bioio opens."""

    source: str

    def __call__(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Return the selected pixels."""
        pixels = _bioio_image(self.source).get_image_dask_data("TCZYX")[selection]
        return np.asarray(pixels.compute(scheduler="synchronous"))


def _bioio_image(source: str) -> Any:
    try:
        from bioio import BioImage
    except ImportError as error:
        raise PlateError(
            f"{source}: reading ND2, CZI and LIF files needs bioio, which is not "
            "installed. Run: pip install 'deepspot-scale[readers]'"
        ) from error
    path, _, scene = source.rpartition("#")
    image = BioImage(path or source)
    if path:
        image.set_scene(int(scene))
    return image


def _open_bioio(source: str) -> StoredImage:
    image = _bioio_image(source)
    pixels = image.get_image_dask_data("TCZYX")
    sizes: Mapping[str, float | None] = dict(
        zip("zyx", image.physical_pixel_sizes, strict=True)
    )
    return StoredImage(
        source=source,
        axes=AXES,
        shape=pixels.shape,
        dtype=np.dtype(pixels.dtype),
        chunks=pixels.chunksize,
        reader=BioioReader(source),
        channels=tuple(map(str, image.channel_names or ())),
        spacing_um={axis: float(size) for axis, size in sizes.items() if size},
    )
