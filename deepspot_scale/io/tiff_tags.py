"""What a TIFF file's tags say about its channels and lengths.

An open file comes in, names and micrometres go out, from OME-XML, ImageJ's or
MetaMorph's notes, or plain resolution tags. Nothing here reads pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tifffile

_LENGTHS_UM = {
    **dict.fromkeys(["µm", "μm", "um", "micron", "microns", "micrometer"], 1.0),
    # ImageJ escapes the micro sign.
    **dict.fromkeys([r"\u00B5m", r"\u00b5m"], 1.0),
    **{"nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "inch": 25400.0},
}
# Plain resolution tags mostly tell a printer's dots per inch; no microscope that
# resolves single molecules has such pixels.
_LARGEST_PIXEL_UM = 20.0


def read_channels(file: tifffile.TiffFile, n: int) -> tuple[str, ...]:
    """Return OME's names of the channels, if there is a different one for each."""
    channels = _ome_pixels(file).get("Channel", [])
    channels = channels if isinstance(channels, list) else [channels]
    names = tuple(str(channel.get("Name", "")) for channel in channels)
    return names if len(set(names) - {""}) == n == len(names) else ()


def read_pixel_size(file: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return the pixel size (y, x) in micrometres, from whichever tag tells it."""
    pixels = _ome_pixels(file)
    if "PhysicalSizeX" in pixels:
        sizes = [
            _length_um(
                pixels.get(f"PhysicalSize{axis}", pixels["PhysicalSizeX"]),
                pixels.get(f"PhysicalSize{axis}Unit", "µm"),
            )
            for axis in "YX"
        ]
        return _pair(sizes)
    planes = (file.metaseries_metadata or {}).get("PlaneInfo", {})
    if planes.get("spatial-calibration-state", True) and (
        "spatial-calibration-x" in planes
    ):
        unit = planes.get("spatial-calibration-units", "")
        return _pair(
            [_length_um(planes.get(f"spatial-calibration-{a}", 0), unit) for a in "yx"]
        )
    return _resolution(file)


def read_z_step(file: tifffile.TiffFile) -> float | None:
    """Return the distance of planes in micrometres, as OME or ImageJ tell it."""
    pixels, imagej = _ome_pixels(file), file.imagej_metadata or {}
    if "PhysicalSizeZ" in pixels:
        unit = pixels.get("PhysicalSizeZUnit", "µm")
        return _length_um(pixels["PhysicalSizeZ"], unit)
    return _length_um(imagej.get("spacing"), imagej.get("unit", ""))


def _resolution(file: tifffile.TiffFile) -> tuple[float, float] | None:
    """Return the pixel size of resolution tags, in ImageJ's unit or in theirs."""
    tags = file.pages.first.tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    unit = (file.imagej_metadata or {}).get("unit")
    if unit is None:
        code = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 1
        unit = {2: "inch", 3: "cm"}.get(int(code), "")
    sizes = []
    for name in ("YResolution", "XResolution"):
        count, per = tags[name].value
        sizes.append(_length_um(per / count if count else 0, unit))
    pair = _pair(sizes)
    return pair if pair is None or max(pair) <= _LARGEST_PIXEL_UM else None


def _ome_pixels(file: tifffile.TiffFile) -> Mapping[str, Any]:
    """Return the attributes of OME's first Pixels element; empty when not OME."""
    if not file.is_ome or file.ome_metadata is None:
        return {}
    images = tifffile.xml2dict(file.ome_metadata).get("OME", {}).get("Image", {})
    image = images[0] if isinstance(images, list) else images
    pixels: Mapping[str, Any] = image.get("Pixels", {})
    return pixels


def _length_um(value: object, unit: str) -> float | None:
    """Return a length in micrometres; None when it is none or its unit is unknown."""
    factor = _LENGTHS_UM.get(unit.strip())
    size = float(value) if isinstance(value, int | float) else 0.0
    return size * factor if factor is not None and size > 0 else None


def _pair(sizes: list[float | None]) -> tuple[float, float] | None:
    y, x = sizes
    return None if y is None or x is None else (y, x)
