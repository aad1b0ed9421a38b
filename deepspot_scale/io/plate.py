"""Plates, images and folders of images, all opened as a mapping of fields.

A path or URL comes in: of an OME-Zarr plate (0.4 or 0.5), an OME-Zarr image, several
images in bioformats2raw's layout, a plain Zarr array, an image file or a folder of
image files. Entries and lazy xarray trees go out. Only the metadata of plate and wells
are read here; those of a field are read when it is opened.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import xarray as xr
import zarr

from deepspot_scale.errors import FieldError, InputWarning, PlateError
from deepspot_scale.io.absent_chunks import (
    describe_absent,
    find_absent,
    name_absent,
)
from deepspot_scale.io.conversion.schemes import find_aside
from deepspot_scale.io.field import Field, FieldEntry, open_field
from deepspot_scale.io.image_files import tiff_png
from deepspot_scale.io.lost_labels import Absent
from deepspot_scale.io.ome_zarr import metadata
from deepspot_scale.io.source_digest import list_source
from deepspot_scale.io.stores import (
    ZARR_DOCUMENTS,
    Source,
    ZarrFormat,
    is_safe_path,
    is_url,
    join,
    open_node,
    source_text,
)
from deepspot_scale.io.trust import Trust, trust_words
from deepspot_scale.vocabulary import UNKNOWN, FieldAddress

__all__ = ["Field", "FieldEntry", "Plate", "open_field", "open_plate"]

_THREADS = 16
"""Wells read in parallel, since reading waits for disks and networks."""


@dataclass(frozen=True)
class Plate(Mapping[str, xr.DataTree]):
    """The fields of a plate by path, such as ``B/03/0``; read only on request.

    For an image outside a plate the path is the image's name.
    """

    source: str
    """Path or URL of the plate."""
    name: str
    """Stored name, or the folder's name."""
    entries: tuple[FieldEntry, ...]
    """All fields in plate order: by row, by column, then as listed in the well."""
    missing: tuple[str, ...] = ()
    """Paths of listed wells whose metadata are absent or damaged."""

    @cached_property
    def _by_path(self) -> dict[str, FieldEntry]:
        return {entry.address.path: entry for entry in self.entries}

    def open(self, path: str) -> Field:
        """Open one field; reads its metadata, not its pixels.

        Raises
        ------
        FieldError
            The plate has no such field, or its metadata are damaged.
        """
        if path not in self._by_path:
            raise FieldError(self._unknown(path))
        return open_field(self._by_path[path])

    def _unknown(self, path: str) -> str:
        near = difflib.get_close_matches(path, self._by_path, 1, 0.0)
        return f"{self.source} has no field {path!r}; the nearest is {near[0]!r}"

    def __getitem__(self, path: str) -> xr.DataTree:
        """Return one field as a lazy tree.

        An `InputWarning` counts chunks that are not stored: they read as black.

        Returns
        -------
        DataTree
            Variable ``image`` with axes in OME's order, a Dask array with one chunk
            per stored piece. Coordinates: channel names; y, x and z in micrometres, in
            pixels if their size is unknown; numbers of t. Each child
            ``labels/<name>`` has the variable ``labels`` on the image's grid.

        Raises
        ------
        KeyError
            The plate has no such field.
        FieldError
            Its metadata are damaged.
        """
        if path not in self._by_path:
            raise KeyError(self._unknown(path))
        return xr.DataTree.from_dict(
            self._datasets(path), name=path.rsplit("/", maxsplit=1)[-1]
        )

    def _datasets(self, path: str) -> dict[str, xr.Dataset]:
        """Return a field's datasets; a warning counts the chunks that are absent."""
        found = self.find_absent(path)
        text = name_absent(found)
        if text:
            text = f"{path}: {text} are not stored, and read as black"
        elif None in found.values():
            text = f"{self.source}: {describe_absent(UNKNOWN)}"
        if text:
            warnings.warn(text, InputWarning, stacklevel=3)
        return self.open(path).to_datasets()

    def find_absent(self, path: str) -> dict[str, Absent | None]:
        """Return the chunks of a field's image and of all its labels that are absent.

        See `absent_chunks.find_absent`. Raises FieldError if metadata are damaged.
        """
        field = self.open(path)
        listing = list_source(field, field.label_names)
        return find_absent(field, listing, range(len(field.channels)))

    def __contains__(self, path: object) -> bool:
        return path in self._by_path

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_path)

    def __len__(self) -> int:
        return len(self.entries)

    def to_datatree(self) -> xr.DataTree:
        """Return all fields as one lazy tree of rows, columns and fields.

        Reads the metadata of every field, which takes a few milliseconds each.
        """
        datasets = {
            f"{path}/{below}".rstrip("/"): dataset
            for path in self
            for below, dataset in self._datasets(path).items()
        }
        return xr.DataTree.from_dict(datasets, name=self.name or None)


