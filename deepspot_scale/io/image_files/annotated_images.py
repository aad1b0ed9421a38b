"""Images with known spots: a folder of image files and a table of points.

    FOLDER/spots.csv            y, x and any of z, image, dataset, snr, sigma, group
    FOLDER/<image>              or FOLDER/images/<image>
    FOLDER/<dataset>/<image>    or FOLDER/<dataset>/original/<image>

The folder comes in; a name, a path and points for each image go out: places in the
plane, or in the stack where the table has z. Pixels are read on request. Nothing here
knows who found the points, or what they are used for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.image_files.annotated_table import SPOTS_FILE, read_points
from deepspot_scale.io.image_files.tiff_png import is_image_file, open_file
from deepspot_scale.io.stores import field_errors

IMAGES_FOLDER = "images"
Real = NDArray[np.float64]

_ORIGINALS = "original"
_PNG_COLOUR_BYTE = 25
"""Position of the colour type in a PNG file; 0 is grey."""
_WHOLE = slice(None), slice(None)


@dataclass(frozen=True)
class AnnotatedImage:
    """One image file and its true spots."""

    name: str
    """Unique in the set, such as ``dataset1/im3.png``."""
    path: Path
    points: Real
    """(n, 2), true spots (y, x) in pixels; the first pixel's centre is (0, 0). (n, 3)
    for a stack: z before them, in planes; the first plane is 0."""
    snr: Real | None
    """(n,), NaN: unknown; None: the table has no such column."""
    sigma: Real | None
    """(n,), standard deviation in pixels, NaN: unknown; None as for `snr`."""
    group: str
    """Part of the set to which the image belongs; may be empty."""

    @property
    def is_stack(self) -> bool:
        """Whether its spots have a depth, so that it must be a z-stack."""
        return self.points.shape[-1:] == (3,)

    @property
    def z_step_um(self) -> float | None:
        """Distance of a stack's planes in micrometres; None: the file has none."""
        return _find_z_step(self.path) if self.is_stack else None

    def read(self) -> NDArray[Any]:
        """Read the pixels (y, x), those of a stack (z, y, x), of the file's dtype.

        A colour PNG with equal channels is read as grey; transparency is ignored.
        Raises FieldError if the file is damaged or coloured, has several planes though
        the points have no z, or one plane though they have, or a point lies outside
        the image.
        """
        pixels = _read_stack(self.path) if self.is_stack else _read_plane(self.path)
        _check_inside(self.path, self.points, pixels.shape)
        return pixels


@dataclass(frozen=True)
class AnnotatedSet:
    """A set of images with their true spots."""

    name: str
    """The folder's name."""
    images: tuple[AnnotatedImage, ...]
    """Sorted by name; at least one."""


