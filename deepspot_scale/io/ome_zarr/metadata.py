"""Parses OME-NGFF metadata; only this module and `metadata_blocks` know its keys.

Open Zarr groups come in, checked plain values go out. Version 0.4 stores its blocks at
the root of Zarr v2's attributes, each with a version; 0.5 stores them under ``ome`` in
Zarr v3, with one version. Nothing here opens files or reads pixels. Specification:
https://ngff.openmicroscopy.org
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.stored_image import check_axes
from deepspot_scale.io.stores import Node, is_safe_path

Version = Literal["0.4", "0.5"]
Attributes = dict[str, Any]
MICROMETRES = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
    "inch": 25400.0,
}
"""Units of length of pixel sizes, in micrometres."""
ABOUT = "deepspot_scale"
"""Attribute of a group, beside OME's: what this package says of it."""


@dataclass(frozen=True)
class Level:
    """One resolution of a multiscale image."""

    path: str
    """Path below the image's group."""
    scale: tuple[float, ...] | None
    """Pixel size along each axis, in the axes' units; None: not stated."""
    translation: tuple[float, ...] | None = None
    """Where the first pixel is along each axis, likewise."""


@dataclass(frozen=True)
class ImageListing:
    """The metadata of one multiscale image."""

    axes: str
    """Such as ``czyx``."""
    units_um: tuple[float | None, ...]
    """Micrometres per unit of each axis; None: no unit, or not a length."""
    levels: tuple[Level, ...]
    """Resolutions, finest first."""
    channels: tuple[str, ...]
    """Channel names; an empty text for an unnamed one."""

    def spacing_um(self, level: int = 0) -> dict[str, float]:
        """Return the pixel size in micrometres by axis, where it is known."""
        return self._in_um(self.levels[level].scale)

    def origin_um(self, level: int = 0) -> dict[str, float]:
        """Return where the first pixel is in micrometres by axis, where it is known."""
        return self._in_um(self.levels[level].translation)

    def _in_um(self, lengths: tuple[float, ...] | None) -> dict[str, float]:
        if lengths is None:
            return {}
        sizes = zip(self.axes, lengths, self.units_um, strict=True)
        return {axis: size * unit for axis, size, unit in sizes if unit is not None}

    def with_scale(
        self,
        scale: Mapping[str, float],
        units_um: Mapping[str, float | None],
        translation: Mapping[str, float] | None = None,
    ) -> ImageListing:
        """Return the listing with these units and pixel sizes times these factors.

        All levels begin at `translation`; None: that is not stated.
        """
        factors = [scale.get(axis, 1.0) for axis in self.axes]
        begin = None
        if translation is not None:
            begin = tuple(translation.get(axis, 0.0) for axis in self.axes)
        levels = tuple(
            Level(
                level.path,
                tuple(a * b for a, b in zip(level.scale or (), factors, strict=True)),
                begin,
            )
            for level in self.levels
        )
        return replace(
            self, levels=levels, units_um=tuple(units_um.get(a) for a in self.axes)
        )


def zarr_format(version: Version) -> Literal[2, 3]:
    """Return the Zarr format of an OME-Zarr version."""
    return 2 if version == "0.4" else 3


def read_block(node: Node) -> Attributes:
    """Return a group's OME metadata: under ``ome`` in Zarr v3, at the root in v2."""
    attributes: Any = node.attrs.asdict()
    block = attributes if node.metadata.zarr_format == 2 else attributes.get("ome")
    return dict(block) if isinstance(block, dict) else {}


def read_about(node: Node) -> Attributes:
    """Return what this package has said of a group; empty: nothing."""
    attributes: Any = node.attrs.asdict()
    about = attributes.get(ABOUT)
    return dict(about) if isinstance(about, dict) else {}


def wrap_block(block: Attributes, version: Version) -> Attributes:
    """Return the attributes that store an OME block."""
    return block if version == "0.4" else {"ome": {"version": version, **block}}


def _listed(block: object, key: str) -> list[Any] | None:
    """Return the dictionaries listed under a key; None: there is no such list."""
    items = block.get(key) if isinstance(block, dict) else None
    is_list = isinstance(items, list) and all(isinstance(each, dict) for each in items)
    return items if is_list else None


def parse_plate(node: Node, source: str) -> tuple[str, tuple[str, ...]]:
    """Return a plate's name and its wells' paths, ordered by row, then column.

    Raises PlateError if the list of wells is damaged, has a well twice, or a path
    outside the plate.
    """
    plate = read_block(node)["plate"]
    wells = _listed(plate, "wells")
    if wells is None:
        raise PlateError(
            f"{source}: expected plate metadata with a list of wells, found "
            f"{str(plate)[:80]!r}. Write the plate again."
        )
    paths = [well.get("path") for well in wells]
    for path in paths:
        if not is_safe_path(path) or path.count("/") != 1:
            raise PlateError(
                f"{source}: expected well paths such as B/03, found {path!r}. "
                "Correct the plate's metadata."
            )
    _check_unique(paths, f"{source}: well")
    orders = [
        {str(item.get("name")): n for n, item in enumerate(_listed(plate, key) or ())}
        for key in ("rows", "columns")
    ]

    def position(path: str) -> list[tuple[int, str]]:
        return [
            (known.get(name, len(known)), name)
            for known, name in zip(orders, path.split("/"), strict=True)
        ]

    name = plate.get("name")
    return name if isinstance(name, str) else "", tuple(sorted(paths, key=position))