def open_plate(source: Source, *, trust: Iterable[str] = ()) -> Plate:
    """Open a plate, an image or a folder of images without reading pixels.

    Parameters
    ----------
    source
        Path, or any URL that fsspec opens, of an OME-Zarr plate or image (0.4 or
        0.5), of several images in bioformats2raw's layout, or of a plain Zarr array;
        or the path of an image file (TIFF, PNG; ND2, CZI and LIF with the extra
        ``readers``), or of a folder of image files.
    trust
        What is not checked, if you know where the files come from: ``links`` that lead
        out of a plate, ``sizes`` of chunks that unpack to more than is declared or are
        stored with an unusual codec, ``holes``, images with hardly any chunk stored.

    Returns
    -------
    Plate
        Its `missing` names listed wells that cannot be read.

    Warns
    -----
    InputWarning
        Thumbnails or calibration images of a folder are left out.

    Raises
    ------
    PlateError
        There is none of these, or its metadata are damaged or unsafe.
    """
    text, words = source_text(source), trust_words(trust)
    plate = _open(text if is_url(text) else os.path.abspath(text), words)
    entries = tuple(replace(entry, trust=words) for entry in plate.entries)
    return replace(plate, entries=entries)


def _open(text: str, trust: frozenset[str]) -> Plate:
    if not is_url(text):  # absolute: tasks may have another working directory
        if not os.path.exists(text):
            raise PlateError(f"there is no file or folder {text}. Check the path.")
        if os.path.isfile(text):
            return _open_files(text, [text])
        if not any(os.path.exists(join(text, name)) for name in ZARR_DOCUMENTS):
            return _open_folder(text)
    with _plate_errors():
        return _open_zarr(text, Trust(trust, "" if is_url(text) else text))


@contextmanager
def _plate_errors() -> Iterator[None]:
    """Turn what is not to be opened into an error of the whole plate."""
    try:
        yield
    except FieldError as error:
        raise PlateError(str(error)) from error


def _open_folder(source: str) -> Plate:
    if not os.path.isdir(source):
        raise PlateError(f"{source} is neither a file nor a folder; it was not opened.")
    listed = sorted(os.listdir(source))
    names = [name for name in listed if tiff_png.is_image_file(name)]
    if not names:
        raise PlateError(
            f"{source} is no Zarr hierarchy and holds no image files "
            f"({', '.join(tiff_png.SUFFIXES)}). Give a plate, an image or such a "
            "folder."
        )
    kept = leave_aside(names, source)
    return _open_files(source, [join(source, name) for name in kept])


def leave_aside(names: Sequence[str], source: str) -> list[str]:
    """Return the names of images, without those of thumbnails and calibration.

    Those are left out as `convert` does, and an InputWarning counts them.
    """
    aside = find_aside(names)
    if aside:
        warnings.warn(
            f"{source}: left out {len(aside)} of {len(names)} files, such as "
            f"{aside[0]}: by their names they are thumbnails or calibration images",
            InputWarning,
            stacklevel=2,
        )
    return [name for name in names if name not in set(aside)]


def _open_files(source: str, paths: list[str]) -> Plate:
    entries: dict[str, FieldEntry] = {}
    for path in paths:
        if path.lower().endswith(".zip"):
            raise PlateError(
                f"{path} is a ZIP file. Unpack it, or give zip://::file://{path}, with "
                "the plate's folder in the file, if there is one, behind zip://."
            )
        if not tiff_png.is_image_file(path):
            raise PlateError(
                f"{path} is no image file ({', '.join(tiff_png.SUFFIXES)}) and no Zarr "
                "hierarchy. Convert it first."
            )
        for name, image in tiff_png.list_sources(path):
            if name in entries:
                raise PlateError(
                    f"{path} and {entries[name].source} would both be the field "
                    f"{name}. Rename one of them."
                )
            entries[name] = FieldEntry(FieldAddress("", "", name), image)
    return Plate(source, _base_name(source), tuple(entries.values()))