def read_annotated(folder: Path) -> AnnotatedSet:
    """Read the list of images in a folder and their true spots.

    Parameters
    ----------
    folder
        Contains ``spots.csv`` with one row per spot: ``y`` and ``x`` in pixels;
        ``image``, a file below the folder, below ``images``, or, if ``dataset`` is
        given, below that folder or its ``original`` (without ``image``: the folder's
        only image); ``z`` in planes, the first being 0, if images are stacks (blank
        in all rows of an image: this one is flat); ``snr`` and ``sigma``, which may be
        blank; ``group``, equal for all spots of an image. Other columns are ignored.
        Image files without rows, in ``images`` if it exists, else in the folder itself,
        are images without spots, and stacks if the table has ``z``.

    Raises
    ------
    PlateError
        The folder, table, a column or an image is missing, an image is named in two
        ways, or a value is not a number.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PlateError(f"{folder}: expected a folder of images with {SPOTS_FILE}")
    source = folder / SPOTS_FILE
    table, files = read_points(source), _list_images(folder)
    if "image" not in table:
        if len(files) != 1:
            raise PlateError(
                f"{source} has no column 'image', so one image beside it is expected, "
                f"but there are {len(files)}. Add the column."
            )
        table["image"] = files[0].name
    images = [
        _annotate(folder, rows, str(dataset), str(image))
        for (dataset, image), rows in table.groupby(["dataset", "image"], sort=False)
    ]
    named = {image.path for image in images}
    empty = table.iloc[:0]
    images += [_describe(p.name, p, empty, "") for p in files if p not in named]
    _check_images(images, folder)
    images.sort(key=lambda image: image.name)
    return AnnotatedSet(folder.resolve().name, tuple(images))


# -- the images ------------------------------------------------------------------------


def _list_images(folder: Path) -> list[Path]:
    """Return the image files that belong to the set even without rows."""
    place = folder / IMAGES_FOLDER
    files = (place if place.is_dir() else folder).iterdir()
    return sorted(path for path in files if path.is_file() and is_image_file(path.name))


def _annotate(
    folder: Path, rows: pd.DataFrame, dataset: str, image: str
) -> AnnotatedImage:
    name = Path(dataset, image)
    groups = sorted(set(rows["group"]))
    if len(groups) > 1:
        raise PlateError(
            f"{folder / SPOTS_FILE} gives {name} the groups {', '.join(groups)}; "
            "expected one group for each image"
        )
    depth = rows.get("z", pd.Series(np.nan, rows.index))
    if depth.isna().any() and depth.notna().any():
        line = rows.index[depth.isna()][0]
        raise PlateError(
            f"{folder / SPOTS_FILE}, line {line}: expected a number for z, as in other "
            f"rows of {name}, found none. Give z of all its spots, or of none."
        )
    path = _find_image(folder, dataset, image)
    return _describe(name.as_posix(), path, rows, groups[0])


def _find_image(folder: Path, dataset: str, image: str) -> Path:
    """Return the path of an image; its data set's folder is searched first."""
    if Path(dataset, image).is_absolute() or ".." in Path(dataset, image).parts:
        raise PlateError(
            f"{folder / SPOTS_FILE} names {Path(dataset, image)}; expected a path "
            "below the folder. Move the image there."
        )
    of_set = [folder / dataset / image, folder / dataset / _ORIGINALS / image]
    plain = [folder / image, folder / IMAGES_FOLDER / image]
    for places in (of_set if dataset else [], plain):
        found = [path for path in places if path.is_file()]
        if len(found) > 1:
            raise PlateError(
                f"{image} may be {found[0]} or {found[1]}. Remove or rename one."
            )
        if found:
            return found[0]
    tried = " or ".join(map(str, of_set if dataset else plain))
    raise PlateError(
        f"{folder / SPOTS_FILE} names an image that is not there; expected "
        f"{tried}. Add the file, or remove its rows."
    )


def _describe(name: str, path: Path, rows: pd.DataFrame, group: str) -> AnnotatedImage:
    deep = "z" in rows and rows["z"].notna().all()
    points = rows[[*"zyx"] if deep else [*"yx"]].to_numpy(np.float64)
    snr, sigma = (
        rows[column].to_numpy(np.float64) if column in rows else None
        for column in ("snr", "sigma")
    )
    return AnnotatedImage(name, path, points, snr, sigma, group)


def _check_images(images: Iterable[AnnotatedImage], folder: Path) -> None:
    by_name: dict[str, Path] = {}
    by_path: dict[Path, str] = {}
    for image in images:
        other = by_name.setdefault(image.name, image.path)
        alias = by_path.setdefault(image.path, image.name)
        if other != image.path:
            raise PlateError(
                f"Both {other} and {image.path} are called {image.name}. Rename one."
            )
        if alias != image.name:
            raise PlateError(
                f"{folder / SPOTS_FILE} names {image.path} in two ways, {alias} and "
                f"{image.name}. Keep one."
            )
    if not by_name:
        raise PlateError(
            f"{folder} has no images: expected TIFF or PNG files beside {SPOTS_FILE} "
            f"or in {IMAGES_FOLDER}"
        )


