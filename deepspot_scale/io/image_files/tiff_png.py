"""Images in single files: TIFF and PNG, and ND2, CZI and LIF through bioio.

The path of a file comes in, a StoredImage with axes in OME's order goes out. Every
read opens the file again, so that tasks can take the image to other processes. Nothing
here knows plates, or what folders mean.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deepspot_scale.errors import PlateError
from deepspot_scale.io.image_files.planes import ENDINGS, open_image
from deepspot_scale.io.stored_image import StoredImage
from deepspot_scale.io.stores import field_errors
from deepspot_scale.vocabulary import AXES

BIOIO_SUFFIXES = (".nd2", ".czi", ".lif")
SUFFIXES = (*ENDINGS, *BIOIO_SUFFIXES)


def is_image_file(path: str) -> bool:
    """Return whether a file's name has the suffix of a format that is read here."""
    name = Path(file_of(path)).name
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def file_of(source: str) -> str:
    """Return the file of an image, without the number of the image in it."""
    return _split_scene(source)[0]


def _split_scene(source: str) -> tuple[str, int | None]:
    """Return the file and the number of the image in it; names may contain # too."""
    path, _, number = source.rpartition("#")
    if path.lower().endswith(BIOIO_SUFFIXES) and number.isdecimal():
        return path, int(number)
    return source, None


def stem(path: str) -> str:
    """Return a file's name without folder and suffix: ``a`` for ``x/a.ome.tif``."""
    name = Path(path).stem.removesuffix(".ome")
    # Names from old file systems may not be valid text, which tables need.
    return name.encode("utf-8", "backslashreplace").decode()


def list_sources(path: str) -> tuple[tuple[str, str], ...]:
    """Return name and source of each image in a file; only bioio finds several.

    Raises PlateError if the format needs bioio, which is not installed or cannot read
    the file.
    """
    if not path.lower().endswith(BIOIO_SUFFIXES):
        return ((stem(path), path),)
    try:
        n_scenes = len(_bioio_image(path).scenes)
    except (PlateError, MemoryError):
        raise
    except Exception as error:  # each plug-in of bioio raises its own kinds
        raise PlateError(f"bioio cannot read {path}: {error}") from error
    if n_scenes == 1:
        return ((stem(path), path),)
    return tuple((f"{stem(path)}_{k}", f"{path}#{k}") for k in range(n_scenes))


def open_file(source: str) -> StoredImage:
    """Open an image file; ``#`` and a number after the path name one of its images.

    Raises FieldError if the file is missing, damaged or coloured, or has axes that are
    not OME's, and PlateError if the format needs bioio, which is not installed.
    """
    if not source.lower().endswith(ENDINGS):
        with field_errors(f"opening {source}"):
            return _open_bioio(source)
    with open_image(Path(source)) as image:
        stored = image.header
    known = stored.spacing_um.items()
    kept = {axis: size for axis, size in known if axis in stored.axes}
    return replace(stored, spacing_um=kept)


def _read_bioio(source: str, selection: tuple[slice, ...]) -> Any:
    """Read slices along t, c, z, y, x of one scene through bioio."""
    pixels = _bioio_image(source).get_image_dask_data("TCZYX")[selection]
    return pixels.compute(scheduler="synchronous")


def _bioio_image(source: str) -> Any:
    try:
        from bioio import BioImage
    except ImportError as error:
        raise PlateError(
            f"{source}: reading ND2, CZI and LIF files needs bioio, which is not "
            "installed. Run: pip install 'deepspot-scale[readers]'"
        ) from error
    path, scene = _split_scene(source)
    image = BioImage(path)
    if scene is not None:
        image.set_scene(scene)
    return image


def _open_bioio(source: str) -> StoredImage:
    image = _bioio_image(source)
    pixels = image.get_image_dask_data("TCZYX")
    sizes = zip("zyx", image.physical_pixel_sizes, strict=True)
    return StoredImage(
        source=source,
        axes=AXES,
        shape=pixels.shape,
        dtype=np.dtype(pixels.dtype),
        chunks=pixels.chunksize,
        reader=partial(_read_bioio, source),
        channels=tuple(map(str, image.channel_names or ())),
        spacing_um={axis: float(size) for axis, size in sizes if size},
    )