def _check_unique(paths: Sequence[str], what: str) -> None:
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise PlateError(
            f"{what} {', '.join(twice)} is listed more than once. "
            "Correct the plate's metadata."
        )


def parse_well(node: Node, source: str) -> tuple[tuple[str, int], ...] | None:
    """Return path and acquisition of a well's fields; None without well metadata.

    Raises PlateError if a field is listed twice, or its path leads out of the well.
    """
    images = _listed(read_block(node).get("well"), "images")
    if images is None:
        return None
    paths = [image.get("path") for image in images]
    for path in paths:
        if not is_safe_path(path) or "/" in path:
            raise PlateError(
                f"{source}: expected field paths such as 0, found {path!r}. "
                "Correct the well's metadata."
            )
    _check_unique(paths, f"{source}: field")
    numbers = [image.get("acquisition") for image in images]
    return tuple(
        (path, number if isinstance(number, int) else 0)
        for path, number in zip(paths, numbers, strict=True)
    )


def parse_image(node: Node, source: str) -> ImageListing:
    """Parse the metadata of a multiscale image or label image.

    Raises FieldError if the metadata are damaged, or the axes are not OME's in OME's
    order.
    """
    block = read_block(node)
    try:
        multiscale = block["multiscales"][0]
        axes = tuple(str(axis["name"]) for axis in multiscale["axes"])
        units = tuple(MICROMETRES.get(str(a.get("unit"))) for a in multiscale["axes"])
        levels = tuple(
            _parse_level(dataset, multiscale, len(axes))
            for dataset in multiscale["datasets"]
        )
        # omero is transitional in OME-NGFF: invalid names are treated as missing.
        labels = [c.get("label") for c in _listed(block.get("omero"), "channels") or ()]
        channels = tuple(name if isinstance(name, str) else "" for name in labels)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise FieldError(
            f"{source}: expected multiscales metadata of OME-Zarr 0.4 (Zarr v2) or 0.5 "
            f"(Zarr v3), but {type(error).__name__}: {error}. Write the image again."
        ) from error
    check_axes("".join(axes) if all(len(axis) == 1 for axis in axes) else str(axes))
    unsafe = [level.path for level in levels if not is_safe_path(level.path)]
    if unsafe or not levels:
        raise FieldError(
            f"{source}: expected the paths of its levels, such as 0, found "
            f"{unsafe or 'none'}. Correct the image's metadata."
        )
    return ImageListing("".join(axes), units, levels, channels)


def _parse_level(
    dataset: Mapping[str, Any], multiscale: Mapping[str, Any], n_axes: int
) -> Level:
    """Return a level: first its own transformations apply, then those of all."""
    scale, translation = _transformations(dataset, n_axes)
    overall, moved = _transformations(multiscale, n_axes)
    if translation is not None and overall is not None:
        translation = _each(operator.mul, translation, overall)
    return Level(
        dataset["path"],
        _each(operator.mul, scale, overall),
        _each(operator.add, translation, moved),
    )


def _transformations(
    listing: Mapping[str, Any], n_axes: int
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return scale and translation; None: not stated."""
    found: dict[str, tuple[float, ...]] = {}
    for transformation in listing.get("coordinateTransformations") or ():
        kind = transformation["type"]
        if kind not in {"identity", "scale", "translation"}:
            raise ValueError(f"there is a transformation of type {kind!r}")
        if kind not in transformation or kind in found:
            continue
        numbers = tuple(float(number) for number in transformation[kind])
        least = 0 if kind == "scale" else -math.inf
        if len(numbers) != n_axes or not all(least < n < math.inf for n in numbers):
            raise ValueError(f"{n_axes} axes have the {kind} {numbers}")
        found[kind] = numbers
    return found.get("scale"), found.get("translation")


def _each(
    combine: Callable[[float, float], float],
    one: tuple[float, ...] | None,
    other: tuple[float, ...] | None,
) -> tuple[float, ...] | None:
    if one is None or other is None:
        return one or other
    return tuple(map(combine, one, other))


def parse_label_names(node: Node, source: str) -> tuple[str, ...]:
    """Return the names of an image's label images.

    Raises FieldError if a name leads out of the labels' group.
    """
    names = read_block(node).get("labels")
    if not isinstance(names, list):
        return ()
    unsafe = [name for name in names if not is_safe_path(name)]
    if unsafe:
        raise FieldError(
            f"{source}: expected names of labels such as cells, found {unsafe}. "
            "Correct the labels' metadata."
        )
    return tuple(names)
