"""Images in ND2, CZI and LIF files, through bioio.

The path of a file comes in, with ``#`` and a number for one of its images; a
StoredImage goes out. Axes that OME does not have, and colours, are refused: bioio would
give the first of them without a word.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.image_files.nd2_frames import read_nd2
from deepspot_scale.io.stored_image import StoredImage, colour_error
from deepspot_scale.io.stores import field_errors
from deepspot_scale.io.trust import check_file
from deepspot_scale.plugins import install_line
from deepspot_scale.vocabulary import AXES

SUFFIXES = (".nd2", ".czi", ".lif")

_LIF_AXES = "TCZYXM"
"""Axes in LIF files that bioio reads; M are tiles, which it puts together."""
_CZI_AXES = f"{_LIF_AXES}S"
"""The same in CZI files; S are scenes."""


def is_bioio(source: str) -> bool:
    """Return whether bioio reads a file, or the image in it that `source` names."""
    return split_scene(source)[0].lower().endswith(SUFFIXES)


def split_scene(source: str) -> tuple[str, int | None]:
    """Return the file and the number of the image in it; names may contain # too."""
    path, _, number = source.rpartition("#")
    if path.lower().endswith(SUFFIXES) and number.isdecimal():
        return path, int(number)
    return source, None


def count_scenes(path: str) -> int:
    """Return the number of images in a file.

    Raises PlateError if bioio is not installed, cannot read the file, or finds fewer
    images than the file says it has.
    """
    try:
        image = _open(path)
        n_scenes = len(image.scenes)
        stated = _stated_sizes(path, image).get("S", 1)
    except (PlateError, MemoryError):
        raise
    except Exception as error:  # each plug-in of bioio raises its own kinds
        raise PlateError(f"bioio cannot read {path}: {error}") from error
    if stated > n_scenes:
        raise PlateError(
            f"{path} says that it has {stated} scenes, but bioio finds {n_scenes}. "
            "Export the scenes as separate files."
        )
    return n_scenes


def open_bioio(source: str) -> StoredImage:
    """Open one image without reading its pixels.

    Raises FieldError if the file is damaged, or the image is coloured or has other axes
    than OME's, and PlateError if bioio is not installed.
    """
    with field_errors(f"opening {source}"):
        image = _open(source)
        _check_axes(source, dict(zip(image.dims.order, image.dims.shape, strict=True)))
        _check_axes(source, _stated_sizes(source, image), _CZI_AXES)
        _check_lif(source)
        pixels = image.get_image_dask_data("TCZYX")
        sizes = zip("zyx", image.physical_pixel_sizes, strict=True)
        return StoredImage(
            source=source,
            axes=AXES,
            shape=pixels.shape,
            dtype=np.dtype(pixels.dtype),
            chunks=pixels.chunksize,
            reader=partial(_read, source),
            channels=tuple(map(str, image.channel_names or ())),
            spacing_um={axis: float(size) for axis, size in sizes if size},
        )


def _read(source: str, selection: tuple[slice, ...]) -> Any:
    """Read slices along t, c, z, y, x of one scene through bioio, of ND2 directly."""
    path, scene = split_scene(source)
    if path.lower().endswith(".nd2"):
        check_file(path)
        return read_nd2(path, scene or 0, selection)
    pixels = _open(source).get_image_dask_data("TCZYX")[selection]
    return pixels.compute(scheduler="synchronous")


def _open(source: str) -> Any:
    try:
        from bioio import BioImage
    except ImportError as error:
        raise PlateError(
            f"{source}: reading ND2, CZI and LIF files needs bioio, which is not "
            f"installed. Run: {install_line('readers')}"
        ) from error
    path, scene = split_scene(source)
    check_file(path)
    image = BioImage(path)
    if scene is not None:
        image.set_scene(scene)
    return image


def _stated_sizes(source: str, image: Any) -> dict[str, int]:
    """Return the axes that a CZI file states; of phases (H) bioio reads the first."""
    if not split_scene(source)[0].lower().endswith(".czi"):
        return {}
    sizes = image.metadata.iterfind(".//Information/Image/*")
    return {
        size.tag[-1]: int(size.text)
        for size in sizes
        if len(size.tag) == len("SizeX") and size.tag.startswith("Size")
    }


def _check_lif(source: str) -> None:
    """Raise FieldError for scans that bioio describes, but cannot read."""
    path, scene = split_scene(source)
    if path.lower().endswith(".lif"):
        from liffile import LifFile  # comes with bioio-lif

        with LifFile(path) as file:
            _check_axes(source, dict(file.images[scene or 0].sizes), _LIF_AXES)


def _check_axes(source: str, sizes: dict[str, int], allowed: str = "TCZYX") -> None:
    if sizes.get("S", 1) > 1 and "S" not in allowed:
        raise colour_error(source)
    others = [axis for axis, n in sizes.items() if n > 1 and axis not in allowed]
    lacking = [axis for axis in "YX" if sizes and axis not in sizes]
    if others or lacking:
        what = f"has the axis {others[0]}" if others else f"has no axis {lacking[0]}"
        listed = ", ".join(f"{axis} {n}" for axis, n in sizes.items())
        raise FieldError(
            f"{source} {what} (its axes are {listed}); expected t, c, z, y, x. Export "
            "the planes to analyse as a separate image."
        )