# -- the pixels ------------------------------------------------------------------------


def _read_plane(path: Path) -> NDArray[Any]:
    """Read the only plane (y, x) of a file.

    Raises FieldError if it has several, or is damaged or coloured.
    """
    if path.suffix.lower() == ".png" and _has_colours(path):
        return _read_equal_colours(path)
    image = open_file(str(path))
    if any(image.size(axis) > 1 for axis in image.axes[:-2]):
        raise FieldError(
            f"{path} has more than one plane ({_sizes(image)}), but its true spots "
            "are given by y and x alone. Save the plane where they were found, or the "
            "projection, as a separate image; or add the column z (planes, from 0)."
        )
    return image.plane({}, 0, _WHOLE)


def _read_stack(path: Path) -> NDArray[Any]:
    """Read the only stack (z, y, x) of a file.

    Raises FieldError if it has one plane, channels or time points, or is damaged.
    """
    one_plane = path.suffix.lower() == ".png"
    if not one_plane:
        image = open_file(str(path))
        several = [axis for axis in image.axes[:-2] if image.size(axis) > 1]
        if several == ["z"]:
            planes = range(image.size("z"))
            return np.stack([image.plane({}, z, _WHOLE) for z in planes])
        if several:
            raise FieldError(
                f"{path} has more than one axis beside y and x ({_sizes(image)}), but "
                "its true spots are given by z, y and x alone. Save the channel or "
                "time point where they were found as a separate stack."
            )
    raise FieldError(
        f"{path} has one plane, but its true spots are given by z, y and x. Save the "
        "whole stack, or remove the column z."
    )


def _find_z_step(path: Path) -> float | None:
    """Return the distance of a stack's planes in micrometres; None: not known."""
    return open_file(str(path)).spacing_um.get("z")


def _sizes(image: Any) -> str:
    return ", ".join(f"{axis} {image.size(axis)}" for axis in image.axes[:-2])


def _has_colours(path: Path) -> bool:
    with field_errors(f"opening {path}"), path.open("rb") as file:
        start = file.read(_PNG_COLOUR_BYTE + 1)
    return start[_PNG_COLOUR_BYTE:] not in {b"", b"\0"}


def _read_equal_colours(path: Path) -> NDArray[Any]:
    with field_errors(f"reading {path}"):
        stored = np.fromfile(path, np.uint8)
        pixels = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise ValueError("it is no PNG file, damaged or incomplete")
    if pixels.ndim == 2:
        return np.asarray(pixels)
    grey = pixels[..., 0]
    if any((pixels[..., channel] != grey).any() for channel in (1, 2)):
        raise FieldError(
            f"{path} is a colour image; expected one grey value per pixel. Save the "
            "channel with the spots as a grey image."
        )
    return np.ascontiguousarray(grey)


def _check_inside(
    path: Path, points: NDArray[np.float64], shape: tuple[int, ...]
) -> None:
    """Raise FieldError for points outside: pixel i covers i - 0.5 to i + 0.5."""
    low, high = -0.5, np.array(shape) - 0.5
    inside = (points >= low) & (points < high)
    outside = points[~inside.all(axis=1)]
    if len(outside) == 0:
        return
    names = ("planes", "rows", "columns")[-len(shape) :]
    sizes = [f"{size} {name}" for size, name in zip(shape, names, strict=True)]
    first = zip("zyx"[-len(shape) :], outside[0], strict=True)
    z = "z counts planes from 0, " if len(shape) == 3 else ""
    raise FieldError(
        f"{path}: {len(outside)} of {len(points)} points lie outside its "
        f"{', '.join(sizes[:-1])} and {sizes[-1]}, the first at "
        f"{', '.join(f'{axis} {value:g}' for axis, value in first)}. Points are pixels "
        f"of this image, {z}y down and x to the right."
    )
