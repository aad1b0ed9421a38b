"""Images with known spots: a folder of image files and a table of points.

    FOLDER/spots.csv            y, x and any of image, dataset, snr, sigma, group
    FOLDER/<image>              or FOLDER/images/<image>
    FOLDER/<dataset>/<image>    or FOLDER/<dataset>/original/<image>

The folder comes in; a name, a path and points for each image go out. Pixels are read
on request. Nothing here knows who found the points, or what they are used for.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.image_files.tiff_png import is_image_file, open_file
from deepspot_scale.io.stores import field_errors
from deepspot_scale.tables import read_word

SPOTS_FILE = "spots.csv"
IMAGES_FOLDER = "images"
Real = NDArray[np.float64]

_ORIGINALS = "original"
_PNG_COLOUR_BYTE = 25
"""Position of the colour type in a PNG file; 0 is grey."""


@dataclass(frozen=True)
class AnnotatedImage:
    """One image file and its true spots."""

    name: str
    """Unique in the set, such as ``dataset1/im3.png``."""
    path: Path
    points: Real
    """(n, 2), true spots (y, x) in pixels; the first pixel's centre is (0, 0)."""
    snr: Real | None
    """(n,), NaN: unknown; None: the table has no such column."""
    sigma: Real | None
    """(n,), standard deviation in pixels, NaN: unknown; None as for `snr`."""
    group: str
    """Part of the set to which the image belongs; may be empty."""

    def read(self) -> NDArray[Any]:
        """Read the pixels (y, x), of the file's dtype.

        A colour PNG with equal channels is read as grey; transparency is ignored.
        Raises FieldError if the file is damaged or coloured, has several planes, or a
        point lies outside the image.
        """
        plane = _read_plane(self.path)
        _check_inside(self, plane.shape)
        return plane


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
        only image); ``snr`` and ``sigma``, which may be blank; ``group``, equal for all
        spots of an image. Other columns are ignored. Image files without rows, in
        ``images`` if it exists, else in the folder itself, are images without spots.

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
    table, files = _read_table(source), _list_images(folder)
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


# -- the table -------------------------------------------------------------------------


def _read_table(path: Path) -> pd.DataFrame:
    """Return the rows, indexed by line number, with points and sizes as numbers."""
    if not path.is_file():
        raise PlateError(
            f"{path.parent} has no {SPOTS_FILE}: expected a table of true spots with "
            "the columns y, x and image. If a program writes the set, it has not "
            "finished yet."
        )
    table = _read_texts(path)
    _check_columns(table, path)
    for name in {"y", "x", "snr", "sigma"} & set(table):
        table[name] = _read_numbers(table[name], path, blank=name in {"snr", "sigma"})
    if "image" in table and (table["image"] == "").any():
        line = table.index[table["image"] == ""][0]
        raise PlateError(f"{path}, line {line}: expected an image's name, found none")
    return table.assign(dataset=table.get("dataset", ""), group=table.get("group", ""))


def _read_texts(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skip_blank_lines=False,
        )
    except (ValueError, OSError) as error:
        raise PlateError(f"{path} is no CSV table in UTF-8: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise PlateError(f"{path}: its rows have more values than it has columns")
    table.index += 2  # the header is line 1
    table.columns = [str(name).strip().lower() for name in table.columns]
    table = table.apply(lambda column: column.str.strip().map(read_word))
    kept: pd.DataFrame = table[(table != "").any(axis=1)].copy()
    return kept


def _check_columns(table: pd.DataFrame, path: Path) -> None:
    columns = [str(name) for name in table.columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise PlateError(f"{path} has the column {twice[0]!r} twice. Remove one.")
    for name in ("y", "x", *(["image"] if "dataset" in columns else [])):
        if name not in columns:
            near = difflib.get_close_matches(name, columns, 1, 0.1)
            hint = f"Is it {near[0]!r}? Then rename that." if near else "Add it."
            raise PlateError(
                f"{path} has no column {name!r}; its columns are "
                f"{', '.join(columns)}. {hint}"
            )


def _read_numbers(texts: pd.Series[str], path: Path, *, blank: bool) -> list[float]:
    """Return finite numbers; NaN for blank ones if these are allowed."""
    values = [_read_number(text) for text in texts]
    unknown = {"", "nan"} if blank else set[str]()
    for line, text, value in zip(texts.index, texts, values, strict=True):
        if not (math.isfinite(value) or text.lower() in unknown):
            raise PlateError(
                f"{path}, line {line}: expected a number for {texts.name}, found "
                f"{text!r}. Correct or remove the row."
            )
    return values


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


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
    points = rows[["y", "x"]].to_numpy(np.float64)
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
    if path.suffix.lower() == ".png" and _has_colours(path):
        return _read_equal_colours(path)
    image = open_file(str(path))
    sizes = [f"{axis} {image.size(axis)}" for axis in image.axes[:-2]]
    if any(image.size(axis) > 1 for axis in image.axes[:-2]):
        raise FieldError(
            f"{path} has more than one plane ({', '.join(sizes)}), but its true spots "
            "are given by y and x alone. Save the plane where they were found, or the "
            "projection, as a separate image."
        )
    return image.plane({}, 0, (slice(None), slice(None)))


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


def _check_inside(image: AnnotatedImage, shape: tuple[int, ...]) -> None:
    """Raise FieldError for points outside: pixel i covers i - 0.5 to i + 0.5."""
    low, high = -0.5, np.array(shape) - 0.5
    inside = (image.points >= low) & (image.points < high)
    outside = image.points[~inside.all(axis=1)]
    if len(outside):
        y, x = outside[0]
        raise FieldError(
            f"{image.path}: {len(outside)} of {len(image.points)} points lie outside "
            f"its {shape[0]} rows and {shape[1]} columns, the first at y {y:g}, x "
            f"{x:g}. Points are pixels of this image, y down and x to the right."
        )
