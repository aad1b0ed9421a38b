"""Channel names and voxel sizes from the tags of a TIFF file, or from files beside it.

An open file comes in; names and micrometres go out, from OME-XML, ImageJ's or
MetaMorph's metadata, the microscope's own files, or plain resolution tags. Nothing here
reads pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import tifffile

from deepspot_scale.io.image_files.beside import is_harmony, read_beside

_LENGTHS_UM = {
    # Both Unicode micro signs; ImageJ writes an escape.
    **dict.fromkeys(["µm", "μm", r"\u00b5m", "um"], 1.0),
    **dict.fromkeys(["micron", "microns", "micrometer"], 1.0),
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0},
}
# Plain resolution tags mostly hold a printer's dots per inch. Larger pixels than this
# cannot resolve single molecules.
_LARGEST_PIXEL_UM = 20.0

_Lengths = dict[str, float | None]
"""Micrometres by axis; None: stated, but in an unknown unit."""


@dataclass(frozen=True)
class Tags:
    """What a file says about its image."""

    channels: tuple[str, ...]
    """Stored names, an empty text for an unnamed channel; empty: none."""
    spacing_um: dict[str, float]
    """Voxel size by axis, for those of z, y, x where it is known."""
    plane: int | None
    """Number of the plane in MetaXpress's stack, 0 for a projection; None: unknown."""


def read_tags(file: tifffile.TiffFile, path: Path, pixels: Element | None) -> Tags:
    """Read the tags, as any known program writes them; `pixels` is OME's element.

    The resolution tags of Harmony (Operetta, Opera Phenix) give the camera's pixels,
    not the sample's, and are not used.
    """
    maker = str(file.pages.first.tags.valueof("Make", ""))
    harmony = maker.startswith(("PerkinElmer", "Revvity"))
    harmony |= is_harmony(path) and not file.is_imagej
    lengths = {} if harmony else _resolution_lengths(file)
    metamorph = (file.metaseries_metadata or {}).get("PlaneInfo", {})
    lengths |= _metamorph_lengths(metamorph)
    names: tuple[str, ...] = ()
    beside = read_beside(path)
    if beside is not None:
        lengths |= beside.spacing_um
        names = (beside.channel,) if beside.channel else ()
    if pixels is not None:
        names = tuple(c.get("Name") or "" for c in pixels.findall("{*}Channel"))
        lengths |= _ome_lengths(pixels.attrib)
    plane = metamorph.get("Z Step")
    return Tags(
        names,
        {axis: um for axis, um in lengths.items() if um is not None},
        0
        if "Z Projection Method" in metamorph
        else None
        if plane is None
        else int(plane),
    )


def _ome_lengths(pixels: dict[str, str]) -> _Lengths:
    lengths: _Lengths = {}
    for axis in "ZYX":
        key = f"PhysicalSize{axis}"
        if key in pixels:
            # Micrometres are the default unit in the OME schema.
            unit = pixels.get(f"{key}Unit", "µm")
            lengths[axis.lower()] = _length_um(pixels[key], unit)
    if "x" in lengths:
        lengths.setdefault("y", lengths["x"])
    return lengths


def _metamorph_lengths(plane: dict[str, Any]) -> _Lengths:
    if not plane.get("spatial-calibration-state", True):
        return {}
    unit = plane.get("spatial-calibration-units")
    keys = {axis: f"spatial-calibration-{axis}" for axis in "yx"}
    return {a: _length_um(plane[k], unit) for a, k in keys.items() if k in plane}


def _resolution_lengths(file: tifffile.TiffFile) -> _Lengths:
    """Return the lengths from resolution tags, in ImageJ's unit or the tags' own."""
    tags, imagej = file.pages.first.tags, file.imagej_metadata or {}
    codes = {2: "inch", 3: "cm"}
    unit = imagej.get("unit", codes.get(int(tags.valueof("ResolutionUnit", 1))))
    lengths = {"z": _length_um(imagej.get("spacing"), unit)}
    for axis in "YX":
        count, per = tags.valueof(f"{axis}Resolution", (0, 1))
        size = _length_um(per / count if count else 0, unit)
        lengths[axis.lower()] = size if size and size <= _LARGEST_PIXEL_UM else None
    return lengths


def _length_um(value: Any, unit: object) -> float | None:
    """Return a length in micrometres; None: it is invalid or its unit is unknown."""
    factor = _LENGTHS_UM.get(str(unit).strip().lower())
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return size * factor if factor is not None and 0 < size < math.inf else None
