"""Pairs of image files: two folders with files of the same names in, planes out.

    FOLDER/images/a.png   FOLDER/labels/a.png      objects and their truth
    FOLDER/noisy/a.tif    FOLDER/clean/a.tif       noisy images and clean ones

Endings may differ. Pixels are read on request, as they are stored. Nothing here knows
what is done with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.image_files.tiff_png import is_image_file, open_file, stem


@dataclass(frozen=True)
class FilePair:
    """Two files of one name."""

    name: str
    """The name without its ending."""
    first: Path
    second: Path

    def read(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return both planes (y, x).

        Raises FieldError if a file cannot be read or is no single plane, or the planes
        have different shapes.
        """
        one, other = read_plane(self.first), read_plane(self.second)
        if one.shape != other.shape:
            raise FieldError(
                f"{self.first} has {one.shape} pixels and {self.second} {other.shape}; "
                "expected two images of one place"
            )
        return one, other


def has_pairs(folder: Path, first: str, second: str) -> bool:
    """Return whether both folders are there."""
    return (folder / first).is_dir() and (folder / second).is_dir()


def list_pairs(folder: Path, first: str, second: str) -> tuple[FilePair, ...]:
    """Return the pairs of two folders in the order of their names.

    Raises
    ------
    PlateError
        A folder is missing or empty, a file has no partner, or two have one name.
    """
    if not has_pairs(folder, first, second):
        raise PlateError(
            f"{folder}: expected the folders {first}/ and {second}/ with files of the "
            "same names"
        )
    files = [_by_name(folder / each) for each in (first, second)]
    alone = sorted(set(files[0]) ^ set(files[1]))
    if alone:
        raise PlateError(
            f"{folder}: {len(alone)} files are in {first}/ or {second}/ alone, such as "
            f"{alone[0]}; give each file its partner, or remove it"
        )
    if not files[0]:
        raise PlateError(f"{folder / first} has no image files")
    return tuple(FilePair(name, files[0][name], files[1][name]) for name in files[0])


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not is_image_file(path.name):
            continue
        name = stem(str(path))
        if name in found:
            raise PlateError(f"{found[name]} and {path} have one name; rename one")
        found[name] = path
    return found


def read_plane(path: Path) -> NDArray[Any]:
    """Return the one plane (y, x) of an image file; FieldError if it is none."""
    stored = open_file(str(path))
    sizes = {axis: stored.size(axis) for axis in "tcz"}
    if any(n != 1 for n in sizes.values()):
        raise FieldError(f"{path}: expected one plane, got {sizes}")
    return np.asarray(stored.plane({}, "max", (slice(None), slice(None))))