def _base_name(source: str) -> str:
    name = Path(source.rpartition("://")[2]).name
    return name.removesuffix(".zarr").removesuffix(".ome") or "image"


def _open_zarr(source: str, trust: Trust) -> Plate:
    try:
        node = open_node(source, trust=trust)
    except FieldError:
        raise
    except FileNotFoundError as error:
        raise PlateError(f"{error}. Check the path.") from error
    except Exception as error:  # zarr raises many kinds on damaged metadata
        raise PlateError(
            f"the Zarr metadata of {source} cannot be read: {error}. Copy it again."
        ) from error
    name = _base_name(source)
    if isinstance(node, zarr.Array):
        return Plate(source, name, (FieldEntry(FieldAddress("", "", name), source),))
    zarr_format = node.metadata.zarr_format
    block = metadata.read_block(node)
    if "plate" in block:
        return _open_wells(source, node, trust)
    if "multiscales" in block:
        return Plate(source, name, (FieldEntry(FieldAddress("", "", name), source),))
    if "bioformats2raw.layout" in block:
        return _open_series(source, zarr_format, trust)
    raise PlateError(
        f"{source} is a Zarr v{zarr_format} group without the metadata of an OME-Zarr "
        f"plate or image {'0.4' if zarr_format == 2 else '0.5'}; it has "
        f"{', '.join(sorted(block)) or 'none'}. Give the plate's folder itself."
    )


def _open_wells(source: str, node: zarr.Group, trust: Trust) -> Plate:
    name, wells = metadata.parse_plate(node, source)
    zarr_format = node.metadata.zarr_format
    read = partial(_read_well, source, zarr_format=zarr_format, trust=trust)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = dict(zip(wells, pool.map(read, wells), strict=True))
    entries = []
    for well, fields in found.items():
        for path, acquisition in fields or ():
            row, column = well.split("/")
            address = FieldAddress(row, column, path)
            image = join(source, well, path)
            entries.append(FieldEntry(address, image, acquisition))
    if not entries:
        raise PlateError(
            f"{source} lists {len(wells)} wells, but none with fields could be read. "
            "Check that the plate was copied completely."
        )
    missing = tuple(well for well, fields in found.items() if fields is None)
    return Plate(source, name or _base_name(source), tuple(entries), missing)


def _read_well(
    source: str, well: str, *, zarr_format: ZarrFormat, trust: Trust
) -> tuple[tuple[str, int], ...] | None:
    """Return path and acquisition of a well's fields; None: it cannot be read."""
    path = join(source, well)
    try:
        node = open_node(path, zarr_format, trust)
    except FieldError:  # not to be opened
        raise
    except Exception:  # absent or damaged, in zarr's many kinds; named in `missing`
        return None
    return metadata.parse_well(node, path)


def _open_series(source: str, zarr_format: ZarrFormat, trust: Trust) -> Plate:
    """Open bioformats2raw's layout: the images that OME/ lists, else 0, 1, 2, ..."""
    paths = _listed_series(source, zarr_format, trust)
    if paths is None:
        paths = []
        while _is_group(join(source, str(len(paths))), zarr_format, trust):
            paths.append(str(len(paths)))
    if not paths:
        raise PlateError(f"{source} has bioformats2raw's layout but holds no images.")
    entries = [
        FieldEntry(FieldAddress("", "", path), join(source, path)) for path in paths
    ]
    return Plate(source, _base_name(source), tuple(entries))


def _listed_series(
    source: str, zarr_format: ZarrFormat, trust: Trust
) -> list[str] | None:
    if not _is_group(join(source, "OME"), zarr_format, trust):
        return None
    block = metadata.read_block(open_node(join(source, "OME"), zarr_format, trust))
    series = block.get("series")
    if not isinstance(series, list):
        return None
    if not all(is_safe_path(path) and "/" not in path for path in series):
        raise PlateError(f"{source}: expected series such as 0, found {series}.")
    return [str(path) for path in series]


def _is_group(source: str, zarr_format: ZarrFormat, trust: Trust) -> bool:
    try:
        return isinstance(open_node(source, zarr_format, trust), zarr.Group)
    except FieldError:  # not to be opened
        raise
    except Exception:  # absent or damaged, in zarr's many kinds
        return False
