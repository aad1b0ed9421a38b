"""Images in single files: TIFF and PNG, and ND2, CZI and LIF through bioio.

The path of a file comes in, a StoredImage with axes in OME's order goes out. Every
read opens the file again, so that tasks can take the image to other processes. Nothing
here knows plates, or what folders mean.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deepspot_scale.io.image_files import bioio_files
from deepspot_scale.io.image_files.bioio_files import (
    count_scenes,
    is_bioio,
    open_bioio,
    split_scene,
)
from deepspot_scale.io.image_files.planes import ENDINGS, open_image
from deepspot_scale.io.stored_image import StoredImage

SUFFIXES = (*ENDINGS, *bioio_files.SUFFIXES)


def is_image_file(path: str) -> bool:
    """Return whether a file's name has the suffix of a format that is read here."""
    name = Path(split_scene(path)[0]).name
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


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
    n_scenes = count_scenes(path) if is_bioio(path) else 1
    if n_scenes == 1:
        return ((stem(path), path),)
    return tuple((f"{stem(path)}_{k}", f"{path}#{k}") for k in range(n_scenes))


def open_file(source: str) -> StoredImage:
    """Open an image file; ``#`` and a number after the path name one of its images.

    Raises FieldError if the file is missing, damaged or coloured, or has axes that are
    not OME's, and PlateError if the format needs bioio, which is not installed.
    """
    if not source.lower().endswith(ENDINGS):
        return open_bioio(source)
    with open_image(Path(source)) as image:
        stored = image.header
    known = stored.spacing_um.items()
    kept = {axis: size for axis, size in known if axis in stored.axes}
    return replace(stored, spacing_um=kept)
