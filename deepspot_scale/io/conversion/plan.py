"""Plans which files of a folder form which field of a plate, from names alone.

A folder of images, and optionally one of masks, come in; a `ConversionPlan` goes out,
in which every file has exactly one place or is listed as unmatched. Two files for one
place, an incomplete stack and a mask without image are errors before anything is
written. Only files that may hold several images are opened, to count these.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from deepspot_scale.errors import PlateError, SettingsError
from deepspot_scale.io.conversion import filenames
from deepspot_scale.io.conversion.field_files import (
    FieldFiles,
    ImageFile,
    check_complete,
    check_depths,
    iter_lacking,
)
from deepspot_scale.io.conversion.filenames import Place, natural_order
from deepspot_scale.io.conversion.mask_files import MaskFile, place_masks
from deepspot_scale.io.conversion.schemes import Scheme, find_doubt, is_thumbnail
from deepspot_scale.io.image_files.planes import Pages
from deepspot_scale.io.image_files.tiff_png import SUFFIXES, is_image_file, list_sources
from deepspot_scale.io.ome_zarr.metadata import Version
from deepspot_scale.vocabulary import FieldAddress

_MASK_NAME = re.compile(r"_masks?\.[^./]+$", re.IGNORECASE)
FILE_COLUMNS = ("kind", "file", "row", "column", "field", "channel", "t", "z")
"""Columns of the table of files. Kind: image, mask, unmatched; channel: or label."""
Projection = Literal["max", "mean", "none"]


@dataclass(frozen=True)
class Conversion:
    """Checked settings of a conversion."""

    pattern: str | None = None
    r"""Regular expression with named groups row, column (or both as ``well``), field,
    channel, z, t, searched in each path below the folder; None: infer."""
    masks: Path | None = None
    """Folder of label images, named ``<image>_<label>.tif`` or ``<label>/<image>.tif``;
    ``<image>`` may omit the channel or end after the field."""
    pixel_size_um: float | None = None
    """Edge of a pixel in micrometres; None: from the files, if they state it."""
    project: Projection = "none"
    """Projection over z: maximum, mean (stored as float32), or none."""
    pages: Pages = "z"
    """Axis of the pages of a multi-page TIFF without metadata."""
    version: Version = "0.5"
    """Version of OME-Zarr: 0.4 is Zarr v2, 0.5 is Zarr v3."""
    chunk: int = 512
    """Edge of a stored chunk in pixels."""
    shard: int | None = None
    """Edge of a shard in pixels, a multiple of `chunk`; None: no shards."""

    def __post_init__(self) -> None:
        """Check the settings once."""
        if self.pattern is not None:
            filenames.check_pattern(self.pattern)
        if self.masks is not None:
            # Absolute, because a worker may have another working directory.
            object.__setattr__(self, "masks", Path(self.masks).resolve())
        words = {"project": Projection, "pages": Pages, "version": Version}
        for name, kind in words.items():
            if getattr(self, name) not in get_args(kind):
                raise SettingsError(
                    f"{name} is one of {', '.join(get_args(kind))}, "
                    f"not {getattr(self, name)!r}."
                )
        if self.pixel_size_um is not None and not 0 < self.pixel_size_um < 1e6:
            raise SettingsError(
                f"A pixel size is a number of micrometres above 0, "
                f"not {self.pixel_size_um}."
            )
        if self.chunk < 1:
            raise SettingsError(f"A chunk is at least 1 pixel, not {self.chunk}.")
        if self.shard is not None and (
            self.version == "0.4" or self.shard < 1 or self.shard % self.chunk
        ):
            raise SettingsError(
                f"Shards need version 0.5 and an edge that is a multiple of the chunk "
                f"({self.chunk}), not {self.shard} with version {self.version}."
            )


@dataclass(frozen=True)
class ConversionPlan:
    """Every file of a folder: in a field, or unmatched."""

    folder: Path
    scheme: str
    """Name of the scheme that matched the names."""
    pattern: str | None
    """Its regular expression; None: each file is a field."""
    fields: tuple[FieldFiles, ...]
    """In plate order: row, column, field."""
    unmatched: tuple[str, ...]
    """Image files below the folder that belong to no field."""
    notes: tuple[str, ...] = ()
    """What the user must know: files left out, and why."""

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield the `FILE_COLUMNS` of every file."""
        for field in self.fields:
            a = (field.address.row, field.address.column, field.address.field)
            for image in field.images:
                place = (image.channel, str(image.t), str(image.z))
                yield ("image", image.path, *a, *place)
            for mask in field.masks:
                index = ("" if i is None else str(i) for i in (mask.t, mask.z))
                yield ("mask", mask.path, *a, mask.label, *index)
        for path in self.unmatched:
            yield ("unmatched", path, *[""] * 6)


def plan_conversion(
    folder: Path, conversion: Conversion | None = None
) -> ConversionPlan:
    """Plan which files form which field, from their names.

    Subfolders are searched too, except the folder of masks. If no name looks like a
    well, each file is a field of well A01.

    Raises PlateError if there are no images, names cannot be parsed, two files have the
    same place, a stack is incomplete, or a mask belongs to no field or to several.
    """
    conversion = conversion or Conversion()
    folder = Path(folder)
    names = _image_names(folder, conversion.masks)
    thumbnails = [name for name in names if is_thumbnail(name)]
    images = [name for name in names if not is_thumbnail(name)]
    places, scheme, pattern = _places(images or names, conversion.pattern)
    _refuse_masks(names)
    marked = scheme is not None and scheme.zero_is_projection
    projections = _projections(places) if marked else []
    for name in projections:
        del places[name]
    masks: dict[FieldAddress, tuple[MaskFile, ...]] = {}
    if conversion.masks is not None:
        masks = place_masks(_image_names(conversion.masks, None), places, pattern)
        _check_projection(masks.values(), conversion.project)
    fields = _fields(places, masks, conversion.project, zero_is_projection=marked)
    if scheme and scheme.is_plain:
        doubt = find_doubt(list(places), [field.channels for field in fields])
        if doubt:
            raise PlateError(
                f"The names, read as {scheme.example}, are not clear: {doubt} "
                f"{filenames.ask_for_pattern(images)}"
            )
    left_out = {*thumbnails, *projections}
    others = [name for name in names if name not in places and name not in left_out]
    notes = [
        *_left_out(thumbnails, "the name says that it is a thumbnail"),
        *_left_out(projections, "it is the projection of planes that are there too"),
        *_left_out(others, "the pattern does not match the name"),
        *iter_lacking(fields),
    ]
    if pattern is None:
        notes.append(
            f"No name has a well, so each of {len(places)} images became a field of "
            f"well A01. {filenames.ask_for_pattern(images)}"
        )
    unmatched = tuple(name for name in names if name not in places)
    name = (
        scheme.name
        if scheme
        else "the pattern given"
        if pattern
        else "one field per file"
    )
    return ConversionPlan(folder, name, pattern, fields, unmatched, tuple(notes))


def _left_out(names: Sequence[str], reason: str) -> Iterator[str]:
    if names:
        yield f"left out {len(names)} files, such as {names[0]}: {reason}"


def _image_names(folder: Path, masks: Path | None) -> list[str]:
    """Return the images below a folder, as paths relative to it, without masks.

    One of several images in a file has ``#`` and its number at the end.
    """
    if not folder.is_dir():
        raise PlateError(f"Expected a folder of images, not {folder}.")
    if masks is not None and folder.resolve().is_relative_to(masks):
        raise PlateError(
            f"The masks' folder {masks} also holds the images of {folder}. Put the "
            f"masks into a folder of their own, for example {folder / 'masks'}."
        )
    names = [
        Path(source).relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if is_image_file(path.name)
        and not (masks and path.resolve().is_relative_to(masks))
        and path.is_file()
        for _, source in list_sources(str(path))
    ]
    if not names:
        kinds = ", ".join(SUFFIXES)
        raise PlateError(f"{folder} contains no images; expected files in {kinds}.")
    return sorted(names, key=natural_order)


def _refuse_masks(names: Sequence[str]) -> None:
    """Raise PlateError for masks among the images, where Cellpose saves them."""
    found = [name for name in names if _MASK_NAME.search(name)]
    if found:
        raise PlateError(
            f"{len(found)} files such as {found[0]} look like masks. Put them into a "
            "folder of their own, in its sub-folder cells/ or nuclei/, and give it as "
            "--masks."
        )


def _places(
    names: Sequence[str], pattern: str | None
) -> tuple[dict[str, Place], Scheme | None, str | None]:
    """Return the places of the matched names, and the scheme and its pattern."""
    scheme = None
    if pattern is None:
        scheme = filenames.choose_scheme(names)
        if scheme is None:
            well = (FieldAddress("A", "01", str(i)) for i in range(len(names)))
            places = {n: Place(a, "", 0, 0) for n, a in zip(names, well, strict=True)}
            return places, None, None
        pattern = scheme.pattern
    found = ((name, filenames.read_name(name, pattern)) for name in names)
    places = {name: place for name, place in found if place is not None}
    if not places:
        examples = ", ".join(names[:3])
        raise PlateError(
            f"The pattern {pattern!r} matches none of {len(names)} images. Three of "
            f"them: {examples}. It is searched in the path below the folder."
        )
    return places, scheme, pattern


def _projections(places: Mapping[str, Place]) -> list[str]:
    """Return the images without a plane's number beside planes of the same stack."""
    stacks = {(p.address, p.channel, p.t) for p in places.values() if p.z > 0}
    return [
        name
        for name, p in places.items()
        if p.z == 0 and (p.address, p.channel, p.t) in stacks
    ]


def _fields(
    places: Mapping[str, Place],
    masks: Mapping[FieldAddress, tuple[MaskFile, ...]],
    project: Projection,
    *,
    zero_is_projection: bool,
) -> tuple[FieldFiles, ...]:
    images: dict[FieldAddress, list[ImageFile]] = defaultdict(list)
    taken: dict[Place, str] = {}
    for name, place in places.items():
        if place in taken:
            raise PlateError(
                f"{taken[place]} and {name} are both field {place.address.path}, "
                f"channel {place.channel!r}, t {place.t}, z {place.z}. Remove one, or "
                f"give a pattern that distinguishes them."
            )
        taken[place] = name
        images[place.address].append(ImageFile(name, place.channel, place.t, place.z))
    fields = [
        FieldFiles(address, tuple(images[address]), masks.get(address, ()))
        for address in sorted(images, key=_plate_order)
    ]
    for field in fields:
        check_complete(field, zero_is_projection=zero_is_projection)
        check_depths(field, project)
    return tuple(fields)


def _plate_order(address: FieldAddress) -> tuple[object, ...]:
    """Return a sort key: row Z before AA, field 2 before 10."""
    row, column = (len(address.row), address.row), natural_order(address.column)
    return row, column, natural_order(address.field)


def _check_projection(
    masks: Iterable[tuple[MaskFile, ...]], project: Projection
) -> None:
    """Raise PlateError for masks of single planes if the planes are projected."""
    if project == "none":
        return
    for mask in (mask for group in masks for mask in group):
        if mask.z is not None:
            raise PlateError(
                f"The planes are projected ({project}), but there are masks for single "
                f"planes, such as {mask.path}. Give one mask for all planes, or "
                f"convert without projection."
            )
